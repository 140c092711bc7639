"""Submissions, and what somebody could do to them."""

import atexit
import io
import json
import os
import pickle
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from probebench.datasets.draws import TrainingSplit
from probebench.datasets.open import open_named
from probebench.fingerprint import file_sha256, fingerprint
from probebench.leaderboard.submit import SubmissionRequest, submit
from probebench.registry import Registry
from probebench.results.metrics import image_scores
from probebench.results.schema import Result
from probebench.results.stats import interval

LEADERBOARD = Path(__file__).parents[2] / "leaderboard"


def _probes_on_digits() -> Path:
    """A board of the shipped linear probes on digits at 96 px alone, so that tests do not change with the real one."""
    board = Path(tempfile.mkdtemp(prefix="probebench-board-"))
    atexit.register(shutil.rmtree, board, ignore_errors=True)
    for path in (LEADERBOARD / "results").glob("*/digits/probe-default-*.json"):
        if json.loads(path.read_text())["input_size"] == 96 and not path.parts[-3].startswith(_LATER):
            folder = board / path.parts[-3] / "digits"
            folder.mkdir(parents=True, exist_ok=True)
            for one in (path, path.with_suffix(".npz")):
                shutil.copy(one, folder)
    return board


# Twins that came to the board later.
_LATER = ("efficientnet_lite1_random", "efficientnet_lite2_random")
SHIPPED = _probes_on_digits()
MODEL = "efficientnet_lite0_in1k"
Tamper = Callable[["Submission"], object]


def make_submission(out: Path, registry: Registry, model: str = MODEL) -> Path:
    """A real submission from the shipped results."""
    asked = SubmissionRequest(registry.checkpoint(model), ("digits",), input_size=96)
    folder, gathered = submit(asked, SHIPPED, out, registry, out / "datasets")
    assert folder is not None, gathered.problems
    return folder


class Submission:
    """A submission under the hands of somebody who knows how digests are computed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def copied(cls, original: Path, place: Path) -> "Submission":
        return cls(Path(shutil.copytree(original, place / "submissions" / original.name)))

    def json(self, shots: int | str = 1) -> Path:
        (path,) = (self.folder / "digits").glob(f"probe-default-{shots}-*.json")
        return path

    def npz(self, shots: int | str = 1) -> Path:
        return self.json(shots).with_suffix(".npz")

    def values(self, shots: int | str = 1) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.json(shots).read_text())
        return values

    def edit(self, shots: int | str = 1, **changes: Any) -> None:
        self.write(self.values(shots) | changes, shots)

    def write(self, values: dict[str, Any], shots: int | str = 1) -> None:
        self.json(shots).write_text(json.dumps(values))
        self.seal()

    def trial(self, shots: int | str = 1, number: int = 0, **changes: Any) -> None:
        values = self.values(shots)
        values["trials"][number] |= changes
        self.write(values, shots)

    def arrays(self, shots: int | str = 1) -> dict[str, Any]:
        with np.load(self.npz(shots)) as arrays:
            return dict(arrays)

    def save(self, arrays: dict[str, Any], shots: int | str = 1, *, score: bool = True) -> None:
        """Replaces predictions, their digest and, if so asked, every number that follows from them."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        values = self.values(shots)
        if score:
            scores = image_scores(values["metric"], arrays["y_true"], arrays["y_pred"])
            for trial, row in zip(values["trials"], scores, strict=True):
                trial["test_score"] = float(row.mean())
            values |= {"mean": float(scores.mean()), "ci95": interval(scores)}
        self.replace_npz(buffer.getvalue(), shots, values)

    def replace_npz(self, content: bytes, shots: int | str = 1, values: dict[str, Any] | None = None) -> None:
        self.npz(shots).write_bytes(content)
        values = values or self.values(shots)
        values["predictions"]["sha256"] = file_sha256(self.npz(shots))
        self.write(values, shots)

    def manifest(self, **changes: Any) -> None:
        path = self.folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def seal(self) -> None:
        """Makes the manifest agree with the files, so that it is not what gives the tampering away."""
        files = [path for path in sorted(self.folder.rglob("*")) if path.is_file() and path.name != "manifest.json"]
        sums = {path.relative_to(self.folder).as_posix(): file_sha256(path) for path in files}
        draws: dict[str, list[str]] = {}
        for path in sorted(self.folder.glob("digits/*.json")):
            try:
                result = Result.model_validate_json(path.read_bytes())
            except ValueError:
                continue
            name = f"{result.dataset}/{result.protocol}/{result.shots}"
            draws[name] = [trial.draw_digest for trial in result.trials]
        self.manifest(files=sums, draws=draws)


def change_score(one: Submission) -> None:
    one.trial(test_score=0.99)


def improve_everything(one: Submission) -> None:
    """A better score in every number that a reader sees; the predictions stay."""
    values = one.values(5)
    for trial in values["trials"]:
        trial["test_score"] = 0.97
    one.write(values | {"mean": 0.97, "ci95": [0.96, 0.98]}, 5)


def without_predictions(one: Submission) -> None:
    one.npz().unlink()
    one.seal()


def without_a_cell(one: Submission) -> None:
    one.npz().unlink()
    one.json().unlink()
    one.seal()


def swap_predictions(one: Submission) -> None:
    """The predictions of 10 shots under the name and digest of those of 1 shot."""
    one.replace_npz(one.npz(10).read_bytes(), 1)


def a_foreign_draw(one: Submission) -> None:
    one.trial(number=2, draw_digest="ab" * 32)


def a_test_id_in_a_draw(one: Submission) -> None:
    """One training image of the draw is exchanged for a test image, and the draw's digest says so."""
    dataset = open_named(Registry.load(environ={}).dataset("digits"), one.folder)
    train = dataset.splits["train"]
    part = TrainingSplit(train.ids, train.labels)
    draw = part.few_shot(1, 1, 0)
    ids = [[[part.ids[place]] for place in places.tolist()] for places in (draw.train, draw.validation)]
    assert fingerprint({"train": ids[0], "validation": ids[1]}) == draw.digest
    ids[0][0] = [dataset.splits["test"].ids[0]]
    one.trial(number=0, draw_digest=fingerprint({"train": ids[0], "validation": ids[1]}))


def other_labels(one: Submission) -> None:
    """Test labels that agree with the predictions wherever the first draw was wrong."""
    arrays = one.arrays()
    one.save(arrays | {"y_true": arrays["y_pred"][0]})


def an_easy_part_of_the_test_images(one: Submission) -> None:
    arrays = one.arrays()
    right = (arrays["y_pred"] == arrays["y_true"]).all(axis=0)
    one.save({name: array[..., right] for name, array in arrays.items()})
    one.edit(n_test=int(right.sum()))


def skipping_hard_images(one: Submission) -> None:
    arrays = one.arrays()
    right = (arrays["y_pred"] == arrays["y_true"]).any(axis=0)
    one.save({name: array[..., right] for name, array in arrays.items()})
    one.edit(n_test=int(right.sum()), skipped_ids=arrays["test_ids"][~right].tolist())


def a_trial_less(one: Submission) -> None:
    """The worst draw is left out, and everything else follows."""
    arrays, values = one.arrays(), one.values()
    del values["trials"][0]
    one.write(values)
    one.save(arrays | {"y_pred": arrays["y_pred"][1:]})


def a_duplicate(one: Submission) -> None:
    """The same cell again, under another digest."""
    name = one.json().name[:-13]
    shutil.copy(one.npz(), one.folder / "digits" / f"{name}00000000.npz")
    values = one.values() | {"predictions": {**one.values()["predictions"], "file": f"{name}00000000.npz"}}
    (one.folder / "digits" / f"{name}00000000.json").write_text(json.dumps(values))
    # The manifest has one list of draws for a cell, as honest ones do.
    files = {path.relative_to(one.folder).as_posix(): file_sha256(path) for path in one.folder.glob("digits/*")}
    toml = one.folder / f"{one.folder.name}.toml"
    one.manifest(files=files | {toml.name: file_sha256(toml)})


def a_member_outside(one: Submission) -> None:
    buffer = io.BytesIO(one.npz().read_bytes())
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("../../outside.npy", b"x")
    one.replace_npz(buffer.getvalue())


def a_link_outside(one: Submission) -> None:
    (one.folder / "digits" / "probe-default-2-00000000.json").symlink_to("/etc/passwd")


def a_linked_folder(one: Submission) -> None:
    outside = one.folder.parent.parent / "outside"
    (one.folder / "digits").rename(outside)
    (one.folder / "digits").symlink_to(outside)


class _Harm:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return exec, ("raise SystemExit('a pickle was run')",)


def a_pickle(one: Submission) -> None:
    arrays = one.arrays() | {"test_ids": np.array([_Harm()], dtype=object)}
    one.save(arrays, score=False)


def a_bomb(one: Submission) -> None:
    """An array whose header promises a terabyte."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": (1, 1 << 37)})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("test_ids", "y_true"):
            member = io.BytesIO()
            np.save(member, one.arrays()[name])
            archive.writestr(f"{name}.npy", member.getvalue())
        archive.writestr("y_pred.npy", header.getvalue())
    one.replace_npz(buffer.getvalue())


def truncated(one: Submission) -> None:
    one.replace_npz(one.npz().read_bytes()[:2000])


def not_a_number(one: Submission) -> None:
    one.json().write_text(one.json().read_text().replace('"mean": 0.5308120133481646', '"mean": NaN'))
    one.seal()


def a_huge_file(one: Submission) -> None:
    with one.npz().open("r+b") as stream:
        stream.truncate(33 << 20)


def an_edited_entry(one: Submission) -> None:
    path = one.folder / f"{one.folder.name}.toml"
    path.write_text(path.read_text().replace('method = "supervised"', 'method = "image-image"'))
    one.seal()


def arguments_that_run(one: Submission) -> None:
    """Building the network would have its library unpickle the README."""
    path = one.folder / f"{one.folder.name}.toml"
    arguments = f'pretrained_image_path = "{one.folder}/README.md", weights_only = false'
    path.write_text(path.read_text().replace("[architecture]", f"[architecture]\nkwargs = {{ {arguments} }}"))
    one.seal()


def a_readme_that_runs(one: Submission) -> None:
    (one.folder / "README.md").write_bytes(pickle.dumps(_Harm(), protocol=0))
    one.seal()


def an_entry_of_dots(one: Submission) -> None:
    (one.folder / f"{one.folder.name}.toml").write_text("a" + ".a" * 30_000 + " = 1")
    one.seal()


def a_pipe_as(name: str) -> Callable[[Submission], None]:
    """A pipe in the place of a file, which whoever opens it waits for."""

    def tamper(one: Submission) -> None:
        path = one.npz() if name == ".npz" else one.json() if name == ".json" else one.folder / name
        path.unlink()
        os.mkfifo(path)

    return tamper


def many_small_predictions(one: Submission) -> None:
    """A hundred kilobytes that would take a gigabyte."""
    arrays = one.arrays()
    one.save(arrays | {"y_pred": np.zeros((5, 20_000_000), dtype=np.int8)}, score=False)


def many_wrong_values(one: Submission) -> None:
    one.json().write_text('{"trials": [' + "{}," * 500_000 + "{}]}")


def of_a_newer_schema(one: Submission) -> None:
    one.edit(schema_version=2, news=True)


def an_extra_file(one: Submission) -> None:
    (one.folder / "digits" / "setup.py").write_text("raise SystemExit")


def another_weights_digest(one: Submission) -> None:
    one.edit(5, weights_digest="cd" * 32)


def folded_deeply(one: Submission) -> None:
    path = one.folder / f"{one.folder.name}.toml"
    path.write_text("a = " + "[" * 20_000)
    one.seal()


def json_folded_deeply(one: Submission) -> None:
    one.json().write_text('{"environment": ' + "[" * 100_000)
    one.seal()


def another_key(one: Submission) -> None:
    """The features of every cell are said to be of other preprocessing."""
    for shots in (1, 5, 10, "full"):
        one.edit(shots, input_size=224)


def an_older_evaluator(one: Submission) -> None:
    for file in (one.npz(), one.json()):
        old = file.name.rsplit("-", 1)[0] + "-0badc0de" + file.suffix
        if file.suffix == ".json":
            values = json.loads(file.read_text())
            values["predictions"]["file"] = old.replace(".json", ".npz")
            file.write_text(json.dumps(values))
        file.rename(file.with_name(old))
    one.seal()


def out_of_range(one: Submission) -> None:
    arrays = one.arrays()
    arrays["y_pred"][0, 0] = 12
    one.save(arrays)
