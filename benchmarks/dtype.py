"""What bf16 and fp16 features change against fp32: ``python benchmarks/dtype.py FOLDER``.

EfficientNet-Lite0 (ImageNet weights) on one data set through the commands that a user types, in a home folder for each
arithmetic. Differences are paired: the same draws, the same test images. On CPUs bf16 is slow where the chip has no
instructions for it, so the default is digits; ``--dataset fashion_mnist --input-size 32`` is for a GPU.
"""

import argparse
import itertools
import os
import subprocess
import sys
from pathlib import Path

from probebench.results.compare import comparable, compare
from probebench.results.predictions import Predictions
from probebench.results.schema import Result
from probebench.results.store import read_predictions, read_result, result_files

MODEL = "efficientnet_lite0_in1k"


def probebench(home: Path, *arguments: str) -> None:
    """Runs one command with a home folder of its own."""
    environment = {**os.environ, "PROBEBENCH_HOME": str(home)}
    subprocess.run([sys.executable, "-m", "probebench", *arguments], env=environment, check=True)


def scores(options: argparse.Namespace, dtype: str) -> list[tuple[Result, Predictions]]:
    """Extracts and evaluates the data set in one arithmetic."""
    home, out = options.folder / dtype, options.folder / f"results-{dtype}"
    common = ("--model", MODEL, "--dataset", options.dataset, "--input-size", options.input_size)
    probebench(home, "extract", *common, "--dtype", dtype, "--device", options.device)
    for shots, count in (("5,10", options.draws), ("full", "1")):
        probebench(home, "eval", *common, "--shots", shots, "--draws", count, "--out", str(out))
    results = [(path, read_result(path)) for path in result_files(out)]
    return [(result, read_predictions(path, result)) for path, result in results if result.dataset == options.dataset]


def main() -> None:
    """Prints one row for each number of shots and arithmetic."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draws", default="20")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--input-size", default="96")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    found = {dtype: scores(options, dtype) for dtype in ("fp32", "bf16", "fp16")}
    print("| data set | shots | fp32 | | change | 95% interval | predictions that differ |")
    for dtype in ("bf16", "fp16"):
        for one, other in itertools.product(found["fp32"], found[dtype]):
            if comparable(one[0], other[0]):
                (pair,) = compare([(other, one)])
                low, high = (100 * bound for bound in pair.comparison.ci95)
                moved = 100 * float((one[1].y_pred != other[1].y_pred).mean())
                print(
                    f"| {options.dataset} | {one[0].shots} | {100 * (one[0].mean or 0):.2f} | {dtype} | "
                    f"{100 * pair.comparison.difference:+.2f} | {low:+.2f} to {high:+.2f} | {moved:.1f}% |"
                )


if __name__ == "__main__":
    main()
