from pathlib import Path

import numpy as np

from probebench.datasets.base import ArrayImages, Dataset, Split
from probebench.datasets.captioned.captioned import Captioned
from probebench.datasets.captioned.overlap import concepts_of, shared_with
from probebench.datasets.captioned.table import TABLE, Row, write_table
from probebench.datasets.named.layout import Layout
from probebench.progress import Silent
from probebench.registry import Registry
from tests.datasets.captioned.making import pattern


def test_equal_alike_and_shared_concepts_are_counted_apart() -> None:
    pictures = np.stack([np.asarray(pattern(seed, 32)) for seed in range(40)])
    brighter = np.clip(pictures[:5].astype(int) + 6, 0, 255).astype(np.uint8)
    images = np.concatenate([pictures[:3], brighter[3:], pictures[20:40]])
    source = Captioned(
        id="mine",
        ids=tuple(f"s{number}" for number in range(20)),
        captions=("a",) * 20,
        labels=None,
        class_names=(),
        images=ArrayImages(pictures[:20]),  # type: ignore[arg-type]
        concepts=(("cat", "u1f408"), *((f"c{number}",) for number in range(19))),
    )
    test = Split(tuple(f"t{number}" for number in range(25)), np.arange(25) % 2, ArrayImages(images))
    train = Split(("x", "y"), np.array([0, 1]), ArrayImages(pictures[:2]))
    dataset = Dataset("set", ("a", "b"), {"train": train, "test": test})
    concepts = {"t9": frozenset({"u1f408"}), "t10": frozenset({"c3", "other"}), "t11": frozenset({"dog"})}
    found = shared_with(source, dataset, concepts, Silent())
    assert found.model_dump() == {"exact": 3, "near": 2, "concepts": 2, "test": 25}


def test_concepts_come_from_the_table_of_a_drawn_set(shipped: Registry, root: Path) -> None:
    layout = Layout(shipped.dataset("letters"), root)
    assert concepts_of(layout) == {}
    (layout.place / "images").mkdir(parents=True)
    (layout.place / "images" / "a.png").touch()
    write_table(
        layout.place / TABLE, [Row(file="images/a.png", caption="a", label="A", concepts=("u0061",), split="test")]
    )
    assert concepts_of(layout) == {"images/a": frozenset({"u0061"})}
