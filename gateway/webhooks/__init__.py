"""Calls that others are owed: signed, tried again, never in the way of a job."""
