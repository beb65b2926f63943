"""`gateway config`: every setting, its value and where it came from."""

from __future__ import annotations

from gateway import config, errors


def read() -> config.Settings:
    """Return the settings even where they would not allow a start; wrong values are refused."""
    try:
        return config.Settings()
    except ValueError:
        # The same report as at a start: every wrong value, none of the secrets.
        return config.load()


def conflicts() -> list[str]:
    """Return why these settings do not allow a start."""
    try:
        config.load()
    except errors.SettingsInvalid as failure:
        return failure.message.splitlines()
    return []
