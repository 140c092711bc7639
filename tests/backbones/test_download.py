import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from probebench.backbones.download import fetch

CONTENT = bytes(range(256)) * 4096


class Host(http.server.BaseHTTPRequestHandler):
    """Serves one file, with ranges, and breaks off where it is told to."""

    content, tag, ranges = CONTENT, '"one"', True
    stop_after: int | None = None
    asked: list[str | None] = []

    def do_GET(self) -> None:
        wanted = self.headers.get("Range") if type(self).ranges else None
        type(self).asked.append(self.headers.get("Range"))
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if wanted and self.headers.get("If-Range") != type(self).tag:
            begin = 0
        if begin and begin >= len(type(self).content):
            self.send_error(416)
            return
        body = type(self).content[begin:]
        self.send_response(206 if begin else 200)
        self.send_header("ETag", type(self).tag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        stop = type(self).stop_after
        self.wfile.write(body if stop is None else body[:stop])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def host() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    Host.content, Host.tag, Host.stop_after, Host.ranges, Host.asked = CONTENT, '"one"', None, True, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/w.pth"
    server.shutdown()


def test_a_whole_file_comes_once(host: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "w.pth"
    fetch(host, path)
    fetch(host, path)
    assert path.read_bytes() == CONTENT and Host.asked == [None]
    assert [one.name for one in path.parent.iterdir() if not one.name.endswith(".lock")] == ["w.pth"]


def test_an_interrupted_download_goes_on(host: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    Host.stop_after = 1000
    with pytest.raises(OSError, match=r"stopped at 1,000 of 1,048,576 bytes and can go on"):
        fetch(host, path)
    assert not path.exists()
    Host.stop_after = None
    fetch(host, path)
    assert path.read_bytes() == CONTENT and Host.asked == [None, "bytes=1000-"]


def test_a_file_that_changed_in_between_comes_anew(host: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    Host.stop_after = 1000
    with pytest.raises(OSError):
        fetch(host, path)
    Host.stop_after, Host.content, Host.tag = None, CONTENT[::-1], '"two"'
    fetch(host, path)
    assert path.read_bytes() == CONTENT[::-1]


def test_a_host_without_ranges_sends_all_again(host: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    Host.stop_after = 1000
    with pytest.raises(OSError):
        fetch(host, path)
    Host.stop_after, Host.ranges = None, False
    fetch(host, path)
    assert path.read_bytes() == CONTENT


def test_remains_that_are_longer_than_the_file_are_dropped(host: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    (tmp_path / "w.pth.partial").write_bytes(CONTENT + b"more")
    (tmp_path / "w.pth.etag").write_text('"one"')
    fetch(host, path)
    assert path.read_bytes() == CONTENT


def test_a_host_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        fetch("http://127.0.0.1:9/w.pth", tmp_path / "w.pth")
    assert not (tmp_path / "w.pth").exists()
