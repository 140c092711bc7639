"""Photos for the benchmarks: JPEGs cut from the two that scikit-learn ships, in class folders."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

DISTINCT = 5000


def make(folder: Path, count: int, size: tuple[int, int] = (500, 375), classes: int = 10, seed: int = 0) -> Path:
    """Writes ``count`` JPEGs of quality 90 unless they are there already; from 5,000 on they are links to earlier ones.

    Args:
        folder: Where; the photos of class k are in its folder ``train/classk``, a tenth of them in ``test``.
        count: Number of photos.
        size: Width and height in pixels; 500 x 375 is the commonest in ImageNet.
        classes: Number of folders.
        seed: Of the cuts.
    """
    done = folder / f"{count}-{size[0]}x{size[1]}.done"
    if done.exists():
        return folder
    sources = [Image.fromarray(array) for array in load_sample_images().images]
    generator = np.random.default_rng(seed)
    for number in range(count):
        source = sources[number % 2]
        width = int(generator.integers(300, source.width))
        height = min(width * size[1] // size[0], source.height)
        left, top = generator.integers(0, source.width - width + 1), generator.integers(0, source.height - height + 1)
        part = "test" if number % 10 == 9 else "train"
        place = folder / part / f"class{number // 10 % classes}"
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"{number:06d}.jpg"
        if number >= DISTINCT:
            path.unlink(missing_ok=True)
            path.hardlink_to(place / f"{number % DISTINCT:06d}.jpg")
            continue
        cut = source.crop((int(left), int(top), int(left) + width, int(top) + height))
        cut.resize(size).save(path, quality=90)
    done.touch()
    return folder
