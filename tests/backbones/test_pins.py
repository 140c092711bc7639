import json
from pathlib import Path
from typing import Any

import pytest

from probebench.backbones import locate
from probebench.backbones.pins import check_pin
from probebench.errors import WeightsError
from tests.conftest import make_entry

URI = "https://example.org/w.pth"


def test_the_first_digest_is_kept_and_another_one_refused(home: Path, tmp_path: Path) -> None:
    spec = make_entry(tmp_path, uri=URI, sha256="unknown")
    check_pin(spec, home, "file", "a" * 64)
    check_pin(spec, home, "file", "a" * 64)
    check_pin(spec, home, "tensors at 224 px", "b" * 64)
    with pytest.raises(WeightsError) as caught:
        check_pin(spec, home, "file", "c" * 64)
    said = str(caught.value)
    assert "changed since" in said and "cccccccc" in said and "aaaaaaaa" in said and str(home / "weights") in said


def test_an_entry_that_names_another_file_is_pinned_anew(home: Path, tmp_path: Path) -> None:
    check_pin(make_entry(tmp_path, uri=URI), home, "file", "a" * 64)
    moved = make_entry(tmp_path, uri="https://example.org/other.pth")
    check_pin(moved, home, "file", "b" * 64)
    with pytest.raises(WeightsError, match="changed since"):
        check_pin(moved, home, "file", "a" * 64)


@pytest.mark.parametrize("content", ["{", "[]", '{"tiny": 3}'])
def test_a_damaged_lock_file_says_so(home: Path, tmp_path: Path, content: str) -> None:
    (home / "weights").mkdir()
    (home / "weights" / "lock.json").write_text(content)
    with pytest.raises(WeightsError, match="lock.json is damaged; remove it"):
        check_pin(make_entry(tmp_path, uri=URI), home, "file", "a" * 64)


def test_a_download_is_pinned_and_a_changed_copy_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def arrive(url: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"first")

    monkeypatch.setattr(locate, "fetch", arrive)
    monkeypatch.setattr(locate, "reachable", lambda url: True)
    spec = make_entry(tmp_path, uri=URI, sha256="unknown")
    path = locate.locate(spec, home)
    assert json.loads((home / "weights" / "lock.json").read_text())["tiny"]["uri"] == URI
    path.write_bytes(b"second")
    with pytest.raises(WeightsError, match="changed since .*of the file"):
        locate.locate(spec, home)


def test_weights_that_a_library_fetched_are_pinned_by_their_tensors(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm
    import torch

    from probebench.backbones.builders import build_backbone

    own = timm.create_model

    def fetched(seed: int) -> None:
        def create(name: str, pretrained: bool = False, **kwargs: Any) -> torch.nn.Module:
            torch.manual_seed(seed)
            return own(name.split(".")[0], **kwargs)

        monkeypatch.setattr(timm, "create_model", create)

    monkeypatch.setattr(locate, "reachable", lambda url: True)
    spec = make_entry(tmp_path, uri="timm://r160_in1k", sha256="unknown", size=64)
    fetched(1)
    first = build_backbone(spec, home).weights_digest
    assert build_backbone(spec, home).weights_digest == first
    fetched(2)
    with pytest.raises(WeightsError, match="changed since .*of the tensors at 64 px"):
        build_backbone(spec, home)
