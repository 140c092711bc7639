import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from probebench.leaderboard.serve import server
from probebench.registry import Registry
from probebench.results.store import result_path, write_result
from tests.conftest import Ran
from tests.results.make import result


def stored(folder: Path, model: str) -> Path:
    write_result(result_path(folder, model, "digits", "probe", "default", "full", "0" * 8), result(model=model))
    return folder


def test_build_joins_folders(run: Callable[..., Ran], tmp_path: Path) -> None:
    one, two = stored(tmp_path / "one", "first_net"), stored(tmp_path / "two", "second_net")
    done = run("leaderboard", "build", "--results", one, "--results", two, "--out", "made")
    assert done.code == 0 and "made/index.html" in done.out
    page = (tmp_path / "made" / "index.html").read_text()
    assert '"first_net"' in page and '"second_net"' in page


def test_build_takes_links_from_the_registry(run: Callable[..., Ran], tmp_path: Path, shipped: Registry) -> None:
    entry = shipped.checkpoints["efficientnet_lite0_random"]
    facts = result().checkpoint.model_dump() | {
        "architecture": f"{entry.architecture.library}/{entry.architecture.name}",
        "method": "none",
        "sources": [],
    }
    path = result_path(tmp_path / "results", entry.id, "digits", "probe", "default", "full", "0" * 8)
    write_result(path, result(model=entry.id, checkpoint=facts))
    assert run("leaderboard", "build").code == 0
    assert f'"licence":"{entry.license}"' in (tmp_path / "site" / "index.html").read_text()


def test_a_folder_that_is_not_there_is_one_line(run: Callable[..., Ran]) -> None:
    assert "results folder nowhere does not exist" in run("leaderboard", "build", "--results", "nowhere").error


def test_serve_builds_the_page_and_answers(
    run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import probebench.leaderboard.serve

    asked: list[bytes] = []

    def one_visit(folder: Path, port: int) -> object:
        made = server(folder, port)

        def visit() -> None:
            with urllib.request.urlopen(f"http://127.0.0.1:{made.server_port}/") as answer:
                asked.append(answer.read())
            made.shutdown()

        threading.Thread(target=visit, daemon=True).start()
        return made

    monkeypatch.setattr(probebench.leaderboard.serve, "server", one_visit)
    stored(tmp_path / "results", "net")
    done = run("leaderboard", "serve", "--port", "0")
    assert done.code == 0 and "http://127.0.0.1:" in done.out and b'"net"' in asked[0]


def test_serve_says_that_a_port_is_taken(run: Callable[..., Ran], tmp_path: Path) -> None:
    stored(tmp_path / "results", "net")
    (tmp_path / "index.html").write_text("<p>a page</p>")
    with server(tmp_path, 0) as running:
        assert "--port 0" in run("leaderboard", "serve", "--port", running.server_port).error
