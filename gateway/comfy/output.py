"""Cuts what the child writes into whole lines; pure."""

from __future__ import annotations

from gateway.log import plain_text

#: Longest line that is kept whole, bytes.
LINE_BYTES = 8192
_CUT = " ... (cut)"


class Lines:
    """Collects bytes and gives lines; of a progress bar only its last look."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that `data` completes."""
        *whole, rest = data.split(b"\n")
        lines = []
        for part in whole:
            lines += self._finish(part)
        self._keep(rest)
        if len(self._rest) > LINE_BYTES:
            lines += self._cut()
        return lines

    def close(self) -> list[str]:
        """Return what is left without a line's end."""
        return self._finish(b"")

    def _keep(self, data: bytes) -> None:
        if not self._skipping:
            self._rest += data
            if len(self._rest) > LINE_BYTES:
                # tqdm draws its bar again after each carriage return.
                self._rest = _last_drawn(self._rest)

    def _cut(self) -> list[str]:
        line, self._rest, self._skipping = self._rest, b"", True
        return _readable(line)

    def _finish(self, data: bytes) -> list[str]:
        if self._skipping:
            self._skipping = False
            return []
        line, self._rest = self._rest + data, b""
        return _readable(line)


def _last_drawn(line: bytes) -> bytes:
    return next((part for part in reversed(line.split(b"\r")) if part.strip()), b"")


def _readable(line: bytes) -> list[str]:
    drawn = _last_drawn(line)
    text = plain_text(drawn[:LINE_BYTES].decode(errors="replace")).rstrip()
    text += _CUT if len(drawn) > LINE_BYTES else ""
    return [text] if text else []
