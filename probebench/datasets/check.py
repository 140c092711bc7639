"""Looks at every image's file before hours are spent on them."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from probebench.datasets.base import Images, Split
from probebench.device import cores
from probebench.errors import DatasetError

# Files that a thread looks at in one go.
_TOGETHER = 256


def check_images(splits: Iterable[Split], hint: str = "") -> None:
    """Looks at every image: it is there, begins and ends as an image does.

    Args:
        splits: Whose images.
        hint: What can be done about images that cannot be read, beside mending them; ends the error line.

    Raises:
        DatasetError: Some cannot be read; the line names the first and says how many more.
    """
    blocks = (
        (split.images, range(start, min(start + _TOGETHER, len(split))))
        for split in splits
        for start in range(0, len(split), _TOGETHER)
    )
    # Threads, for disks that answer slowly.
    with ThreadPoolExecutor(2 * cores()) as pool:
        faults = [line for found in pool.map(_faults, blocks) for line in found]
    if faults:
        more = f"; {len(faults) - 1} more cannot be read" if len(faults) > 1 else ""
        raise DatasetError(f"{faults[0]}{more}{f' ({hint})' if hint else ''}")


def _faults(block: tuple[Images, range]) -> list[str]:
    images, positions = block
    found = []
    for position in positions:
        try:
            images.check(position)
        except DatasetError as error:
            found.append(str(error))
    return found
