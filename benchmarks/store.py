"""What the feature store costs against plain arrays: python -m benchmarks.store [--dir DIR].

Prints medians of five, all from one run: writing and reading 130,000 x 2048 float16 against np.save and np.load, and
1,000 scattered rows of 1,300,000 x 2048 float16 (5.3 GB on the disk meanwhile) against the same reads unchecked and
against h5py.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import numpy as np

from probebench.cache.file_io import bytes_of
from probebench.cache.key import FeatureKey
from probebench.cache.store import FeatureFile
from probebench.cache.writer import FeatureWriter, Provenance

WIDTH = 2048
BLOCK = 256
RUNS = 5
KEY = FeatureKey.model_validate(
    {
        "architecture": {"library": "timm", "name": "resnet50", "kwargs": {}},
        "weights_digest": "a" * 64,
        "layer": "pooled",
        "preprocessing": {
            "size": 224,
            "resize": "shortest",
            "crop": 0.875,
            "interpolation": "bicubic",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
        "dtype": "fp16",
        "dataset_fingerprint": "b" * 64,
        "split": "train",
        "content": "c",
    }
)


def seconds(call: Callable[[], Any]) -> float:
    """Times one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def compare(what: str, calls: dict[str, Callable[[], Any]], size: int) -> dict[str, float]:
    """Times calls in turns, so that all meet the same machine, and prints their medians."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(RUNS):
        for name, call in calls.items():
            times[name].append(seconds(call))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        low, high = min(times[name]), max(times[name])
        print(f"{what:<16} {name:<24} {median * 1e3:9.1f} ms  ({low * 1e3:.1f} to {high * 1e3:.1f})", end="")
        print(f"  {size / median / 1e9:6.2f} GB/s", flush=True)
    return medians


def save(path: Path, rows: np.ndarray[Any, Any], sync: bool) -> None:
    """Writes a plain array."""
    with path.open("wb") as stream:
        np.save(stream, rows)
        if sync:
            stream.flush()
            os.fsync(stream.fileno())
    path.unlink()


def make_ids(count: int) -> list[str]:
    """Names images as a data set does."""
    return [f"train/class/{number:08d}.jpg" for number in range(count)]


def write(path: Path, rows: np.ndarray[Any, Any], ids: list[str]) -> None:
    """Writes a row for each id into a feature file, those of ``rows`` over and over, in blocks of 256."""
    assert len(ids) == len(rows) or len(rows) % BLOCK == 0
    provenance = Provenance(KEY, "net", "data", ("train",), {"device": "cpu", "batch_size": BLOCK})
    count = len(ids)
    with FeatureWriter(path, provenance, ids, np.zeros(count, np.int64), WIDTH) as writer:
        for start in range(0, count, BLOCK):
            writer.append(rows[start % len(rows) :][: min(BLOCK, count - start)])
        writer.finish()


def rewrite(path: Path, rows: np.ndarray[Any, Any], ids: list[str]) -> None:
    """Writes a feature file anew."""
    write(path, rows, ids)
    path.unlink()


def without_sync(call: Callable[[], Any]) -> Callable[[], Any]:
    """Has a call leave its bytes to the system."""

    def unsynced() -> None:
        with mock.patch.object(os, "fsync"):
            call()

    return unsynced


def write_and_read(folder: Path, count: int) -> None:
    """Compares with np.save and np.load."""
    rows = np.random.default_rng(0).normal(size=(count, WIDTH)).astype(np.float16)
    ids = make_ids(count)
    array, stored = folder / "x.npy", folder / "x.h5"
    written = compare(
        "write and sync",
        {"np.save, fsync": lambda: save(array, rows, True), "feature store": lambda: rewrite(stored, rows, ids)},
        rows.nbytes,
    )
    unsynced = compare(
        "write, no sync",
        {
            "np.save": lambda: save(array, rows, False),
            "feature store": without_sync(lambda: rewrite(stored, rows, ids)),
        },
        rows.nbytes,
    )
    np.save(array, rows)
    write(stored, rows, ids)
    with FeatureFile(stored) as file:
        read = compare("warm read", {"np.load": lambda: np.load(array), "feature store": file.read}, rows.nbytes)
        assert np.array_equal(file.read(), rows)
    print(f"{'open':<16} {'feature store':<24} {1e3 * seconds(lambda: FeatureFile(stored).close()):9.1f} ms")
    for what, times in (("write and sync", written), ("write, no sync", unsynced), ("warm read", read)):
        ours, plain = times.pop("feature store"), next(iter(times.values()))
        print(f"{what:<16} feature store at {plain / ours:.2f} of the plain array's speed")
    array.unlink()
    stored.unlink()


def read_scattered(folder: Path, count: int, asked: int = 1000) -> None:
    """Compares reading few rows of many with the same reads unchecked, and with h5py."""
    rows = np.random.default_rng(0).normal(size=(20 * BLOCK, WIDTH)).astype(np.float16)
    stored = folder / "large.h5"
    write(stored, rows, make_ids(count))
    positions = np.random.default_rng(1).choice(count, asked, replace=False)
    ascending = np.sort(positions)
    with FeatureFile(stored) as file, h5py.File(stored, "r") as raw:
        data, descriptor = raw["features"], os.open(stored, os.O_RDONLY)
        first, size = data.id.get_offset(), rows[0].nbytes

        def unchecked() -> np.ndarray[Any, Any]:
            result = np.empty((asked, WIDTH), np.float16)
            buffer = bytes_of(result)
            for number, row in enumerate(positions.tolist()):
                os.preadv(descriptor, (buffer[number * size : (number + 1) * size],), first + row * size)
            return result

        times = compare(
            "scattered read",
            {
                "unchecked preads": unchecked,
                "feature store": lambda: file.read(positions),
                "h5py, ascending": lambda: data[ascending],
            },
            asked * size,
        )
        assert np.array_equal(file.read(positions), unchecked())
        os.close(descriptor)
    print(f"{'scattered read':<16} feature store takes {times['feature store'] / times['unchecked preads']:.2f} times")
    print(f"{'open':<16} {'feature store':<24} {1e3 * seconds(lambda: FeatureFile(stored).close()):9.1f} ms")
    stored.unlink()


def main() -> None:
    """Runs all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, help="Where to write (default: the system's temporary folder).")
    parser.add_argument("--rows", type=int, default=130_000)
    parser.add_argument("--many", type=int, default=1_300_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        write_and_read(Path(folder), options.rows)
        read_scattered(Path(folder), options.many)


if __name__ == "__main__":
    main()
