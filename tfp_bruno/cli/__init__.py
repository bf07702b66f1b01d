"""The commands of `bin/`, and their flags."""
