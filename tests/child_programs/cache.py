"""A process with a cache of its own on a shared folder: asks for URLs, and says what it got.

Run it with: python -m tests.child_programs.cache FOLDER LIMIT_BYTES HOLD_OR_RELEASE URL...
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from pathlib import Path

from gateway import log
from gateway.models.cache import Wanted
from tests.cache_stand import caching


async def main(folder: Path, limit: int, how: str, urls: list[str]) -> None:
    """Print a line of JSON for each URL; with hold, keep the files until the input ends."""
    async with caching(folder, limit) as place:
        print(json.dumps({"ready": True}), flush=True)
        for at, url in enumerate(urls):
            found = await place.cache.get(Wanted(url), f"job{at}")
            body = await asyncio.to_thread(found.path.read_bytes)
            digest = hashlib.sha256(body).hexdigest()
            fetched = len(place.told("file_downloaded"))
            print(json.dumps({"sha256": digest, "fetched": fetched}), flush=True)
            if how == "release":
                place.cache.release(f"job{at}")
        if how == "hold":
            await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    log.configure("warning", "console", sys.stderr)
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]))
