import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from probebench.backbones.builders import build_backbone, build_language_image
from probebench.backbones.construct import construct
from probebench.errors import DatasetError, FeatureError, RegistryError, UsageError, WeightsError
from probebench.pretraining.pixels import stored_pixels
from probebench.pretraining.plan import planned
from probebench.pretraining.pretrain import Pretrained, pretrain, training_of
from probebench.pretraining.task import PretrainTask
from probebench.progress import Silent
from probebench.registry.load import read_entry
from probebench.registry.recipe_uri import RecipeUri
from probebench.registry.schema import CheckpointSpec, RecipeSpec
from probebench.training import loop
from probebench.training.data import load
from tests.pretraining.making import CPU, IMAGES, METHODS, SHIPPED, pictures, pretrain_task, recipe
from tests.training.test_loop import two_processes

# Pre-trains with a progress that kills the process in the middle of the second epoch.
DIES = """
import os, signal, sys
from pathlib import Path
from probebench.pretraining import pretrain as pretraining
from probebench.progress import Silent
from tests.pretraining.making import pretrain_task, recipe

class Dies(Silent):
    seen = 0
    def advance(self, count):
        Dies.seen += count
        if Dies.seen > 30:
            os.kill(os.getpid(), signal.SIGKILL)

folder, home, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
pretraining._STEPS_A_STATE = 1
pretraining.pretrain(pretrain_task(folder, home, recipe(name)), None, home / "registry", Dies())
"""


def made(task: PretrainTask, known: CheckpointSpec | None = None) -> Pretrained:
    return pretrain(task, known, task.home / "registry", Silent())


@pytest.mark.parametrize("name", METHODS)
def test_the_same_command_gives_the_same_weights_though_it_was_killed(name: str, home: Path, tmp_path: Path) -> None:
    task = pretrain_task(tmp_path, home, recipe(name))
    whole = made(replace(task, home=tmp_path / "other"))
    killed = subprocess.run([sys.executable, "-c", DIES, tmp_path, home, name], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert task.path.exists() and not (home / "weights").exists()
    resumed = made(task)
    assert resumed.digest == whole.digest and resumed.losses == whole.losses and not task.path.exists()
    assert resumed.spec == whole.spec
    # And a third time it does nothing.
    before = sorted(home.rglob("*.safetensors"))[0].stat().st_mtime_ns
    assert made(task, resumed.spec) == Pretrained(resumed.spec, whole.digest)
    assert sorted(home.rglob("*.safetensors"))[0].stat().st_mtime_ns == before
    assert made(replace(pretrain_task(tmp_path, home, recipe(name), run=1), home=tmp_path / "r")).digest != whole.digest


@pytest.mark.parametrize("name", METHODS)
def test_the_entry_says_every_fact_and_builds_the_weights(name: str, home: Path, tmp_path: Path) -> None:
    task = pretrain_task(tmp_path, home, recipe(name), samples=20, run=3)
    done = made(task)
    spec = read_entry(home / "registry" / "checkpoints" / f"{task.id}.toml", CheckpointSpec)
    assert spec == done.spec
    facts = spec.pretraining
    assert facts.recipe and (facts.recipe.id, facts.recipe.version, facts.run) == (name, 1, 3)
    assert [(one.name, one.samples) for one in facts.sources] == [(task.asked.sources[0], 20)]
    assert facts.samples_seen == 48 and facts.epochs == pytest.approx(2.4) and facts.label_noise is None
    assert "unknown" not in (facts.method, facts.objective, facts.labels) and len(spec.weights.sha256) == 64
    assert RecipeUri.parse(spec.weights.uri) == task.asked and spec.output.layer == "pooled"
    backbone = build_backbone(spec, home)
    assert backbone.weights_digest == done.digest
    assert all(np.isfinite(done.losses)) and len(done.losses) == 3
    if name == "mini_clip":
        network, digest = build_language_image(spec, home)
        assert digest == done.digest and network.encode_text(torch.zeros(1, 24, dtype=torch.long)).shape == (1, 128)
    record = json.loads((home / "weights" / task.id / "pretraining.json").read_text())
    assert record["losses"] == list(done.losses) and record["environment"]["threads"] >= 1


@pytest.mark.parametrize("name", METHODS)
def test_a_training_starts_from_the_untrained_twin(name: str, home: Path, tmp_path: Path) -> None:
    task = pretrain_task(tmp_path, home, recipe(name), run=2)
    start = {key: one for key, one in training_of(task).begin().state_dict().items() if key.startswith("backbone.")}
    twin = construct(task.recipe.architecture, seed=2).state_dict()
    assert len(start) == len(twin) and all(torch.equal(start[f"backbone.{key}"], one) for key, one in twin.items())


@pytest.mark.parametrize("name", METHODS)
def test_a_few_images_are_learnt(name: str, home: Path, tmp_path: Path) -> None:
    views = {"crop_scale": (0.9, 1.0), "jitter": 0.0, "grayscale": 0.0}
    losses = made(pretrain_task(tmp_path, home, recipe(name, samples_seen=480, views=views))).losses
    assert np.mean(losses[-3:]) < 0.7 * losses[0]


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_train_as_one(name: str, home: Path, tmp_path: Path) -> None:
    """Batch statistics, negatives, views and gradients are those of the whole batch."""
    # AdamW would blow up rounding where a gradient vanishes, and so would large steps.
    task = pretrain_task(tmp_path, home, recipe(name, optimizer={"name": "sgd", "learning_rate": 1e-3}))
    stored_pixels(task.source, 64, home / "datasets")
    alone = loop.run(training_of(replace(task, home=tmp_path / "alone")), CPU, Silent())
    assert alone.weights

    def work(rank: int) -> Any:
        done = loop.run(training_of(task), CPU, Silent())
        assert done.weights
        return [epoch.train_loss for epoch in done.history], {key: one.numpy() for key, one in done.weights.items()}

    (losses, weights), (others, _) = two_processes(work)
    assert losses == others == pytest.approx([epoch.train_loss for epoch in alone.history], rel=1e-5)
    for key, one in alone.weights.items():
        assert np.allclose(weights[key], one.numpy(), rtol=1e-4, atol=1e-5), key


def test_each_method_sees_the_same_images_in_a_size_and_more_in_a_larger_one(home: Path, tmp_path: Path) -> None:
    tasks = [pretrain_task(tmp_path, home, recipe(name), samples=12) for name in METHODS]
    assert len({task.source.ids for task in tasks}) == 1
    larger = pretrain_task(tmp_path, home, recipe("mini_clip"), samples=20).source.ids
    assert (
        larger[:12] == tasks[0].source.ids and len(pretrain_task(tmp_path, home, recipe("mini_clip")).source) == IMAGES
    )
    assert {task.samples_seen for task in tasks} == {48}
    assert {pretrain_task(tmp_path, home, recipe("mini_clip"), samples=n).samples_seen for n in (8, 12, 24)} == {48}
    assert pretrain_task(tmp_path, home, recipe("mini_clip"), epochs=2).samples_seen == 48
    assert pretrain_task(tmp_path, home, recipe("mini_clip"), epochs=1).samples_seen == 24


def test_the_last_epoch_is_cut_to_the_samples_that_are_left(home: Path, tmp_path: Path) -> None:
    task = pretrain_task(tmp_path, home, recipe("mini_simclr", samples_seen=40), samples=17)
    training = training_of(task)
    assert [training.sizes(epoch) for epoch in range(1, training.epochs + 1)] == [[8, 8], [8, 8], [8]]
    assert training.images == task.samples_seen == 40 and training.steps == 5


@pytest.mark.parametrize("name", ["mini_supervised", "mini_clip"])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_label_noise_permutes_the_stated_share(name: str, share: float, home: Path, tmp_path: Path) -> None:
    task = pretrain_task(tmp_path, home, recipe(name), label_noise=share)
    targets = training_of(task).objective.targets  # type: ignore[attr-defined]
    clean = training_of(pretrain_task(tmp_path, home, recipe(name))).objective.targets  # type: ignore[attr-defined]
    moved = (targets != clean).flatten(1).any(dim=1) if targets.dim() > 1 else targets != clean
    if name == "mini_clip":
        # Each caption is one image's alone.
        assert int(moved.sum()) == round(share * IMAGES)
    else:
        assert int(moved.sum()) <= round(share * IMAGES) and bool(moved.any()) is (share > 0)
    assert sorted(targets.flatten().tolist()) == sorted(clean.flatten().tolist())
    spec = task.entry("unknown")
    assert spec.pretraining.label_noise == (share or None)
    assert (f"{100 * share:g}% of" in spec.title) is (share > 0)


def test_methods_have_the_same_noisy_images(home: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"label_noise": 0.5, "run": 4}
    tasks = [pretrain_task(tmp_path, home, recipe(name), **asked) for name in METHODS[:2]]
    assert tasks[0].noise_seed == tasks[1].noise_seed
    assert tasks[0].noise_seed != pretrain_task(tmp_path, home, recipe("mini_clip"), run=5).noise_seed


def test_captions_in_sentences(home: Path, tmp_path: Path) -> None:
    spec = recipe("mini_clip", templates=["a {}.", "one {}, drawn."])
    plain = training_of(pretrain_task(tmp_path, home, spec)).objective.targets  # type: ignore[attr-defined]
    task = pretrain_task(tmp_path, home, spec, captions="templates")
    tokens = training_of(task).objective.targets  # type: ignore[attr-defined]
    assert plain.shape == (IMAGES, 1, 24) and tokens.shape == (IMAGES, 2, 24)
    import open_clip

    expected = open_clip.get_tokenizer(spec.architecture.name)(f"one {task.source.captions[5]}, drawn.")
    assert torch.equal(tokens[5, 1], expected[0]) and "-templates-" in task.id


def test_a_mixture_has_equal_parts(home: Path, tmp_path: Path) -> None:
    sources = [str(pictures(tmp_path / "pictures")), str(pictures(tmp_path / "more", 9))]
    task = pretrain_task(tmp_path, home, recipe("mini_supervised"), sources=sources)
    assert task.asked.samples == 18 and task.asked.parts == (9, 9) and len(task.source) == 18
    facts = made(task).spec.pretraining
    assert [one.samples for one in facts.sources] == [9, 9] and "mix2" in task.id
    with pytest.raises(UsageError, match="named twice"):
        pretrain_task(tmp_path, home, recipe("mini_clip"), sources=sources[:1] * 2)


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("mini_simclr", {"label_noise": 0.5}, "reads neither labels nor captions"),
        ("mini_simclr", {"captions": "templates"}, "reads none"),
        ("mini_supervised", {"captions": "templates"}, "reads none"),
        ("mini_clip", {"samples": 25}, "has 24 images; ask for at most so many"),
        ("mini_clip", {"samples": 1}, "take two images or more"),
        ("mini_clip", {"label_noise": 0.04}, "is one image, which has none to change with"),
        ("mini_supervised", {"sources": ["BARE"]}, "has no labels, from which mini_supervised learns"),
        ("mini_supervised", {"sources": ["nowhere"]}, "unknown source 'nowhere'"),
    ],
)
def test_wrong_use_is_one_line(name: str, changes: dict[str, Any], why: str, home: Path, tmp_path: Path) -> None:
    if changes.get("sources") == ["BARE"]:
        changes = {"sources": [str(pictures(tmp_path / "bare", labelled=False))]}
    with pytest.raises(UsageError, match=why):
        training_of(pretrain_task(tmp_path, home, recipe(name), **changes))


def test_a_recipe_without_templates_and_one_for_another_input(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no templates"):
        pretrain_task(tmp_path, home, recipe("mini_clip", templates=None), captions="templates")
    patches = recipe("mini_simclr", architecture={"library": "timm", "name": "vit_tiny_patch16_224"})
    with pytest.raises(RegistryError, match="vit_tiny_patch16_224 cannot run at 32 px"):
        training_of(pretrain_task(tmp_path, home, patches))


def test_an_entry_that_says_something_else_is_left_alone(home: Path, tmp_path: Path) -> None:
    task = pretrain_task(tmp_path, home, recipe("mini_simclr"))
    known = task.entry("unknown")
    pretraining = known.pretraining.model_copy(update={"samples_seen": 7})
    with pytest.raises(UsageError, match="says something else of its pre-training"):
        made(task, known.model_copy(update={"pretraining": pretraining}))
    # The bits of the weights, and the words of the title, are no other pre-training.
    done = made(task, known.model_copy(update={"title": "as it ships"}))
    assert done.spec.title == "as it ships" and not (home / "registry").exists()
    assert build_backbone(done.spec, home).weights_digest == done.digest


def test_weights_of_other_images_are_not_taken_for_these(home: Path, tmp_path: Path) -> None:
    task = pretrain_task(tmp_path, home, recipe("mini_simclr"))
    done = made(task)
    other = replace(task, source=replace(task.source, captions=("other", *task.source.captions[1:])))
    with pytest.raises(UsageError, match="was made from other images"):
        made(other, done.spec)


def test_weights_that_nobody_made_yet_name_the_command(home: Path, tmp_path: Path) -> None:
    task = pretrain_task(tmp_path, home, recipe("mini_simclr"))
    with pytest.raises(WeightsError, match="make them: probebench pretrain --recipe mini_simclr --source folder:"):
        build_backbone(task.entry("unknown"), home)


def test_divergence_is_told_at_once_and_again(home: Path, tmp_path: Path) -> None:
    task = pretrain_task(tmp_path, home, recipe("mini_supervised", optimizer={"name": "sgd", "learning_rate": 1e20}))
    for _ in range(2):
        with pytest.raises(FeatureError, match="the loss is not finite; lower the recipe's learning rate"):
            made(task)
    assert not (home / "weights").exists() and task.path.exists()


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_that_does_not_fit_is_split_only_where_nothing_is_compared(
    name: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = pretrain_task(tmp_path, home, recipe(name))
    kind = type(training_of(task).objective)
    loss = kind.loss

    def runs_out(objective: Any, model: Any, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if len(inputs) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss(objective, model, inputs, targets)

    monkeypatch.setattr(kind, "loss", runs_out)
    if name == "mini_supervised":
        assert made(task).losses
        return
    with pytest.raises(FeatureError, match="a batch of 8 does not fit into memory.*2 images fit"):
        made(task)


def test_without_a_store_each_image_is_decoded_and_augmented_by_itself(home: Path, tmp_path: Path) -> None:
    digests = set()
    for workers in (0, 2):
        for name in METHODS:
            spec = recipe(name, store=None, views={"blur": 0.5})
            task = replace(
                pretrain_task(tmp_path, home, spec, samples=16),
                options=replace(CPU, workers=workers),
                home=tmp_path / f"{workers}",
            )
            digests.add(made(task).digest)
    # The number of loader processes changes nothing.
    assert len(digests) == len(METHODS)
    assert not (tmp_path / "0" / "datasets").exists()


@pytest.mark.parametrize("name", METHODS)
def test_mixed_precision(name: str, home: Path, tmp_path: Path) -> None:
    done = [
        made(
            replace(
                pretrain_task(tmp_path, home, recipe(name)), options=replace(CPU, dtype=dtype), home=tmp_path / dtype
            )
        )
        for dtype in ("fp32", "bf16")
    ]
    assert done[0].digest != done[1].digest and done[1].losses == pytest.approx(done[0].losses, rel=0.1)
    state = build_backbone(done[1].spec, tmp_path / "bf16").module.state_dict()
    assert {one.dtype for one in state.values() if one.is_floating_point()} == {torch.float32}


def test_pixels_are_decoded_once_and_again_where_the_file_is_damaged(home: Path, tmp_path: Path) -> None:
    task = pretrain_task(tmp_path, home, recipe("mini_simclr"))
    root = home / "datasets"
    rows = stored_pixels(task.source, 16, root)
    assert rows.shape == (IMAGES, 3, 16, 16)
    (file,) = (root / "content").glob("*-16.npy")
    written = file.stat().st_mtime_ns
    assert np.array_equal(stored_pixels(task.source, 16, root), rows) and file.stat().st_mtime_ns == written
    kept = np.array(rows)
    del rows
    file.write_bytes(file.read_bytes()[:500])
    assert np.array_equal(stored_pixels(task.source, 16, root), kept)
    larger = stored_pixels(task.source, 24, root)
    original = np.asarray(task.source.images.load(3).convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(larger[3], original)


def test_a_disk_without_room(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = pretrain_task(tmp_path, home, recipe("mini_simclr"))
    monkeypatch.setattr("probebench.pretraining.pixels.free_space", lambda folder: 10)
    with pytest.raises(DatasetError, match="24 images of 64 pixels take 294.9 kB, and .* has 10 bytes left"):
        made(task)


@pytest.mark.parametrize("name", sorted(SHIPPED.recipes))
def test_every_shipped_recipe_takes_a_step(name: str, home: Path, tmp_path: Path) -> None:
    """Those of paper scale on two images, and their entries are whole."""
    task = pretrain_task(tmp_path, home, SHIPPED.recipe(name), samples=2)
    spec, training = task.entry("unknown"), training_of(task)
    assert spec.output.layer == ("projected" if name == "entezari2023_clip_rn50" else "pooled")
    (batch,) = load(training.train, [[(1, 0), (1, 1)]], 0)
    loss = training.objective.loss(training.begin(), *training.objective.mixed(batch.inputs, batch.labels))
    torch.autograd.backward(loss)
    assert torch.isfinite(loss) and spec.output.features > 1


@pytest.mark.parametrize("samples", [2, 3, 9, 17])
def test_a_plan_of_few_images(samples: int, home: Path, tmp_path: Path) -> None:
    assert planned(pretrain_task(tmp_path, home, recipe("mini_simclr"), samples=samples)).rate > 0


def test_the_plan_tells_time_here_and_models_gpus(home: Path, tmp_path: Path) -> None:
    for name in METHODS:
        plan = planned(pretrain_task(tmp_path, home, recipe(name)))
        assert plan.rate > 0 and plan.seconds == pytest.approx(plan.samples_seen / plan.rate)
        assert plan.reference_samples == IMAGES and plan.gpu_hours[8] < plan.gpu_hours[1]
    spec: RecipeSpec = recipe("mini_supervised", reference_samples=2_700_000, samples_seen=None, epochs=2)
    plan = planned(pretrain_task(tmp_path, home, spec))
    assert plan.gpu_hours[1] == pytest.approx(5.4e6 * plan.gflops * 1e9 / 60e12 / 3600)
    assert not list(home.rglob("*.safetensors")) and not (home / "pretrain").exists()
