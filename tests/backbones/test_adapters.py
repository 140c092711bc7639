"""Checkpoints saved as each trainer saves them, against the network that the trainer's own code would compute with."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision

from probebench.backbones.adapters import read_state_dict
from probebench.backbones.recognise import recognise
from probebench.backbones.weights import load_into
from probebench.errors import WeightsError
from probebench.registry.checkpoint import Architecture, Keys

Network = torch.nn.Module
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def with_statistics(network: Network, seed: int = 0) -> Network:
    """Gives batch normalisation statistics that are not those of a new network, so that a lost buffer shows."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if name.endswith("running_mean"):
            value.copy_(torch.rand(value.shape, generator=generator) / 10)
        if name.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=generator) / 2 + 0.1)
    return network.eval()


def trunk(seed: int = 0) -> Network:
    """A ResNet-18 without its classifier."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = torchvision.models.resnet18(weights=None)
    network.fc = torch.nn.Identity()
    return with_statistics(network)


def timm_trunk() -> Network:
    return timm.create_model("resnet18", num_classes=0)


def nested(state: dict[str, Any], prefix: str, **others: Any) -> dict[str, Any]:
    return {**{f"{prefix}{name}": value for name, value in state.items()}, **others}


class Wrapped(torch.nn.Module):
    """A trainer's model: children by the names that it gives them."""

    def __init__(self, **children: Network) -> None:
        super().__init__()
        for name, child in children.items():
            setattr(self, name, child)


def slip(folder: Path) -> tuple[Path, Network]:
    """facebookresearch/SLIP, main.py: DistributedDataParallel, options as a Namespace, a NumPy score."""
    own = trunk()
    model = Wrapped(visual=own, image_mlp=torch.nn.Linear(512, 8))
    file = folder / "checkpoint.pt"
    torch.save(
        {
            "epoch": 25,
            "state_dict": nested(model.state_dict(), "module."),
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.1).state_dict(),
            "scaler": {},
            "best_acc1": np.float64(31.5),
            "args": argparse.Namespace(model="SIMCLR_RN50", output_dir=Path("out")),
        },
        file,
    )
    return file, own


def moco_v3(folder: Path) -> tuple[Path, Network]:
    """facebookresearch/moco-v3: base and momentum encoder, each with a projector in place of the classifier."""
    own = trunk()
    other = trunk(seed=1)
    model = Wrapped(base_encoder=own, momentum_encoder=other, predictor=torch.nn.Linear(8, 8))
    state = nested(model.state_dict(), "module.") | {"module.base_encoder.fc.0.weight": torch.ones(4, 512)}
    file = folder / "r-18.pth.tar"
    torch.save({"epoch": 100, "arch": "resnet18", "state_dict": state}, file)
    return file, own


def moco_v2(folder: Path) -> tuple[Path, Network]:
    """facebookresearch/moco: encoder_q and encoder_k, a queue."""
    own = trunk()
    state = nested(own.state_dict(), "module.encoder_q.") | nested(trunk(1).state_dict(), "module.encoder_k.")
    state |= {"module.encoder_q.fc.2.weight": torch.ones(4, 512), "module.queue": torch.rand(4, 16)}
    file = folder / "moco.pth.tar"
    torch.save({"epoch": 200, "arch": "resnet18", "state_dict": state, "optimizer": {}}, file)
    return file, own


def dino(folder: Path) -> tuple[Path, Network]:
    """facebookresearch/dino, main_dino.py: student and teacher, each a MultiCropWrapper of backbone and head."""
    own = trunk()
    teacher = nested(own.state_dict(), "module.backbone.", **{"module.head.mlp.0.weight": torch.ones(4, 512)})
    student = nested(trunk(seed=1).state_dict(), "module.backbone.")
    file = folder / "checkpoint.pth"
    args = argparse.Namespace(arch="resnet18", lr=0.1)
    torch.save({"student": student, "teacher": teacher, "epoch": 100, "args": args, "dino_loss": {}}, file)
    return file, own


def vissl(folder: Path) -> tuple[Path, Network]:
    """facebookresearch/vissl: classy_state_dict / base_model / model / trunk, all under _feature_blocks."""
    own = trunk()
    model = {"trunk": nested(own.state_dict(), "_feature_blocks."), "heads": {"0.clf.weight": torch.ones(2, 2)}}
    file = folder / "model_final_checkpoint_phase999.torch"
    torch.save({"classy_state_dict": {"base_model": {"model": model, "meters": {}}}, "loss": np.float32(1.0)}, file)
    return file, own


def swav(folder: Path) -> tuple[Path, Network]:
    """facebookresearch/swav: the network's own names, with projection head and prototypes."""
    own = trunk()
    heads = {"projection_head.0.weight": torch.ones(4, 512), "prototypes.weight": torch.ones(3, 4)}
    file = folder / "swav.pth.tar"
    torch.save(nested(own.state_dict() | heads, "module."), file)
    return file, own


def solo_learn(folder: Path, backbone: str = "backbone") -> tuple[Path, Network]:
    """solo-learn 1.0: a Lightning checkpoint with its configuration as an omegaconf dictionary."""
    from omegaconf import OmegaConf

    own = trunk()
    model = Wrapped(**{backbone: own}, classifier=torch.nn.Linear(512, 10), projector=torch.nn.Linear(512, 8))
    file = folder / "simclr-imagenet100-ep=399.ckpt"
    torch.save(
        {
            "epoch": 399,
            "pytorch-lightning_version": "2.1.0",
            "state_dict": model.state_dict(),
            "hyper_parameters": {"cfg": OmegaConf.create({"method": "simclr", "optimizer": {"lr": 0.3}})},
            "callbacks": {"Checkpointer": {"last_ckpt": Path("out/last.ckpt")}},
        },
        file,
    )
    return file, own


def old_solo_learn(folder: Path) -> tuple[Path, Network]:
    return solo_learn(folder, backbone="encoder")


def lightly(folder: Path) -> tuple[Path, Network]:
    """Lightly's SimCLR example, trained for no step by Lightning itself, which writes the checkpoint."""
    import pytorch_lightning
    from lightly.models.modules import SimCLRProjectionHead

    own = trunk()
    backbone = torch.nn.Sequential(*list(own.children())[:-1])

    class SimCLR(pytorch_lightning.LightningModule):
        def __init__(self, backbone: Network, lr: float = 0.06) -> None:
            super().__init__()
            self.save_hyperparameters(ignore=["backbone"])
            self.backbone = backbone
            self.projection_head = SimCLRProjectionHead(512, 32, 8)

    trainer = pytorch_lightning.Trainer(
        max_epochs=0, accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False
    )
    trainer.strategy.connect(SimCLR(backbone))
    file = folder / "epoch=0.ckpt"
    trainer.save_checkpoint(file)
    return file, own


def timm_trainer(folder: Path) -> tuple[Path, Network]:
    """timm's train.py: the average of the weights beside the weights; timm evaluates the average."""
    own = trunk()
    file = folder / "model_best.pth.tar"
    state = {"epoch": 10, "arch": "resnet18", "state_dict": trunk(seed=1).state_dict(), "args": argparse.Namespace(a=1)}
    torch.save(state | {"state_dict_ema": own.state_dict(), "version": 2, "metric": np.float64(0.7)}, file)
    return file, own


def compiled(folder: Path) -> tuple[Path, Network]:
    """A network that was saved while compiled and on several GPUs."""
    own = trunk()
    file = folder / "w.pt"
    torch.save({"model": nested(own.state_dict(), "module._orig_mod.")}, file)
    return file, own


@pytest.mark.parametrize(
    ("save", "keys"),
    [
        (slip, "slip"),
        (moco_v3, "moco"),
        (moco_v2, "moco"),
        (dino, "dino"),
        (vissl, "vissl"),
        (swav, "trunk"),
        (solo_learn, "solo-learn"),
        (old_solo_learn, "solo-learn"),
        (lightly, "lightly"),
        (timm_trainer, "plain"),
        (compiled, "plain"),
    ],
)
def test_features_are_those_of_the_trainers_own_network(
    tmp_path: Path, save: Callable[[Path], tuple[Path, Network]], keys: Keys
) -> None:
    file, own = save(tmp_path)
    network = timm_trunk()
    load_into(network, read_state_dict(file, keys), "resnet18", file)
    with torch.inference_mode():
        expected = own(IMAGES)
        found = network.eval()(IMAGES)
    assert expected.std() > 0 and torch.allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_lightly_wraps_a_timm_transformer(tmp_path: Path) -> None:
    from lightly.models.modules import MaskedVisionTransformerTIMM

    own = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64)
    model = Wrapped(backbone=MaskedVisionTransformerTIMM(vit=own), decoder=torch.nn.Linear(2, 2))
    torch.save({"state_dict": model.state_dict()}, tmp_path / "mae.ckpt")
    state = read_state_dict(tmp_path / "mae.ckpt", "lightly")
    assert set(own.state_dict()) <= set(state)
    assert all(torch.equal(state[name], value) for name, value in own.state_dict().items())


def test_an_image_tower_of_open_clip_without_its_text_tower(tmp_path: Path, home: Path) -> None:
    """The study's SimCLR: SLIP's code around CLIP's own ResNet-50."""
    import open_clip

    from probebench.backbones.builders import build_backbone, register_weights
    from tests.conftest import make_entry

    own = open_clip.create_model("RN50").visual.eval()
    state = nested(own.state_dict(), "module.visual.") | {"module.image_mlp.layer1.weight": torch.ones(4, 1024)}
    torch.save({"state_dict": state, "args": argparse.Namespace(model="SIMCLR_RN50")}, tmp_path / "w.pt")
    facts = {"library": "open_clip", "name": "RN50", "features": 1024, "layer": "projected", "size": 224, "uri": "user"}
    spec = make_entry(tmp_path, **facts)
    weights = spec.weights.model_copy(update={"keys": "open-clip-visual"})
    spec = spec.model_copy(update={"weights": weights})
    register_weights(spec, home, tmp_path / "w.pt")
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(build_backbone(spec, home).module(images), own(images))


def test_a_file_of_another_format_says_what_it_begins_with(tmp_path: Path) -> None:
    torch.save({"state_dict": trunk().state_dict()}, tmp_path / "w.pt")
    for keys in ("slip", "moco", "lightly", "solo-learn"):
        with pytest.raises(WeightsError, match=f"is not of the format {keys}: .*begins with conv1.weight"):
            read_state_dict(tmp_path / "w.pt", keys)


def test_counters_and_heads_without_outputs_may_be_missing(tmp_path: Path) -> None:
    own = trunk()
    state = {name: value for name, value in own.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")
    network = torchvision.models.resnet18(weights=None, num_classes=0)
    load_into(network, read_state_dict(tmp_path / "old.pth"), "resnet18", tmp_path / "old.pth")
    del state["bn1.running_var"]
    with pytest.raises(WeightsError, match=r"1 keys missing \(bn1.running_var\)"):
        load_into(network, state, "resnet18", tmp_path / "old.pth")


def dinov2(name: str = "vit_small_patch14_dinov2") -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A file as facebookresearch/dinov2 releases it, and what timm's own conversion makes of it."""
    from timm.models.vision_transformer import checkpoint_filter_fn

    with torch.device("meta"):
        network = timm.create_model(name, num_classes=0, img_size=28, depth=3)
    generator = torch.Generator().manual_seed(0)
    state = {key: torch.rand(value.shape, generator=generator) for key, value in network.state_dict().items()}
    if "reg_token" in state:
        state["register_tokens"] = state.pop("reg_token")
        state["pos_embed"] = torch.rand(1, state["pos_embed"].shape[1] + 1, state["pos_embed"].shape[2])
    released = {**state, "mask_token": torch.rand(1, 384)}
    return released, checkpoint_filter_fn(dict(released), network)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"])
@pytest.mark.parametrize("form", ["release", "training", "chunked", "fsdp", "both"])
def test_dinov2_files_become_what_timm_makes_of_them(tmp_path: Path, name: str, form: str) -> None:
    released, expected = dinov2(name)
    content: dict[str, Any] = dict(released)
    if form != "release":
        if form in ("chunked", "fsdp"):
            # BlockChunk of dinov2/models: the number in the network stays behind that of the chunk.
            content = {
                re.sub(r"^blocks\.(\d+)\.", lambda one: f"blocks.{int(one[1]) // 2}.{one[1]}.", key): value
                for key, value in content.items()
            }
        if form == "fsdp":
            content = {
                re.sub(r"(blocks\.\d+\.)", r"\1_fsdp_wrapped_module.", f"_fsdp_wrapped_module.{key}"): value
                for key, value in content.items()
            }
        content = nested(
            content,
            "backbone.",
            **{"dino_head.last_layer.weight": torch.ones(2), "ibot_head.mlp.0.bias": torch.ones(2)},
        )
        content = {"teacher": content}
        if form == "both":
            other = {key: value + 1 for key, value in released.items()}
            content = {"model": nested(other, "student.backbone.") | nested(released, "teacher.backbone.")}
    torch.save(content, tmp_path / "w.pth")
    found = read_state_dict(tmp_path / "w.pth", "dino")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_dinov2s_swiglu_has_timms_names(tmp_path: Path) -> None:
    torch.save({"blocks.0.mlp.w12.weight": torch.ones(2), "blocks.0.mlp.w3.bias": torch.ones(2)}, tmp_path / "w.pth")
    assert set(read_state_dict(tmp_path / "w.pth", "dino")) == {"blocks.0.mlp.fc1.weight", "blocks.0.mlp.fc2.bias"}


def vit(**kwargs: Any) -> dict[str, torch.Tensor]:
    return timm.create_model("test_vit", num_classes=0, **kwargs).state_dict()


def test_what_a_file_is_of_is_found_out(tmp_path: Path) -> None:
    """The formats that say least: a decoder beside the encoder, other sizes, any prefix, averages, wrappers."""
    state = vit()
    decoder = {"mask_token": torch.ones(1, 1, 8), "decoder_pos_embed": torch.ones(1, 2, 8)}
    decoder |= {"decoder_blocks.0.attn.qkv.weight": torch.ones(2, 2), "decoder_pred.bias": torch.ones(2)}
    other = {key: value + 1 for key, value in state.items()}
    small = vit(img_size=96)
    cases: list[tuple[dict[str, Any], str, dict[str, Any], dict[str, torch.Tensor]]] = [
        ({"model": state | decoder}, "mae", {}, state),
        ({"model": small | decoder}, "mae", {"img_size": 96}, small),
        *(
            ({"state_dict": nested(state, prefix, **{"criterion.weight": torch.ones(2)})}, "prefixed", {}, state)
            for prefix in ("model.", "net.", "model.model.", "network.features.", "_forward_module.model.")
        ),
        ({"state_dict": nested(other, "model.") | nested(state, "model_ema.module.")}, "prefixed", {}, state),
        ({"state_dict": nested(other, "online.") | nested(state, "teacher.")}, "prefixed", {}, state),
        ({"state_dict": nested(state | {"head.0.weight": torch.ones(3, 3)}, "net.")}, "prefixed", {}, state),
        ({"model": nested(state, "_orig_mod.module.")}, "plain", {}, state),
    ]
    architecture = Architecture(library="timm", name="test_vit")
    for content, keys, kwargs, expected in cases:
        torch.save(content, tmp_path / "w.pth")
        found = recognise(tmp_path / "w.pth", architecture)
        assert (found.keys, found.architecture.kwargs) == (keys, {"num_classes": 0, **kwargs}), list(content)
        assert found.state.keys() == expected.keys()
        assert all(torch.equal(found.state[key], value) for key, value in expected.items())


def test_two_networks_that_fit_equally_are_asked_about(tmp_path: Path) -> None:
    state = vit()
    torch.save({"state_dict": nested(state, "one.") | nested(state, "two.")}, tmp_path / "w.pth")
    architecture = Architecture(library="timm", name="test_vit")
    with pytest.raises(WeightsError, match=r"holds several networks that fit \(one\., two\.\); save one alone"):
        recognise(tmp_path / "w.pth", architecture, "prefixed")
