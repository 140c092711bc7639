"""Writes prompts.json: digests of CLIP_benchmark's prompts, and class vectors of its own ``zero_shot_classifier``.

Runs under a Python that has clip_benchmark (benchmarks/README.md builds one), from the root of the repository:
    PEER/bin/python -m tests.evaluation.prompts --commit COMMIT

Its package holds its templates, and the class names of some sets; those of the others are torchvision's, which read
them from the data. Of these the entry's ``classes`` are taken, "as the set's own files have them", and changed as its
builder changes them (``SETS``).
"""

import argparse
import hashlib
import importlib.metadata
import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

GOLDEN = Path(__file__).with_name("prompts.json")
ARCHITECTURE = "ViT-B-32"
_REGISTRY = Path(__file__).parents[2] / "registry" / "datasets"


def _same(names: Sequence[str]) -> list[str]:
    return list(names)


def _words(names: Sequence[str]) -> list[str]:
    return [name.replace("_", " ").replace("/", " ") for name in names]


# Entry: the set as CLIP_benchmark has it, and how names become those of the entry.
SETS: dict[str, tuple[str, Callable[[Sequence[str]], list[str]]]] = {
    # Differs on purpose: the background is no class.
    "caltech101": ("caltech101", lambda names: list(names[1:])),
    # Differs on purpose: words.
    "cifar100": ("cifar100", _words),
    "country211": ("country211", _same),
    "digits": ("mnist", _same),
    "dtd": ("dtd", _same),
    "eurosat": ("eurosat", _same),
    "fgvc_aircraft": ("fgvc_aircraft", _same),
    "flowers102": ("flowers", _same),
    "food101": ("food101", _words),
    "gtsrb": ("gtsrb", _same),
    "imagenet1k": ("imagenet1k", _same),
    "oxford_pets": ("pets", _same),
    "pcam": ("pcam", _same),
    "stanford_cars": ("cars", _same),
    "stl10": ("stl10", _same),
    "sun397": ("sun397", _words),
    "svhn": ("svhn", _same),
}


def digest(texts: Sequence[str]) -> str:
    """Returns the sha256 of texts in their order."""
    return hashlib.sha256(json.dumps(list(texts), ensure_ascii=False).encode()).hexdigest()


def some(classes: int) -> list[int]:
    """Returns the classes whose vectors are compared: first, middle and last."""
    return sorted({0, classes // 2, classes - 1})


def tower() -> Any:
    """Returns a small open_clip network whose text tower has weights by NumPy's seed 0, which no version changes."""
    import open_clip

    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    vision = {"layers": 1, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 16}
    clip = open_clip.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text).eval()
    generator = np.random.default_rng(0)
    with torch.no_grad():
        for name, parameter in sorted(clip.named_parameters()):
            if not name.startswith("visual."):
                values = generator.normal(0, 0.5, tuple(parameter.shape)).astype(np.float32)
                parameter.copy_(torch.as_tensor(values))
    return clip


def main() -> None:
    """Writes the file."""
    import open_clip
    from clip_benchmark.datasets import builder
    from clip_benchmark.metrics.zeroshot_classification import zero_shot_classifier

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commit", required=True, help="The commit of CLIP_benchmark that is installed.")
    commit = parser.parse_args().commit
    lists = Path(builder.__file__).parent
    known = json.loads((lists / "en_classnames.json").read_text())
    templates = json.loads((lists / "en_zeroshot_classification_templates.json").read_text())
    clip, tokenizer = tower(), open_clip.get_tokenizer(ARCHITECTURE)
    sets = {}
    for entry, (key, changed) in SETS.items():
        classes = tomllib.loads((_REGISTRY / f"{entry}.toml").read_text())["classes"]
        names = changed(known.get(key, classes))
        vectors = zero_shot_classifier(
            clip, tokenizer, [names[label] for label in some(len(names))], templates[key], "cpu", amp=False
        )
        sets[entry] = {
            "set": key,
            "names": digest(names),
            "templates": digest([template.replace("{c}", "{}") for template in templates[key]]),
            "vectors": [[round(float(value), 6) for value in vector] for vector in vectors.T],
        }
    made = {
        "source": "github.com/LAION-AI/CLIP_benchmark",
        "commit": commit,
        "versions": {
            name: importlib.metadata.version(name) for name in ("clip_benchmark", "open_clip_torch", "torch", "numpy")
        },
        "sets": sets,
    }
    text = json.dumps(made, indent=1)
    # One vector a line.
    GOLDEN.write_text(json.dumps(json.loads(text), indent=1).replace("\n     ", " ").replace("\n    ]", " ]") + "\n")


if __name__ == "__main__":
    main()
