"""What earlier code named and chose, recorded: no name of a cached feature or of a result may change by accident.

The command line makes the files and nothing but files is read, so that the test outlives any move of modules. The
record holds no versions, times or places. ``python -m tests.test_golden`` makes it anew; do that only where a change
of names or numbers is meant, and raise the version that belongs to it.
"""

import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.numpy import save_file

from probebench.cli.main import cli
from probebench.cli.quickstart import LARGE, SMALL
from probebench.results.predictions import PROBABILITIES, SCALED
from probebench.results.store import read_result, result_files

GOLDEN = Path(__file__).with_name("golden.json")
README = Path(__file__).parents[1] / "README.md"
SHIPPED = README.parent / "leaderboard" / "results"

# Entries of their own, so that an edit of a shipped one or of a helper for tests changes no name here.
CHECKPOINT = """
id = "{id}"
title = "A network for tests"
paper = "none"
url = "none"
license = "Apache-2.0"
[architecture]
library = "{library}"
name = "{name}"
[pretraining]
method = "{method}"
objective = "none"
sources = {sources}
samples_seen = 0
epochs = 0
labels = "none"
curation = "none"
[weights]
uri = "{uri}"
sha256 = "none"
[input]
size = {size}
resize = "shortest"
crop = 0.875
interpolation = "bilinear"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
[output]
features = {features}
layer = "{layer}"
"""
DATASET = """
id = "digits_by_class"
title = "Digits under the other metric"
paper = "none"
url = "none"
license = "CC-BY-4.0"
loader = "digits"
metric = "mean-per-class"
classes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
[splits]
rule = "the first 898 images train, the last 899 test"
train = 898
val = 0
test = 899
"""
RECIPE = """
id = "brief"
version = 3
title = "A recipe for tests"
source = "none"
selects_on = "validation images"
probe = "finetune"
selection = "validation"
criterion = "accuracy"
draws = 1
seeds = 2
epochs = 2
batch_size = 4
[optimizer]
name = "adamw"
learning_rates = [1e-3, 1e-2]
weight_decay = 0.1
[schedule]
warmup_steps = 1
[augment]
crop_scale = [0.7, 1.0]
flip = 0.5
[linear]
learning_rates = [1e-2]
weight_decay = 0.0
epochs = 2
batch_size = 4
[few_shot]
epoch = "last"
most = 2
[full]
epoch = "best"
share = 0.2
"""

PAIR = "efficientnet_lite0_in1k,efficientnet_lite0_random"
CPU = "--device cpu --workers 0"
# Many protocols on few small images, and few on digits. The sets "images" and "loose" are folders.
RUNS = (
    f"extract --model {PAIR} --dataset digits --input-size 96 {CPU}",
    f"extract --model tiny --dataset digits_by_class,folder:images,folder:loose --on-error skip {CPU}",
    f"extract --model clip --dataset folder:images {CPU}",
    "eval --model efficientnet_lite0_in1k --dataset digits --shots 1,5,full --draws 2",
    "eval --model efficientnet_lite0_random --dataset digits --shots 1 --draws 2",
    "eval --model efficientnet_lite0_in1k --dataset digits --shots 1 --draws 1 --backend sklearn",
    # With all draws, as results that are shipped.
    f"eval --model {PAIR} --dataset digits --probe ridge",
    f"eval --model {PAIR} --dataset digits --probe knn",
    "eval --model tiny --dataset digits_by_class --probe knn --shots 1,full --draws 1",
    "eval --model tiny --dataset folder:images --shots 1,5,full --draws 2",
    "eval --model tiny --dataset folder:images --shots 3 --draws 2 --backend sklearn --protocol default,default_1se",
    "eval --model tiny --dataset folder:images --shots 5 --draws 1 --protocol "
    "big_vision_lsr,clip_benchmark,clip_lbfgs,default_1se,dinov2_logreg,elevater,knn,mieb,ridge",
    "eval --model tiny --dataset folder:loose --protocol default,ridge,knn --shots 2,full --draws 2",
    # After the probes: a second extraction of the same set would be evaluated too.
    f"extract --model tiny --dataset folder:loose --on-error skip --dtype bf16 {CPU}",
    "zeroshot --model clip --dataset folder:images",
    "zeroshot --model clip --dataset folder:images --template {}",
    f"finetune --model tiny --dataset folder:images --shots 1 --draws 1 --mode linear {CPU}",
    f"finetune --model tiny --dataset folder:images --protocol brief --shots 2,full --alpha 0.5 --alpha 1 {CPU}",
    f"finetune --model tiny --dataset folder:images --protocol brief --shots 2 --mode lp-ft {CPU}",
    f"finetune --model tiny --dataset digits_by_class --protocol brief --shots 1 --mode linear {CPU}",
    f"finetune --model tiny --dataset folder:images --protocol brief --shots 2 --mode scratch {CPU}",
)

FACTS = (
    *("schema_version", "provenance", "kind", "mode", "model", "weights_digest", "dataset", "dataset_fingerprint"),
    *("train_fingerprint", "feature_key", "input_size", "dtype", "protocol", "protocol_version", "backend", "shots"),
    *("labels_spent", "selection", "short_classes", "metric", "n_test", "skipped_ids", "ci95_covers"),
)


def noise(name: str, count: int) -> Any:
    """Bytes that every machine and every version of every library has alike."""
    return np.frombuffer(hashlib.shake_256(name.encode()).digest(count), np.uint8)


def write_inputs(folder: Path) -> None:
    registry = folder / "registry"
    for kind in ("checkpoints", "datasets", "protocols"):
        (registry / kind).mkdir(parents=True)
    sources = '[{ name = "unknown", samples = "unknown" }]'
    tiny = {"id": "tiny", "library": "timm", "name": "test_resnet", "features": 96, "layer": "pooled", "size": 32}
    tiny |= {"method": "supervised", "sources": sources, "uri": f"file:{folder / 'tiny.safetensors'}"}
    clip = {
        "id": "clip",
        "library": "open_clip",
        "name": "ViT-S-32-alt",
        "features": 256,
        "layer": "projected",
        "size": 224,
    }
    clip |= {"method": "none", "sources": "[]", "uri": "random:0"}
    for facts in (tiny, clip):
        (registry / "checkpoints" / f"{facts['id']}.toml").write_text(CHECKPOINT.format(**facts))
    (registry / "datasets" / "digits_by_class.toml").write_text(DATASET)
    (registry / "protocols" / "brief.toml").write_text(RECIPE)
    write_weights(folder / "tiny.safetensors")
    for part, each in (("train", (9, 9, 3)), ("val", (3, 3, 3)), ("test", (8, 8, 8))):
        write_images(folder / "images" / part, each)
    write_images(folder / "loose", (10, 10, 10))
    (folder / "loose" / "class1" / "damaged.ppm").write_bytes(b"P6\n28 20\n255\n")


def write_weights(path: Path) -> None:
    """Tensors without a random generator: torch's own draws other numbers on a CPU of other instructions."""
    import timm

    tensors = {}
    for name, tensor in timm.create_model("test_resnet").state_dict().items():
        shape, values = tuple(tensor.shape), tensor.numpy()
        if len(shape) > 1:
            # Powers of two, so that nothing is rounded; about what keeps the size of activations.
            bound = 2.0 ** (1 - int(np.prod(shape[1:])).bit_length() // 2)
            values = (noise(name, values.size).astype(np.float32) - 128).reshape(shape) / 128 * np.float32(bound)
        else:
            values = np.full(shape, name.endswith(("weight", "running_var")), values.dtype)
        tensors[name] = values.copy()
    save_file(tensors, path)


def write_images(folder: Path, each: tuple[int, ...]) -> None:
    """Class folders of noise on a colour; as PPM, whose bytes, and so their sha256, no library decides."""
    for label, count in enumerate(each):
        place = folder / f"class{label}"
        place.mkdir(parents=True)
        for number in range(count):
            pixels = noise(f"{folder.name} {label} {number}", 20 * 28 * 3).reshape(20, 28, 3) % 160
            pixels = pixels + np.roll([60, 30, 0], label).astype(np.uint8)
            (place / f"{number:03d}.ppm").write_bytes(b"P6\n28 20\n255\n" + pixels.tobytes())


def generator() -> str:
    """A digest of torch's normal numbers, which differ between CPUs of other instructions."""
    seeded = torch.Generator().manual_seed(0)
    return hashlib.sha256(torch.randn(1000, generator=seeded).numpy().tobytes()).hexdigest()[:16]


def make(folder: Path) -> Path:
    """Runs all runs in a folder, and returns it."""
    write_inputs(folder)
    environment = {"PROBEBENCH_HOME": str(folder / "home"), "PROBEBENCH_REGISTRY": str(folder / "registry")}
    for line in RUNS:
        words = [re.sub(r"folder:", f"folder:{folder}/", word) for word in line.split()]
        words += [] if words[0] == "extract" else ["--out", str(folder / "results")]
        done = CliRunner().invoke(cli, words, env=environment, catch_exceptions=False)
        assert done.exit_code == 0, f"{line}\n{done.output}"
    return folder


def record(folder: Path) -> dict[str, Any]:
    """Reads all that was made; of a digest the first 16 digits say enough."""
    told: dict[str, Any] = {"generator": generator(), "features": {}, "results": {}}
    fields: dict[str, list[set[str]]] = {}
    checkpoints: dict[str, Any] = {}
    for path in sorted((folder / "home" / "features").glob("*/*/*.h5")):
        with h5py.File(path) as file:
            told["features"][str(path.relative_to(folder / "home" / "features"))] = feature_facts(path, file)
            fields.setdefault("features", []).append({*file, *file.attrs})
    for path in sorted((folder / "results").glob("*/*/*.json")):
        result = json.loads(path.read_text())
        told["results"][str(path.relative_to(folder / "results"))] = result_facts(path, result)
        checkpoints[json.dumps(result["checkpoint"], sort_keys=True)] = result["checkpoint"]
        fields.setdefault(result["kind"], []).append(fields_of(result))
    told["checkpoints"] = [facts for _, facts in sorted(checkpoints.items())]
    told["fields"] = {
        kind: {
            "always": sorted(found[0].intersection(*found)),
            "sometimes": sorted(found[0].union(*found) - found[0].intersection(*found)),
        }
        for kind, found in sorted(fields.items())
    }
    cut: dict[str, Any] = json.loads(re.sub(r'"([0-9a-f]{16})[0-9a-f]{48}"', r'"\1"', json.dumps(told)))
    return cut


def feature_facts(path: Path, file: h5py.File) -> dict[str, Any]:
    key, digest, features = str(file.attrs["key"]), str(file.attrs["key_digest"]), file["features"]
    assert digest == hashlib.sha256(key.encode()).hexdigest()
    assert path.name == f"{json.loads(key)['split']}-{digest[:16]}.h5"
    return {
        **{name: file.attrs[name] for name in ("key_digest", "model", "dataset", "splits", "format")},
        "format_version": int(file.attrs["format_version"]),
        "key": json.loads(key),
        "shape": [*features.shape, features.dtype.name],
        "ids": digest_of(file["ids"][:]),
        "labels": digest_of(file["labels"][:]),
        "skipped": [name.decode() for name in file["skipped_ids"][:].tolist()],
        "norm": round(float(np.linalg.norm(features[:].astype(np.float64))), 3),
    }


def result_facts(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    predictions = path.with_suffix(".npz")
    assert result["predictions"]["file"] == predictions.name
    trials = ("draw_seed", "draw_digest", "train", "validation", "selection", "error")
    with np.load(predictions) as arrays:
        y_pred = arrays["y_pred"]
        logistic = result["kind"] == "probe"
        measures = [*PROBABILITIES, *(SCALED if result["trials"][0].get("temperature") else ())] if logistic else []
        assert sorted(arrays) == sorted(["test_ids", "y_pred", "y_true", *measures])
        assert y_pred.shape == (len(result["trials"]), result["n_test"])
        return {
            **{name: result[name] for name in FACTS},
            "trials": [
                [*(trial[name] for name in trials), trial["chosen"].get("training_seed"), *sorted(trial["chosen"])]
                for trial in result["trials"]
            ],
            "test_ids": digest_of(arrays["test_ids"]),
            "y_true": digest_of(arrays["y_true"]),
            # All images of a small set, a quarter of a large one: enough to see a change, and short.
            "y_pred": "".join(map(str, y_pred[0, :: 1 if y_pred.shape[1] < 100 else 4].tolist())),
        }


def digest_of(array: Any) -> str:
    return hashlib.sha256("\n".join(map(str, array.tolist())).encode()).hexdigest()


def fields_of(result: dict[str, Any]) -> set[str]:
    """All names in a result: a new optional field must be left out where it says nothing."""
    parts = {"": result, "checkpoint.": result["checkpoint"], "environment.": result["environment"]}
    parts |= {f"{name}.": result["environment"].get(name, {}) for name in ("extraction", "training", "prompts")}
    parts |= {"timings.": result["timings"], "predictions.": result["predictions"]}
    trials = {f"trial.{name}" for trial in result["trials"] for name in trial}
    return trials | {part + name for part, values in parts.items() for name in values}


def write(told: dict[str, Any]) -> None:
    """One line an entry, so that a difference shows what changed."""
    parts = []
    for name, entries in sorted(told.items()):
        if isinstance(entries, dict):
            lines = [f"  {json.dumps(key)}: {json.dumps(entry)}" for key, entry in entries.items()]
            parts.append(f" {json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n }")
        else:
            parts.append(f" {json.dumps(name)}: {json.dumps(entries)}")
    GOLDEN.write_text("{\n" + ",\n".join(parts) + "\n}\n")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("golden"))


@pytest.fixture(scope="module")
def now(made: Path) -> dict[str, Any]:
    return record(made)


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(GOLDEN.read_text())
    return told


def is_seeded(name: str, facts: dict[str, Any]) -> bool:
    """Whether weights come of a seed: such names hold for one torch and timm, on CPUs of the same instructions."""
    return "_random/" in name or "clip/" in name or facts.get("mode", "").startswith("scratch")


def compared(told: dict[str, Any], part: str, seeded: bool) -> dict[str, Any]:
    chosen = {name: facts for name, facts in told[part].items() if is_seeded(name, facts) == seeded}
    left_out = ("norm", "y_pred")
    return {name: {key: fact for key, fact in facts.items() if key not in left_out} for name, facts in chosen.items()}


@pytest.fixture(params=["stored weights", "seeded weights"])
def seeded(request: pytest.FixtureRequest, golden: dict[str, Any]) -> bool:
    if request.param == "seeded weights" and golden["generator"] != generator():
        pytest.skip("this CPU draws other weights from a seed than the one of the record")
    return bool(request.param == "seeded weights")


@pytest.mark.parametrize("part", ["features", "results"])
def test_names_and_what_they_stand_for_are_the_recorded(
    part: str, now: dict[str, Any], golden: dict[str, Any], seeded: bool
) -> None:
    found, expected = compared(now, part, seeded), compared(golden, part, seeded)
    # Facts first: where a name changed, they say why.
    told = [sorted(json.dumps(facts, sort_keys=True) for facts in each.values()) for each in (found, expected)]
    assert told[0] == told[1]
    assert found == expected


def test_files_say_no_more_and_no_less(now: dict[str, Any], golden: dict[str, Any]) -> None:
    assert now["fields"] == golden["fields"]
    assert now["checkpoints"] == golden["checkpoints"]


def test_features_and_predictions_are_the_recorded(now: dict[str, Any], golden: dict[str, Any], seeded: bool) -> None:
    for name, facts in golden["features"].items():
        if is_seeded(name, facts) == seeded:
            assert now["features"][name]["norm"] == pytest.approx(facts["norm"], rel=1e-3), name
    for name, facts in golden["results"].items():
        if is_seeded(name, facts) == seeded:
            pairs = list(zip(now["results"][name]["y_pred"], facts["y_pred"], strict=True))
            other = sum(one != two for one, two in pairs)
            # Another CPU rounds in another way, of which training makes much: a quarter of the images was seen.
            assert other <= len(pairs) * (0.4 if facts["kind"] == "finetune" else 0.05), name


def test_shipped_results_come_out_again(made: Path, golden: dict[str, Any], seeded: bool) -> None:
    model = "efficientnet_lite0_random" if seeded else "efficientnet_lite0_in1k"
    places = sorted((made / "results" / model / "digits").glob("[kr]*.json"))
    places += sorted((made / "results" / model / "digits").glob("probe-default-full-*.json"))
    assert len(places) == (8 if seeded else 9)
    for place in places:
        shipped = SHIPPED / place.relative_to(made / "results")
        assert shipped.is_file(), f"{place.name} is not the name under which it was shipped"
        one, two = (json.loads(path.read_text()) for path in (place, shipped))
        assert {name: one[name] for name in FACTS} == {name: two[name] for name in FACTS}
        drawn = [[(trial["draw_seed"], trial["draw_digest"]) for trial in each["trials"]] for each in (one, two)]
        assert drawn[0] == drawn[1]
        # What is told of the extraction has grown since: older features say less. So has what is told of probabilities.
        ours, theirs = ({name for name in fields_of(each) if not name.startswith("extraction.")} for each in (one, two))
        assert ours - {"calibration", "scaled_calibration", "trial.temperature"} == theirs
        with np.load(place.with_suffix(".npz")) as now, np.load(shipped.with_suffix(".npz")) as then:
            assert now["test_ids"].tolist() == then["test_ids"].tolist()
            assert (now["y_pred"] == then["y_pred"]).mean() > 0.98


def test_the_readme_shows_the_shipped_results_of_the_quickstart() -> None:
    score = r"\d+\.\d \[.+?\]"
    row = rf"^\| `(\w[\w.-]+)` \|.+?\| ((?:{score} \| ){{3}}{score}) \|$"
    rows = re.findall(row, README.read_text(), re.MULTILINE)
    models = {**LARGE, **SMALL}
    assert [model for model, _ in rows] == [*models]
    held = [one for path in result_files(SHIPPED) if (one := read_result(path)).protocol == "default"]
    for model, cells in rows:
        for shots, cell in zip((1, 5, 10, "full"), cells.split(" | "), strict=True):
            asked = (model, "digits", shots, models[model])
            (one,) = (each for each in held if (each.model, each.dataset, each.shots, each.input_size) == asked)
            assert one.mean is not None and one.ci95 is not None
            assert cell == f"{one.mean:.1%} [{one.ci95[0]:.1%}, {one.ci95[1]:.1%}]".replace("%", "")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        write(record(make(Path(place))))
