"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from gateway.log import logger

# An example may be kept waiting by other workers and by what they start; every test has a timeout.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _logging_of_its_own() -> Iterator[None]:
    """Put logging back as it was: a command may have sent it to what is closed after its test."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
    # Where the first line was written to, it would write all others.
    vars(logger).pop("bind", None)
