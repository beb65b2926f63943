"""What a URL holds, for commands that read a file or a URL."""

from __future__ import annotations

from gateway import graph
from gateway.cli.failure import CommandFailed

_CONNECT_S = 10.0
_SILENCE_S = 60.0
_TOTAL_S = 60.0
_CHUNK = 256 * 1024
#: As much as is read of an answer that is no success.
_MOST_TOLD = 64 * 1024


class Answered(CommandFailed):
    """A host answered, and not with what was asked for."""

    def __init__(self, url: str, status: int, body: bytes) -> None:
        """`url` is told as it may be shown; `body` is what the answer begins with."""
        self.status = status
        self.body = body
        super().__init__(f"{url} answered {status}.")


def is_url(source: str) -> bool:
    """Whether an argument that means a file or a URL is a URL."""
    return source.lower().startswith(("http://", "https://"))


def shown(source: str) -> str:
    """Return a file or a URL as it may be shown: without user, password and secrets."""
    from gateway.storage import address

    return address.shown(source) if graph.is_url(source) else source


async def fetched(url: str, most: int, total_s: float = _TOTAL_S) -> bytes:
    """Return what a URL holds, when it answers in time and within `most` bytes.

    Raises Answered, CommandFailed.
    """
    import aiohttp

    told = shown(url)
    timeout = aiohttp.ClientTimeout(total=total_s, sock_connect=_CONNECT_S, sock_read=_SILENCE_S)
    data = bytearray()
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            if answer.status != 200:
                raise Answered(told, answer.status, await answer.content.read(_MOST_TOLD))
            async for chunk in answer.content.iter_chunked(_CHUNK):
                data += chunk
                if len(data) > most:
                    raise CommandFailed(f"{told} holds more than {most >> 20} MB.")
    except (aiohttp.InvalidURL, ValueError):
        raise CommandFailed(f"{told} is not an address, or leads to none.") from None
    except aiohttp.ClientResponseError:
        # What it says of itself names the URL, secrets and all.
        raise CommandFailed(f"{told} leads from one address to the next, or is no HTTP.") from None
    except (aiohttp.ClientError, TimeoutError) as failure:
        raise CommandFailed(f"{told}: {failure or 'no answer in time'}.") from None
    return bytes(data)
