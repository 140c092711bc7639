"""Fetches one file over https: goes on where it stopped, and is in its place only when it is whole."""

import os
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

from filelock import FileLock

_CHUNK = 1 << 20
_TIMEOUT = 60.0


def fetch(url: str, path: Path) -> None:
    """Downloads ``url`` to ``path``, beginning where an interrupted download of the same content ended.

    Two processes at one path wait for each other. What has arrived lies in ``path``.partial until it is whole.

    Raises:
        OSError: The host cannot be reached, refuses, or stops before the end; what has arrived is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if path.is_file():
            return
        partial, tag = path.with_name(f"{path.name}.partial"), path.with_name(f"{path.name}.etag")
        try:
            _receive(url, partial, tag)
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            # The remains are not the beginning of what is there now.
            partial.unlink(missing_ok=True)
            _receive(url, partial, tag)
        partial.replace(path)
        tag.unlink(missing_ok=True)


def _receive(url: str, partial: Path, tag: Path) -> None:
    from tqdm import tqdm

    known = tag.read_text() if tag.is_file() and partial.is_file() else ""
    have = partial.stat().st_size if known else 0
    # With If-Range a host whose file has changed sends all of the new one.
    headers = {"Range": f"bytes={have}-", "If-Range": known} if have else {}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT) as response:
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            have = 0
        tag.write_text(response.headers.get("ETag") or "")
        length = response.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        with (
            partial.open("ab" if have else "wb") as stream,
            tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=partial.stem, disable=None) as bar,
        ):
            while chunk := response.read(_CHUNK):
                stream.write(chunk)
                bar.update(len(chunk))
            stream.flush()
            os.fsync(stream.fileno())
    if total is not None and partial.stat().st_size != total:
        raise ConnectionError(f"the download stopped at {partial.stat().st_size:,} of {total:,} bytes and can go on")
