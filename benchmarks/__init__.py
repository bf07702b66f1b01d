"""Measurements that stand in README.md beside this file; none of them is a test."""
