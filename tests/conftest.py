"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# An example may be kept waiting by other workers and by what they start; every test has a timeout.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
