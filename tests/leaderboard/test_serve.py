import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from probebench.errors import UsageError
from probebench.leaderboard.serve import server


def test_the_folder_is_served_to_this_machine_and_nothing_above_it(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("the page")
    (tmp_path / "secret").write_text("secret")
    with server(tmp_path / "site", 0) as running:
        assert running.server_address[0] == "127.0.0.1"
        threading.Thread(target=running.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{running.server_port}"
        with urllib.request.urlopen(f"{address}/") as answer:
            assert answer.read() == b"the page"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}/../secret")
        running.shutdown()


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with server(tmp_path, 0) as running, pytest.raises(UsageError, match=f"port {running.server_port} cannot be used"):
        server(tmp_path, running.server_port)
