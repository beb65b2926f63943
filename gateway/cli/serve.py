"""`gateway serve`."""

from __future__ import annotations

import sys
from typing import NoReturn

from gateway import config, errors, log, serving

#: Exit status of a start that may go better later: the disk is full, the job store locked.
FAILED = 1
#: Exit status of a start that the settings do not allow.
SETTINGS_INVALID = 2
#: Exit status of a start beside another gateway, or on a newer one's files.
STATE_REFUSED = 3


def serve() -> NoReturn:
    """Run the gateway until a signal, with the settings of the environment."""
    try:
        settings = config.load()
        log.configure(settings.log_level, settings.log_format, log.stderr())
        status = serving.run(settings)
    except errors.StateRefused as failure:
        _refuse(failure, STATE_REFUSED)
    except errors.Unavailable as failure:
        _refuse(failure, FAILED)
    except errors.SettingsInvalid as failure:
        sys.stderr.write(f"The settings do not allow a start:\n{_listed(failure)}\n")
        sys.exit(SETTINGS_INVALID)
    sys.exit(status)


def _refuse(failure: errors.GatewayError, status: int) -> NoReturn:
    hint = f"\n  {failure.hint}" if failure.hint else ""
    sys.stderr.write(f"The gateway does not start:\n  {failure.message}{hint}\n")
    sys.exit(status)


def _listed(failure: errors.SettingsInvalid) -> str:
    return "\n".join(f"  {line}" for line in failure.message.splitlines())
