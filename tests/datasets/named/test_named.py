"""Every set that has a name, from a replica in its published layout, whole and half unpacked."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from probebench.datasets.named.layout import NotHereError
from probebench.datasets.open import open_named
from probebench.errors import DatasetError
from probebench.registry import Registry
from tests.datasets.replicas import STUDY, Maker, Replica, shrunk
from tests.datasets.replicas_torchvision import OTHERS

MAKERS = STUDY | OTHERS


@pytest.fixture(params=sorted(MAKERS))
def replica(
    request: pytest.FixtureRequest, shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Replica:
    make: Maker = MAKERS[request.param]
    return make(shipped, tmp_path, monkeypatch)


def test_opens_with_the_published_splits_ids_and_classes(replica: Replica) -> None:
    opened = open_named(replica.spec, replica.root)
    assert opened.class_names == replica.spec.classes
    assert {name: len(split) for name, split in opened.splits.items()} == replica.images
    for name, first in replica.first.items():
        split = opened.splits[name]
        assert (split.ids[0], split.labels[0]) == first
    for split in opened.splits.values():
        for name in split.ids:
            assert "\\" not in name and not Path(name).is_absolute()
        for position in (0, len(split) - 1):
            split.images.check(position)
            assert min(split.images.load(position).size) > 0
    again = open_named(replica.spec, replica.root)
    assert (again.fingerprint, again.content) == (opened.fingerprint, opened.content)


def test_half_unpacked_says_what_is_missing(replica: Replica) -> None:
    path, said = replica.broken
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(DatasetError, match=said) as caught:
        open_named(replica.spec, replica.root)
    message = str(caught.value)
    assert not isinstance(caught.value, NotHereError)
    assert f"data set {replica.spec.id}" in message and "\n" not in message
    assert f"probebench datasets prepare {replica.spec.id}" in message


def test_class_names_of_the_files_are_compared_with_the_entry(replica: Replica) -> None:
    # The files of these five number their classes.
    if replica.spec.id in ("flowers102", "gtsrb", "svhn", "pcam", "imagenet_v2"):
        return
    other = replica.spec.model_copy(update={"classes": replica.spec.classes[::-1]})
    with pytest.raises(DatasetError, match="class 0 is .* where the entry says|the entry's classes differ"):
        open_named(other, replica.root)


def test_nothing_there_says_how_to_get_it(replica: Replica, tmp_path: Path) -> None:
    with pytest.raises(NotHereError, match=f"prepare {replica.spec.id}; .*{tmp_path}/elsewhere|Kaggle account"):
        open_named(replica.spec, tmp_path / "elsewhere")


def test_counts_are_those_of_the_entry(replica: Replica) -> None:
    wrong = replica.spec.model_copy(
        update={"splits": replica.spec.splits.model_copy(update={"test": replica.images["test"] + 1})}
    )
    with pytest.raises(DatasetError, match="found .* where the entry says") as caught:
        open_named(wrong, replica.root)
    assert ("the entry marks as unverified" in str(caught.value)) == ("splits" in replica.spec.unverified)


def test_class_counts_are_those_of_the_entry(
    shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = STUDY["dtd"](shipped, tmp_path, monkeypatch)
    good = made.spec.class_counts.model_copy(update={"train": 2, "test": (3, 3)})
    open_named(made.spec.model_copy(update={"class_counts": good}), tmp_path)
    wrong = made.spec.class_counts.model_copy(update={"test": (2, 4)})
    with pytest.raises(DatasetError, match="test has 3 images of 'banded' where the entry says 2"):
        open_named(made.spec.model_copy(update={"class_counts": wrong}), tmp_path)


def test_class_names_are_those_of_the_entry(shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = STUDY["oxford_pets"](shipped, tmp_path, monkeypatch)
    other = made.spec.model_copy(update={"classes": ("Abyssinian", "Beagle")})
    with pytest.raises(DatasetError, match="class 1 is 'American Bulldog' where the entry says 'Beagle'"):
        open_named(other, tmp_path)


def test_a_fingerprint_in_the_entry_is_kept(shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = STUDY["dtd"](shipped, tmp_path, monkeypatch)
    known = open_named(made.spec, tmp_path).fingerprint
    open_named(made.spec.model_copy(update={"fingerprint": known}), tmp_path)
    with pytest.raises(DatasetError, match="ids or labels are not those of the entry"):
        open_named(made.spec.model_copy(update={"fingerprint": "0" * 64}), tmp_path)


def in_hash_order(split: str, names: list[str]) -> list[str]:
    """The committed rule, written down once more: by sha256 of the salt as JSON and the name. It is for ever."""
    return sorted(names, key=lambda name: hashlib.sha256(f'["probebench {split} part"]{name}'.encode()).hexdigest())


def test_caltech_trains_on_so_many_images_of_each_class_and_has_no_background(
    shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = STUDY["caltech101"](shipped, tmp_path, monkeypatch)
    opened = open_named(made.spec, tmp_path)
    assert np.bincount(opened.splits["train"].labels).tolist() == [2, 2]
    assert np.bincount(opened.splits["test"].labels).tolist() == [3, 2]
    ids = [*opened.splits["train"].ids, *opened.splits["test"].ids]
    assert sorted(ids) == sorted(
        [f"Faces/image_{n:04d}.jpg" for n in range(1, 6)] + [f"accordion/image_{n:04d}.jpg" for n in range(1, 5)]
    )
    chosen = [in_hash_order("train", [name for name in ids if name.startswith(kind)])[:2] for kind in ("Faces", "acc")]
    assert sorted(opened.splits["train"].ids) == sorted(chosen[0] + chosen[1])


@pytest.mark.parametrize("name", ["eurosat", "cassava"])
def test_a_fifth_of_each_class_is_the_test_split(
    name: str, shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = STUDY[name](shipped, tmp_path, monkeypatch)
    opened = open_named(made.spec, tmp_path)
    labels: dict[str, int] = {}
    for split in opened.splits.values():
        labels |= dict(zip(split.ids, split.labels.tolist(), strict=True))
        assert list(split.ids) == sorted(split.ids)
    last = [in_hash_order("test", [name for name in labels if labels[name] == label])[-1] for label in range(5)]
    assert set(last) == {name for name in opened.splits["test"].ids if labels[name] < 5}
    assert np.bincount(opened.splits["test"].labels).tolist() == [1] * len(opened.class_names)


def test_domainnet_lines_that_are_not_of_this_domain(
    shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = STUDY["domainnet_real"](shipped, tmp_path, monkeypatch)
    listing = tmp_path / "domainnet" / "real_train.txt"
    before = listing.read_text()
    listing.write_text("clipart/airplane/clipart_002_000001.jpg 1\n" + before)
    with pytest.raises(DatasetError, match="line 1 of .*real_train.txt is .*not real/CLASS/IMAGE and a label"):
        open_named(made.spec, tmp_path)
    listing.write_text(before + "real/zebra/real_343_000001.jpg 7\n")
    with pytest.raises(DatasetError, match="line 10 of .*real_train.txt labels 'zebra' as 7"):
        open_named(made.spec, tmp_path)


def test_cassava_names_of_another_competition(
    shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = STUDY["cassava"](shipped, tmp_path, monkeypatch)
    path = tmp_path / "cassava" / "label_num_to_disease_map.json"
    path.write_text(path.read_text().replace("Healthy", "Well"))
    with pytest.raises(DatasetError, match="class 4 is 'Well'"):
        open_named(made.spec, tmp_path)
    path.write_text("{")
    with pytest.raises(DatasetError, match="cannot be read"):
        open_named(made.spec, tmp_path)


def change_traps(root: Path, name: str, change: str, **values: object) -> None:
    path = root / "cct20" / "eccv_18_annotation_files" / f"{name}_annotations.json"
    data = json.loads(path.read_text())
    data[change][0] |= values
    path.write_text(json.dumps(data))


def test_camera_sequences_must_not_straddle_splits(
    shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = STUDY["cct20"](shipped, tmp_path, monkeypatch)
    change_traps(tmp_path, "cis_test", "images", seq_id="train-seq1")
    with pytest.raises(DatasetError, match=r"1 camera sequences lie in both train and cis_test \(first train-seq1\)"):
        open_named(made.spec, tmp_path)
    # The other pair of test and validation has sequences of its own.
    trans = shrunk(shipped.dataset("cct20_trans"), {"train": 4, "val": 4, "test": 4})
    open_named(trans, tmp_path)


def test_camera_images_take_their_first_annotation(
    shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = STUDY["cct20"](shipped, tmp_path, monkeypatch)
    split = open_named(made.spec, tmp_path).splits["train"]
    names = [made.spec.classes[label] for label in split.labels]
    assert dict(zip(split.ids, names, strict=True)) == {
        "train-0.jpg": "rodent",
        "train-1.jpg": "bobcat",
        "train-2.jpg": "bobcat",
        "train-3.jpg": "bobcat",
    }
    change_traps(tmp_path, "train", "annotations", image_id="nobody")
    with pytest.raises(DatasetError, match="1 train images have no annotation, first train-0.jpg"):
        open_named(made.spec, tmp_path)


def test_pixels_are_upright_and_in_colour(shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    for name, kind in (("stl10", datasets.STL10), ("svhn", datasets.SVHN), ("pcam", datasets.PCAM)):
        made = OTHERS[name](shipped, tmp_path / name, monkeypatch)
        split = open_named(made.spec, made.root).splits["test"]
        library = kind(str(made.root / name), split="test")
        for position in range(len(split)):
            image, label = library[position]
            assert np.array_equal(np.asarray(split.images.load(position)), np.asarray(image))
            assert split.labels[position] == label


def test_patches_and_labels_must_be_as_many(shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = OTHERS["pcam"](shipped, tmp_path, monkeypatch)
    place = tmp_path / "pcam" / "pcam"
    (place / "camelyonpatch_level_2_split_test_x.h5").write_bytes(
        (place / "camelyonpatch_level_2_split_train_x.h5").read_bytes()
    )
    with pytest.raises(DatasetError, match="test_x.h5 holds 4 images where .*test_y.h5 has 2 labels"):
        open_named(made.spec, tmp_path)


def test_flower_names_are_the_librarys_own(shipped: Registry) -> None:
    from torchvision.datasets import Flowers102

    assert list(shipped.dataset("flowers102").classes) == Flowers102.classes


def test_every_set_has_a_replica(shipped: Registry) -> None:
    # Those that are drawn from packages have theirs in test_drawn.py.
    others = {name for name, spec in shipped.datasets.items() if spec.drawn is None} - set(MAKERS)
    assert others == {"digits", "fashion_mnist"}
