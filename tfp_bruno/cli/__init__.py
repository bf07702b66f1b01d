"""The command line: flags, and what they start."""
