import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from probebench.errors import UsageError
from probebench.leaderboard import serve
from probebench.leaderboard.serve import server


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A page, and beside it what nobody may see."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "index.html").write_text("the page")
    (folder / ".env").write_text("secret")
    (folder / "notes.txt").write_text("secret")
    (folder / "sub").mkdir()
    (folder / "sub" / "index.html").write_text("secret")
    (tmp_path / "secret").write_text("secret")
    (folder / "out").symlink_to(tmp_path)
    return folder


@pytest.fixture
def running(site: Path) -> Iterator[ThreadingHTTPServer]:
    with server(site, 0) as one:
        threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield one
        one.shutdown()


def answer(running: ThreadingHTTPServer, request: str) -> bytes:
    """What the server sends to these lines, until it closes the connection."""
    request = request.replace("PORT", str(running.server_port))
    with socket.create_connection(("127.0.0.1", running.server_port), timeout=20) as one:
        one.sendall(request.replace("\n", "\r\n").encode("latin-1"))
        return b"".join(iter(lambda: one.recv(65536), b""))


def test_the_page_is_shown_to_this_machine(running: ThreadingHTTPServer) -> None:
    assert running.server_address[0] == "127.0.0.1"
    for host in ("127.0.0.1:PORT", "localhost:PORT"):
        for path in ("/", "/index.html", "/?view=1"):
            head, _, body = answer(running, f"GET {path} HTTP/1.1\nHost: {host}\n\n").partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.0 200") and body == b"the page"
            assert b"text/html; charset=utf-8" in head and b"nosniff" in head
    assert answer(running, "HEAD / HTTP/1.1\nHost: localhost:PORT\n\n").endswith(b"\r\n\r\n")


def test_what_was_built_with_it_is_shown_too(site: Path) -> None:
    (site / "study").mkdir()
    for name, kind in (
        ("study/study.html", "text/html"),
        ("board.csv", "text/csv"),
        ("board.json", "application/json"),
    ):
        (site / name).write_text(name)
        with server(site, 0) as one:
            threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            got = answer(one, f"GET /{name} HTTP/1.1\nHost: localhost:PORT\n\n")
            assert got.endswith(name.encode()) and kind.encode() in got
            one.shutdown()


@pytest.mark.parametrize(
    "path",
    [
        *("/.env", "/notes.txt", "/sub/", "/sub/index.html", "/out/", "/out/secret", "/../secret", "/%2e%2e/secret"),
        *("/.", "/index.html/", "/INDEX.HTML", "/%2e", "/index.html%00", "*", "..", "http://127.0.0.1/"),
    ],
)
def test_nothing_else_is(path: str, running: ThreadingHTTPServer) -> None:
    got = answer(running, f"GET {path} HTTP/1.1\nHost: 127.0.0.1:PORT\n\n")
    assert got.split(b" ", 2)[1] in (b"404", b"400") and b"secret" not in got and b"the page" not in got


@pytest.mark.parametrize(
    "host",
    [
        *("Host: example.org", "Host: example.org:PORT", "Host: 127.0.0.1", "Host: 127.0.0.1:1", "Host:"),
        *("Host: localhost.example.org:PORT", "Host: 127.0.0.1:PORT.example.org", "Host: [::1]:PORT", "X: y"),
        *("Host: 127.0.0.1:PORT\nHost: example.org", "Host: example.org\nHost: 127.0.0.1:PORT", "Host: 0.0.0.0:PORT"),
    ],
)
def test_another_name_for_this_machine_is_refused(host: str, running: ThreadingHTTPServer) -> None:
    got = answer(running, f"GET / HTTP/1.1\n{host}\n\n")
    assert got.startswith(b"HTTP/1.0 403") and b"the page" not in got


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"])
def test_other_methods_are_refused(method: str, running: ThreadingHTTPServer) -> None:
    got = answer(running, f"{method} / HTTP/1.1\nHost: 127.0.0.1:PORT\n\n")
    assert got.split(b" ", 2)[1] == b"501" and b"the page" not in got


@pytest.mark.parametrize("sent", ["", "GET / HT", "GET / HTTP/1.1\nHost: 127."])
def test_a_silent_connection_is_closed(
    sent: str, running: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve._Page, "timeout", 0.05)
    assert b"the page" not in answer(running, sent)


def test_a_slow_connection_is_closed(running: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter at a time is never silent for long."""
    monkeypatch.setattr(serve, "_LONGEST", 0.3)
    with socket.create_connection(("127.0.0.1", running.server_port), timeout=20) as one, pytest.raises(OSError):
        for _ in range(2000):
            one.sendall(b"GET / HTTP/1.1\r\n" if _ == 0 else b"X")
            time.sleep(0.01)


def test_what_is_asked_for_reaches_no_terminal(running: ThreadingHTTPServer, capfd: pytest.CaptureFixture[str]) -> None:
    answer(running, "GET /\x1b[2J HTTP/1.1\nHost: \x1b[2J\n\n")
    assert capfd.readouterr() == ("", "")


def test_a_page_that_is_none_is_one_line(site: Path, tmp_path: Path) -> None:
    page = site / "index.html"
    page.unlink()
    with pytest.raises(UsageError, match=r"index.html cannot be shown \(No such file"):
        server(site, 0)
    page.symlink_to(tmp_path / "secret")
    with pytest.raises(UsageError, match="index.html is a link, and no page"):
        server(site, 0)
    page.unlink()
    os.mkfifo(page)
    with pytest.raises(UsageError, match=r"index.html cannot be shown \(is a pipe"):
        server(site, 0)


def test_a_taken_port_is_one_line(site: Path) -> None:
    with server(site, 0) as running, pytest.raises(UsageError, match=f"port {running.server_port} cannot be used"):
        server(site, running.server_port)
