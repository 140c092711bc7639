"""What the fuzz does to a submission: fields by their schemas, arrays, archives, files, texts, forged predictions."""

import contextlib
import io
import json
import random
import re
import shutil
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import tomli_w
from pydantic import BaseModel

from probebench.errors import ResultError
from probebench.leaderboard.reproduction import Reproduction, read_reproduction
from probebench.leaderboard.rules import Manifest
from probebench.registry.checkpoint import CheckpointSpec
from probebench.results.schema import Result
from probebench.results.store import read_result
from tests.faults.mutating import WORDS, Mutator
from tests.leaderboard.tampering import Submission

SHOTS = (1, 5, 10, "full")
# The last forges predictions with all that follows from them.
KINDS = (
    *(
        "result",
        "results",
        "result",
        "results",
        "reproduction",
        "entry",
        "manifest",
        "npz",
        "files",
        "readme",
        "result",
    ),
    *("results", "reproduction", "forged"),
)


class Mutations:
    """All that is done to submissions, by one chance."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        models: dict[str, type[BaseModel]] = {
            "result": Result,
            "entry": CheckpointSpec,
            "manifest": Manifest,
            "reproduction": Reproduction,
        }
        self.of = {name: Mutator(model, self.chance) for name, model in models.items()}

    def apply(self, one: Submission, kind: str, reproduction: Path) -> None:
        """Does one mutation of a kind, to a submission or to its reproduction."""
        if kind in ("result", "results"):
            self._results(one, SHOTS if kind == "results" else (self.chance.choice(SHOTS),))
        elif kind == "entry":
            self._entry(one)
        elif kind == "manifest":
            self._change(self.of["manifest"], one.folder / "manifest.json")
        elif kind == "reproduction":
            self._reproduction(reproduction)
        elif kind == "npz":
            self._npz(one)
        elif kind == "readme":
            self._readme(one)
        elif kind == "files":
            self._files(one)
        else:
            self._forge(one)

    def _change(self, mutator: Mutator, *paths: Path) -> None:
        held = [json.loads(path.read_text()) for path in paths]
        for _ in range(self.chance.choice((1, 1, 1, 2, 3))):
            mutator.mutate(mutator.pick(), *held)
        for path, values in zip(paths, held, strict=True):
            path.write_text(json.dumps(values))

    def _results(self, one: Submission, shots: tuple[int | str, ...]) -> None:
        self._change(self.of["result"], *[one.json(each) for each in shots])
        _agree(one)

    def _entry(self, one: Submission) -> None:
        """The results state the facts that the entry then does, as an honest author's would."""
        path = one.folder / f"{one.folder.name}.toml"
        values, mutator = tomllib.loads(path.read_text()), self.of["entry"]
        for _ in range(self.chance.choice((1, 1, 2))):
            mutator.mutate(mutator.pick(), values)
        with contextlib.suppress(TypeError, ValueError):
            path.write_text(tomli_w.dumps(values))
        training, facts = values.get("pretraining"), {"title": values.get("title")}
        if isinstance(training, dict):
            facts |= {
                name: training.get(name) for name in ("method", "objective", "samples_seen", "labels", "curation")
            }
        for shots in SHOTS:
            held = one.values(shots)
            one.json(shots).write_text(json.dumps(held | {"checkpoint": held["checkpoint"] | facts}))
        _agree(one)

    def _reproduction(self, path: Path) -> None:
        self._change(self.of["reproduction"], path)
        with contextlib.suppress(ResultError):
            found = read_reproduction(path)
            # A name of another's is left to whom it belongs to.
            if re.fullmatch(r"[\w.-]+", found.file, re.ASCII):
                path.rename(path.with_name(found.file))

    def _npz(self, one: Submission) -> None:
        """Bytes, members, and arrays of other kinds and shapes."""
        chance, shots = self.chance, self.chance.choice(SHOTS)
        content, arrays = bytearray(one.npz(shots).read_bytes()), one.arrays(shots)
        how = chance.choice(("bytes", "member", "kind", "shape", "stored"))
        if how == "bytes":
            for _ in range(chance.randrange(1, 4)):
                content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        elif how == "member":
            buffer = io.BytesIO(content)
            name = chance.choice(("y_pred.npy", "Y_PRED.npy", "y_pred", "../y_pred.npy", "digits/y_pred.npy", "x.json"))
            with zipfile.ZipFile(buffer, "a") as archive:
                archive.writestr(name, chance.choice((b"", b"x", bytes(content[:500]))))
            content = bytearray(buffer.getvalue())
        else:
            name = chance.choice(sorted(arrays))
            if how == "kind":
                kinds = ("U40", "S40", "O") if name == "test_ids" else ("f8", "c16", "?", "u1", "i4", ">i8", "U4", "O")
                arrays[name] = arrays[name].astype(chance.choice(kinds))
            elif how == "shape":
                array = arrays[name]
                arrays[name] = chance.choice((array[..., :-1], array[None], array.T, array[:0]))
            buffer = io.BytesIO()
            (np.savez if how == "stored" else np.savez_compressed)(buffer, **arrays)
            content = bytearray(buffer.getvalue())
        one.replace_npz(bytes(content), shots)

    def _readme(self, one: Submission) -> None:
        chance = self.chance
        text = "".join(
            chance.choice((*WORDS, "\0", "\x1b[2J", "# Title\n", "\ud800")) for _ in range(chance.randrange(9))
        )
        name = chance.choice(("README.md", "README.md", "digits/README.md", "readme.md", "README.MD", "README.md.json"))
        (one.folder / name).write_bytes(text.encode(errors="surrogatepass"))
        one.seal()

    def _files(self, one: Submission) -> None:
        """One file in another's place, gone, or under another name."""
        names = sorted(path for path in one.folder.rglob("*") if path.is_file())
        first, second = self.chance.sample(names, 2)
        how = self.chance.choice(("gone", "copy", "swap", "rename", "link"))
        other = first.with_name(first.name.replace("-1-", "-2-").replace("default", "linear"))
        if how in ("copy", "swap"):
            kept = first.read_bytes()
            shutil.copy(second, first)
            if how == "swap":
                second.write_bytes(kept)
        elif how == "rename":
            first.rename(other if other != first else first.with_name(f"0{first.name}"))
        else:
            first.unlink()
            if how == "link":
                first.hardlink_to(second) if self.chance.random() < 0.5 else first.symlink_to(second)
        _agree(one)

    def _forge(self, one: Submission) -> None:
        shots = self.chance.choice(SHOTS)
        arrays = one.arrays(shots)
        part = self.chance.choice(("y_pred", "y_pred", "y_pred", "y_true", "test_ids"))
        if part == "y_pred":
            better = np.random.default_rng(self.chance.randrange(10**6)).random(arrays["y_pred"].shape) < 0.1
            arrays["y_pred"] = np.where(better, arrays["y_true"], arrays["y_pred"])
        else:
            arrays[part] = np.roll(arrays[part], self.chance.randrange(1, 50), axis=-1)
        one.save(arrays, shots)


def _agree(one: Submission) -> None:
    """Makes the manifest agree with whatever results can be read."""
    try:
        one.seal()
    except (OSError, ValueError):
        # There is no manifest any more.
        return
    results = []
    for path in sorted(one.folder.glob("*/*.json")):
        with contextlib.suppress(ResultError, UnicodeError):
            results.append(read_result(path))
    if results:
        one.manifest(
            model=one.folder.name,
            weights_digest=results[0].weights_digest,
            protocols={each.protocol: each.protocol_version for each in results},
            datasets={each.dataset: each.dataset_fingerprint for each in results},
        )
