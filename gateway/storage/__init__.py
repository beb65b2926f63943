"""Bytes from elsewhere: providers by scheme, and one fetch for many askers."""
