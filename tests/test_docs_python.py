"""The page on Python runs as it stands, block after block, as a notebook would."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_every_block_runs_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for number, block in enumerate(BLOCKS):
            exec(compile(block, f"{PAGE.name}, block {number + 1}", "exec"), names)
    said = capsys.readouterr().out
    assert "('dark', 'light') 32 8" in said and "no features of pooled_pixels on digits are cached" in said
    assert (tmp_path / "shots.png").stat().st_size > 1000 and (tmp_path / "site" / "index.html").is_file()


def test_the_way_to_a_table_has_ten_lines_at_most() -> None:
    assert len([line for line in BLOCKS[0].splitlines() if line.strip()]) <= 10
    assert "to_frame" in BLOCKS[0] and "evaluate" in BLOCKS[0]
