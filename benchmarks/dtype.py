"""What bf16 and fp16 features change against fp32: ``python benchmarks/dtype.py FOLDER``.

EfficientNet-Lite0 (ImageNet weights) on digits and Fashion-MNIST through the commands that a user types, in one home
folder for each arithmetic. Differences are paired: the same draws, the same test images.
"""

import argparse
import itertools
import os
import subprocess
import sys
from pathlib import Path

from probebench.results.compare import comparable, compare
from probebench.results.schema import Result
from probebench.results.store import Predictions, read_predictions, read_result, result_files

MODEL = "efficientnet_lite0_in1k"


def probebench(home: Path, *arguments: str) -> None:
    """Runs one command with a home folder of its own."""
    environment = {**os.environ, "PROBEBENCH_HOME": str(home)}
    subprocess.run([sys.executable, "-m", "probebench", *arguments], env=environment, check=True)


def scores(folder: Path, dtype: str, dataset: str, size: str, draws: str) -> list[tuple[Result, Predictions]]:
    """Extracts and evaluates one data set in one arithmetic."""
    home, out = folder / dtype, folder / f"results-{dtype}"
    common = ("--model", MODEL, "--dataset", dataset, "--input-size", size)
    probebench(home, "extract", *common, "--dtype", dtype, "--device", "cpu")
    # All of Fashion-MNIST takes hours for three kinds of features and says little more than its few shots.
    for shots, count in (("5,10", draws), *((("full", "1"),) if dataset == "digits" else ())):
        probebench(home, "eval", *common, "--shots", shots, "--draws", count, "--out", str(out))
    results = [(path, read_result(path)) for path in result_files(out)]
    return [(result, read_predictions(path, result)) for path, result in results if result.dataset == dataset]


def main() -> None:
    """Prints one row for each data set, number of shots and arithmetic."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draws", default="20")
    options = parser.parse_args()
    print("| data set | shots | fp32 | | change | 95% interval | predictions that differ |")
    for dataset, size in (("digits", "96"), ("fashion_mnist", "32")):
        found = {
            dtype: scores(options.folder, dtype, dataset, size, options.draws) for dtype in ("fp32", "bf16", "fp16")
        }
        for one, (dtype, other) in itertools.product(
            found["fp32"], [(name, pair) for name, pairs in found.items() if name != "fp32" for pair in pairs]
        ):
            if not comparable(one[0], other[0]):
                continue
            (pair,) = compare([(other, one)])
            low, high = (100 * bound for bound in pair.comparison.ci95)
            moved = 100 * float((one[1].y_pred != other[1].y_pred).mean())
            print(
                f"| {dataset} | {one[0].shots} | {100 * (one[0].mean or 0):.2f} | {dtype} | "
                f"{100 * pair.comparison.difference:+.2f} | {low:+.2f} to {high:+.2f} | {moved:.1f}% |",
                flush=True,
            )


if __name__ == "__main__":
    main()
