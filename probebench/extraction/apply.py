"""Features of images that are not kept: what predicting needs of the one extraction loop."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from probebench.backbones.base import Backbone
from probebench.datasets.base import Images
from probebench.extraction.clock import Clock
from probebench.extraction.options import ExtractionOptions
from probebench.extraction.stream import Block, LocalExecutor, check_block
from probebench.progress import Progress


def features_of(
    backbone: Backbone, images: Images, ids: Sequence[str], options: ExtractionOptions, progress: Progress
) -> Iterator[Block]:
    """Yields the features of all images in order, block by block, as ``extract`` would cache them.

    The rows of images that could not be read, where these are left out, are zeros.

    Args:
        backbone: The network.
        images: What to run through it.
        ids: Their names.
        options: How to extract.
        progress: Hears of images.

    Raises:
        DatasetError: An image cannot be read, and is not to be left out.
        FeatureError: Features are not finite, or one image does not fit into memory.
    """
    count, position = len(ids), 0
    executor, clock = LocalExecutor(backbone, options, count), Clock()
    progress.start(f"{backbone.spec.id}", count, 0)
    for block in executor.blocks(executor.settings(count), images, 0, count, clock):
        check_block(block, options, backbone.spec.id, ids[position : position + len(block.rows)])
        rows = np.array(block.rows)
        rows[list(block.failed)] = 0
        position += len(rows)
        yield dataclasses.replace(block, rows=rows)
        progress.advance(len(rows), clock.limit)
    progress.finish()
