import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from probebench.backbones.adapters import by_order, read_state_dict
from probebench.backbones.weights import load_into, state_digest
from probebench.errors import WeightsError

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


class Runs:
    """A pickle that would create a file when it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_digest_is_of_the_tensors_not_of_the_container(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "plain.pt")
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in STATE.items()}}, tmp_path / "ddp.pt"
    )
    save_file(dict(reversed(STATE.items())), tmp_path / "safe.safetensors")
    torch.save({"model": STATE, "args": {"lr": 0.1}}, tmp_path / "nested.pth")
    digests = {state_digest(read_state_dict(path)) for path in tmp_path.iterdir()}
    assert digests == {state_digest(STATE)}


@pytest.mark.parametrize(
    "other",
    [
        {**STATE, "a.bias": torch.zeros(2)},
        {**STATE, "a.bias": torch.ones(2, dtype=torch.float64)},
        {**STATE, "a.weight": STATE["a.weight"].reshape(3, 2)},
        {"b.weight": STATE["a.weight"], "a.bias": STATE["a.bias"]},
    ],
)
def test_digest_sees_every_change(other: dict[str, torch.Tensor]) -> None:
    assert state_digest(other) != state_digest(STATE)


def test_scalar_and_empty_tensors_have_digests() -> None:
    assert state_digest({"n": torch.tensor(3)}) != state_digest({"n": torch.tensor(4)})
    state_digest({"e": torch.zeros(0, 3)})


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        read_state_dict(tmp_path / "no.pt")


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("keep", [0, 1, 10, 100, 0.5, -1])
def test_truncated_files_are_refused_in_one_line(tmp_path: Path, name: str, keep: float) -> None:
    path = tmp_path / name
    if name.endswith("pt"):
        torch.save(STATE, path)
    else:
        save_file(STATE, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else int(keep)])
    with pytest.raises(WeightsError) as caught:
        read_state_dict(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"hello, I am not a checkpoint", b"\x80\x02garbage", b"PK\x03\x04rest"])
def test_foreign_files_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read_state_dict(path)
    assert "could run code" not in str(caught.value) and "\n" not in str(caught.value)


def test_code_in_a_checkpoint_never_runs(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "args": Runs(tmp_path / "ran")}, tmp_path / "evil.pt")
    with pytest.raises(WeightsError, match="could run code"):
        read_state_dict(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, torch.ones(3), {}])
def test_checkpoints_without_named_tensors(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="holds no tensors by name"):
        read_state_dict(tmp_path / "w.pt")


def test_every_key_that_does_not_fit_is_named() -> None:
    module = torch.nn.Linear(3, 2)
    with pytest.raises(WeightsError) as caught:
        load_into(module, {"weight": torch.ones(5, 3), "extra": torch.ones(1)}, "a line", Path("w.pt"))
    assert str(caught.value) == (
        "weights file w.pt does not fit a line: 1 keys missing (bias); 1 keys unexpected (extra); "
        "1 keys of another shape (weight (5, 3) instead of (2, 3))"
    )


def test_nan_weights_are_refused() -> None:
    module = torch.nn.Linear(3, 2)
    state = {"weight": torch.full((2, 3), torch.nan), "bias": torch.zeros(2)}
    with pytest.raises(WeightsError, match="NaN or infinite values in weight"):
        load_into(module, state, "a line", Path("w.pt"))


def test_by_order_renames_and_counts() -> None:
    module = torch.nn.Linear(3, 2)
    state = by_order(STATE, module, Path("w.pt"))
    assert list(state) == ["weight", "bias"]
    with pytest.raises(WeightsError, match="holds 1 tensors where 2"):
        by_order({"x": torch.ones(1)}, module, Path("w.pt"))
