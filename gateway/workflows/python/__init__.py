"""Workflows in Python, run in a process of their own."""
