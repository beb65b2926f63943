"""`gateway config`: every setting, its value and where it came from."""

from __future__ import annotations

import os

from gateway import config, errors


def read() -> config.Settings:
    """Return the settings even where they would not allow a start; wrong values are refused."""
    try:
        return config.Settings()
    except ValueError:
        # The same report as at a start: every wrong value, none of the secrets.
        return config.load()


def sources(settings: config.Settings) -> list[tuple[str, str, str]]:
    """Return (variable, value, where it came from) of every setting, secrets masked."""
    rows = []
    given = {key.upper() for key, value in os.environ.items() if value != ""}
    for field in type(settings).model_fields:
        name = field.upper()
        value = getattr(settings, field)
        shown = ",".join(value) if isinstance(value, tuple) else str(value)
        if name in config.SECRETS and value:
            shown = "***"
        if value is None:
            shown = ""
        rows.append((name, shown, "environment" if name in given else "default"))
    return rows


def conflicts() -> list[str]:
    """Return why these settings do not allow a start."""
    try:
        config.load()
    except errors.SettingsInvalid as failure:
        return failure.message.splitlines()
    return []
