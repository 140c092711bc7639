"""Many checkpoints on many data sets: what ``probebench extract`` runs, or plans."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from probebench.api.data import place_of
from probebench.api.models import with_entries
from probebench.api.session import EngineName, Folders, started
from probebench.errors import UsageError
from probebench.files import home
from probebench.progress import Progress, Silent

if TYPE_CHECKING:
    from probebench.backbones.user_weights import UserWeights
    from probebench.datasets.base import Dataset
    from probebench.errors import ProbebenchError
    from probebench.extraction import ExtractionOptions
    from probebench.extraction.many import Extraction, Planned
    from probebench.registry import CheckpointSpec


@dataclass(frozen=True, kw_only=True)
class Extractions:
    """Checkpoints and data sets that are all there, ready to be run.

    Attributes:
        checkpoints: Their entries.
        datasets: The opened data sets.
        input_size: Side of the input in pixels; None: each entry's.
        layers: Names and globs of layers; none: each entry's own.
        engine: Where to compute.
        options: Returns the settings of the run, given the engine's GPUs; None: this machine's.
        registered: The weights file that was given, as it was kept.
    """

    checkpoints: "tuple[CheckpointSpec, ...]"
    datasets: "tuple[Dataset, ...]"
    input_size: int | None
    layers: tuple[str, ...]
    engine: EngineName
    options: "Callable[[int | None], ExtractionOptions]"
    registered: "UserWeights | None"

    def run(self, progress: Progress | None = None) -> "Iterator[Extraction | tuple[CheckpointSpec, ProbebenchError]]":
        """Yields each extraction as it is done, or the checkpoint that failed with its error; the others go on.

        Raises:
            UsageError: The engine is not installed or out of reach.
        """
        from probebench.extraction.many import extract_many

        with started(self.engine) as cluster:
            options = self.options(cluster.gpus if cluster else None)
            yield from extract_many(
                self.checkpoints,
                self.datasets,
                home(),
                options,
                input_size=self.input_size,
                layers=self.layers,
                progress=progress or Silent(),
                engine=cluster,
            )

    def plan(self) -> "tuple[ExtractionOptions, list[Planned]]":
        """Returns the settings, and what each checkpoint on each data set would take; writes nothing.

        Raises:
            ProbebenchError: Weights or images are missing or damaged, or one image does not fit into memory.
        """
        from probebench.extraction.many import plan_many

        with started(self.engine) as cluster:
            options = self.options(cluster.gpus if cluster else None)
        return options, list(plan_many(self.checkpoints, self.datasets, home(), options, self.input_size, self.layers))


def prepare(
    models: Sequence[str],
    datasets: Sequence[str] = (),
    *,
    layers: Sequence[str] = (),
    weights: Path | None = None,
    input_size: int | None = None,
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    device: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    compile: Literal["auto", "on", "off"] = "auto",
    engine: EngineName = "local",
    limit: int | None = None,
    registry: Folders = (),
) -> Extractions:
    """Finds checkpoints and data sets, and tells all that is missing before an hour is spent.

    Args:
        models: Ids, globs or comma lists.
        datasets: Ids, suites, folders and other sources, likewise; none: the suite ``study`` once its sets are
            prepared, else ``offline``.
        layers: Names, globs or comma lists of layers, all filled by one forward pass; none: each entry's own.
        weights: A user's file for the one checkpoint that is named; it is kept, so that it is given once.
        input_size: As in ``probebench.extract``, and so are those below.
        dtype: Arithmetic.
        device: Where to compute.
        batch_size: Images a batch.
        workers: Decoding processes.
        on_error: At an image that cannot be read: stop, or leave it out.
        compile: torch.compile.
        engine: Here, or on Ray.
        limit: Images of each split, for a trial run; None: all.
        registry: Folders of the user's own entries.

    Raises:
        UsageError: There is no such checkpoint, data set or layer, or weights were given for several.
        WeightsError: Weights are missing or damaged.
        DatasetError: A data set is missing or incomplete.
    """
    from probebench.registry.layers import check_offered, check_patterns
    from probebench.registry.names import expand_datasets
    from probebench.registry.own import known_files

    entries, ids = with_entries(registry, models)
    specs = tuple(entries.checkpoint(name) for name in ids)
    if weights is not None and len(specs) != 1:
        raise UsageError(f"--weights is for one model, and {len(specs)} were named")
    names = expand_datasets(entries, [place_of(entries, one) for one in datasets])
    wanted = tuple(check_patterns(layers))
    for spec in specs if wanted else ():
        check_offered(spec, wanted)
    # What is missing is told before torch is loaded, which takes seconds, and before NumPy and Pillow are.
    from probebench.backbones.user_weights import require_weights

    if weights is not None:
        from probebench.backbones.locate import check_given

        check_given(specs[0], weights)
        known = known_files(entries, weights)
        if known and specs[0].id not in known:
            raise UsageError(
                f"weights file {weights} is that of {known[0]}, and not of {specs[0].id}; say --model {known[0]}"
            )
    elif len(specs) == 1:
        require_weights(specs[0], home())
    from probebench.datasets.open import default_suite, open_dataset
    from probebench.datasets.part import part_of

    names = names or expand_datasets(entries, [default_suite(entries, home() / "datasets")])
    opened = tuple(open_dataset(name, entries, home() / "datasets") for name in names)
    if limit is not None:
        opened = tuple(part_of(one, limit) for one in opened)
    registered = None
    if weights is not None:
        from probebench.backbones.builders import register_weights

        registered = register_weights(specs[0], home(), weights)
    from probebench.extraction import ExtractionOptions

    options = partial(ExtractionOptions.resolve, device, dtype, batch_size, workers, on_error, compile)
    return Extractions(
        checkpoints=specs,
        datasets=opened,
        input_size=input_size,
        layers=wanted,
        engine=engine,
        options=options,
        registered=registered,
    )
