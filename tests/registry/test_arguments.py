"""What an entry may tell a library: plain values that change the network, and nothing that fetches or runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from probebench.backbones.construct import construct
from probebench.errors import RegistryError
from probebench.registry import CheckpointSpec, Registry
from probebench.registry.checkpoint import ARGUMENTS, Architecture
from probebench.registry.load import read_entry, validate_path
from tests.conftest import write_entry

# Arguments of the builders of these libraries, each as somebody would write it who wants more than a network.
PATH = '"leaderboard/submissions/mine/README.md"'
ADDRESS = '"https://example.org/weights.pt"'
HOSTILE: dict[str, tuple[str, str, str]] = {
    "a pickle as the image tower": ("open_clip", "RN50", f"pretrained_image_path = {PATH}, weights_only = false"),
    "a pickle as the text tower": ("open_clip", "RN50", f"pretrained_text_path = {PATH}"),
    "an unsafe reader": ("open_clip", "RN50", "weights_only = false"),
    "weights of an image tower": ("open_clip", "RN50", "pretrained_image = true"),
    "weights of a text tower": ("open_clip", "RN50", "pretrained_hf = true"),
    "weights by another name": ("open_clip", "RN50", f"pretrained = {PATH}"),
    "another cache": ("open_clip", "RN50", 'cache_dir = "/"'),
    "compiled code": ("open_clip", "RN50", "jit = true"),
    "another device": ("open_clip", "RN50", 'device = "cuda"'),
    "a tower of another library": ("open_clip", "RN50", 'vision_cfg = { timm_model_name = "resnet50" }'),
    "a text tower of the hub": ("open_clip", "RN50", 'text_cfg = { hf_model_name = "someone/code" }'),
    "other preprocessing": ("open_clip", "RN50", "force_preprocess_cfg = { size = 9000 }"),
    "a huge image": ("open_clip", "RN50", "force_image_size = 100000"),
    "an overlay with an address": ("timm", "test_resnet", f"pretrained_cfg_overlay = {{ url = {ADDRESS} }}"),
    "a configuration with a file": ("timm", "test_resnet", f"pretrained_cfg = {{ file = {PATH} }}"),
    "a configuration by name": ("timm", "test_resnet", 'pretrained_cfg = "a1_in1k"'),
    "a checkpoint": ("timm", "test_resnet", f"checkpoint_path = {PATH}"),
    "pretrained": ("timm", "test_resnet", "pretrained = true"),
    "strict loading off": ("timm", "test_resnet", "pretrained_strict = false"),
    "a scripted network": ("timm", "test_resnet", "scriptable = true"),
    "millions of blocks": ("timm", "test_vit", "depth = 1000000"),
    "a wide network": ("timm", "test_vit", "embed_dim = 1000000"),
    "a layer by its class": ("timm", "test_vit", 'act_layer = "gelu"'),
    "torchvision's weights": ("torchvision", "resnet18", 'weights = "DEFAULT"'),
    "torchvision's progress": ("torchvision", "resnet18", "progress = true"),
    "a base of torchvision": ("torchvision", "resnet18", "weights_backbone = true"),
    "an argument of another library": ("torchvision", "resnet18", "force_quick_gelu = true"),
    "timm's of open_clip": ("open_clip", "RN50", "num_classes = 10"),
    # Names that look like one that is allowed, and values that are like one.
    "upper case": ("timm", "test_resnet", "Num_Classes = 10"),
    "a prefix": ("timm", "test_resnet", "num_classes_ = 10"),
    "a look-alike letter": ("timm", "test_resnet", '"num_cl\u0430sses" = 10'),
    "a space": ("timm", "test_resnet", '"num_classes " = 10'),
    "an empty name": ("timm", "test_resnet", '"" = 10'),
    "a dotted name": ("timm", "test_resnet", "num_classes.x = 10"),
    "a dunder": ("timm", "test_resnet", "__class__ = 10"),
    "a control character": ("timm", "test_resnet", r'"num\u001b[2J" = 10'),
    "a text for a number": ("timm", "test_resnet", 'num_classes = "10"'),
    "true for a number": ("timm", "test_resnet", "num_classes = true"),
    "a fraction": ("timm", "test_resnet", "num_classes = 10.0"),
    "a list": ("timm", "test_resnet", "num_classes = [10]"),
    "a table": ("timm", "test_resnet", "num_classes = { a = 1 }"),
    "a negative number": ("timm", "test_resnet", "num_classes = -1"),
    "a classifier of a terabyte": ("timm", "test_resnet", "num_classes = 1000000000"),
    "no head": ("timm", "test_vit", "num_heads = 0"),
    "a number for true": ("open_clip", "RN50", "force_quick_gelu = 1"),
    "a text for true": ("open_clip", "RN50", 'force_quick_gelu = "yes"'),
    "a date": ("timm", "test_resnet", "num_classes = 2026-01-01"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_argument_that_is_not_on_the_list_is_one_line(name: str, tmp_path: Path) -> None:
    library, network, kwargs = HOSTILE[name]
    path = write_entry(tmp_path, library=library, name=network)
    path.write_text(path.read_text().replace(f'name = "{network}"', f'name = "{network}"\nkwargs = {{ {kwargs} }}'))
    (problem,) = validate_path(tmp_path)
    assert "architecture: kwargs: " in problem and problem.isprintable()


def test_a_foreign_registry_fails_before_anything_is_built(tmp_path: Path) -> None:
    path = write_entry(tmp_path)
    path.write_text(
        path.read_text().replace('name = "test_resnet"', 'name = "test_resnet"\nkwargs = { pretrained = 1 }')
    )
    with pytest.raises(RegistryError, match="an entry may not give timm 'pretrained': only num_classes and num_heads"):
        Registry.load([tmp_path], environ={})


@pytest.mark.parametrize("library", ["timm", "open_clip", "torchvision"])
@pytest.mark.parametrize(
    "name",
    [
        *("hf-hub:someone/code", "local-dir:leaderboard/submissions/mine", "local-dir:.", "hf_hub:someone/code"),
        *("../../etc/passwd", "/etc/passwd", "https://example.org/net", "a/b", "a b", "resn\u0435t50", "-net", "net\n"),
    ],
)
def test_a_name_that_no_library_has_in_its_table_is_one_line(library: str, name: str, tmp_path: Path) -> None:
    path = write_entry(tmp_path, library=library, name=json.dumps(name)[1:-1])
    if name != name.strip():
        # A text's ends are stripped.
        assert read_entry(path, CheckpointSpec).architecture.name == name.strip()
        return
    (problem,) = validate_path(tmp_path)
    assert "is no name of an architecture" in problem and problem.isprintable()


@pytest.mark.parametrize(
    "uri",
    [
        *("open_clip://leaderboard/submissions/mine/README.md", "open_clip:///etc/passwd", "open_clip://./README.md"),
        *("timm://a/b", "timm://hf-hub:someone/code", "timm://\u0430ugreg_in21k", "pkg://os.path/x", "pkg://a.b/c"),
        *("open_clip://", "timm://..", "random:\u0661"),
    ],
)
def test_a_tag_is_a_name_in_a_librarys_table(uri: str, tmp_path: Path) -> None:
    write_entry(tmp_path, uri=uri, sha256="unknown")
    (problem,) = validate_path(tmp_path)
    assert "is none of pkg://package/path" in problem


def test_open_clip_is_given_no_file_for_a_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that happens to have a tag's form is not what open_clip then reads."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_bytes(b"\x80\x02c__builtin__\nexec\n")
    with pytest.raises(RegistryError, match=r"open_clip has no weights 'README.md' of RN50; it has: openai, yfcc15m"):
        construct(Architecture(library="open_clip", name="RN50"), tag="README.md")


def test_the_list_is_what_shipped_entries_and_recognised_files_need(shipped: Registry) -> None:
    used: dict[str, set[str]] = {library: set() for library in ARGUMENTS}
    for spec in shipped.checkpoints.values():
        used[spec.architecture.library] |= spec.architecture.kwargs.keys()
    # `models add` says how many classes a file's classifier has, in torchvision's networks too.
    used["torchvision"].add("num_classes")
    # And how large the images of a vision transformer's file were, as DINOv2's are.
    used["timm"].add("img_size")
    assert used == {library: set(allowed) for library, allowed in ARGUMENTS.items()}


@pytest.mark.parametrize(
    ("library", "kwargs"),
    [
        ("timm", {"num_classes": 0}),
        ("timm", {"num_classes": 21843, "num_heads": 12}),
        ("open_clip", {"force_quick_gelu": True}),
        ("torchvision", {"num_classes": 7}),
    ],
)
def test_what_is_on_the_list_passes(library: Any, kwargs: dict[str, Any]) -> None:
    assert Architecture(library=library, name="net", kwargs=kwargs).kwargs == kwargs
