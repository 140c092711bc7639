"""Features of images that are not kept: what predicting needs of the one extraction loop."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from probebench.backbones.base import Backbone
from probebench.datasets.base import Images
from probebench.errors import DatasetError, FeatureError
from probebench.extraction.clock import Clock
from probebench.extraction.decode import LEAVE_OUT, OutOfReach
from probebench.extraction.forward import first_unusable
from probebench.extraction.options import ExtractionOptions
from probebench.extraction.stream import Block, LocalExecutor
from probebench.progress import Progress


def features_of(
    backbone: Backbone, images: Images, count: int, options: ExtractionOptions, progress: Progress
) -> Iterator[Block]:
    """Yields the features of all images in order, block by block, as ``extract`` would cache them.

    The rows of images that could not be read, where these are left out, are zeros.

    Args:
        backbone: The network.
        images: What to run through it.
        count: How many they are.
        options: How to extract.
        progress: Hears of images.

    Raises:
        DatasetError: An image cannot be read, and is not to be left out.
        FeatureError: Features are not finite, or one image does not fit into memory.
    """
    executor, clock = LocalExecutor(backbone, options, count), Clock()
    progress.start(f"{backbone.spec.id}", count, 0)
    for block in executor.blocks(executor.settings(count), images, 0, count, clock):
        for line in block.failed.values():
            if isinstance(line, OutOfReach):
                raise DatasetError(line)
            if options.on_error == "stop":
                raise DatasetError(f"{line} ({LEAVE_OUT})")
        rows = np.array(block.rows)
        rows[list(block.failed)] = 0
        if first_unusable(rows) is not None:
            raise FeatureError(
                f"{backbone.spec.id} gave NaN or infinite features: its weights or its preprocessing may be wrong"
            )
        yield dataclasses.replace(block, rows=rows)
        progress.advance(len(rows), clock.limit)
    progress.finish()
