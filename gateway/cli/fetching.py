"""What a URL holds, for commands that read a file or a URL."""

from __future__ import annotations

from gateway.cli.failure import CommandFailed

_CONNECT_S = 10.0
_TOTAL_S = 60.0
_CHUNK = 256 * 1024


def is_url(source: str) -> bool:
    """Whether an argument that means a file or a URL is a URL."""
    return source.lower().startswith(("http://", "https://"))


async def fetched(url: str, most: int) -> bytes:
    """Return what a URL holds, when it answers in time and within `most` bytes."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=_TOTAL_S, sock_connect=_CONNECT_S)
    data = bytearray()
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            if answer.status != 200:
                raise CommandFailed(f"{url} answered {answer.status}.")
            async for chunk in answer.content.iter_chunked(_CHUNK):
                data += chunk
                if len(data) > most:
                    raise CommandFailed(f"{url} holds more than {most >> 20} MB.")
    except (aiohttp.InvalidURL, ValueError):
        raise CommandFailed(f"{url!r} is not an address.") from None
    except (aiohttp.ClientError, TimeoutError) as failure:
        raise CommandFailed(f"{url}: {failure or 'no answer in time'}.") from None
    return bytes(data)
