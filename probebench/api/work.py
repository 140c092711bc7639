"""The steps of an experiment: checkpoints, features, probes, zero-shot, fine-tunes; what fails stops nothing else."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from probebench.api.declared import CachedFeatures, Declared, starts_from_probe
from probebench.api.evaluate import evaluate_groups
from probebench.api.extractions import Extractions
from probebench.api.made import make, missing
from probebench.api.session import EngineName, Folders, Watching, started, warn, watched
from probebench.api.zeroshot import classify_groups
from probebench.errors import ProbebenchError
from probebench.files import home
from probebench.registry.experiment import Training

if TYPE_CHECKING:
    from probebench.cache.index import FeatureGroup
    from probebench.datasets.base import Dataset
    from probebench.registry import CheckpointSpec, DatasetSpec
    from probebench.registry.entry import Shots
    from probebench.results.schema import Result


@dataclass(frozen=True, kw_only=True)
class Part:
    """What came of an experiment, or of a part of it.

    Attributes:
        done: Results with their files.
        problems: What failed, each as one line.
        pretrained: Checkpoints that were made.
        extracted: Checkpoints on data sets whose features were computed.
    """

    done: "list[tuple[Path, Result]]"
    problems: list[str]
    pretrained: int
    extracted: int

    @classmethod
    def joined(cls, parts: "Iterable[Part]") -> "Part":
        """Returns several as one; the same problem of two is told once."""
        each = list(parts)
        return cls(
            done=[one for part in each for one in part.done],
            problems=list(dict.fromkeys(one for part in each for one in part.problems)),
            pretrained=sum(part.pretrained for part in each),
            extracted=sum(part.extracted for part in each),
        )


def work(declared: Declared, engine: EngineName, registry: Folders, out: Path, progress: Watching) -> Part:
    """Does what is missing of an experiment, step by step, in this process."""
    lacking = missing(declared.made)
    failed = make(lacking, registry, progress)
    steps = _Steps(declared.without(failed), engine, out, progress)
    for step in (steps.extract, steps.probe, steps.classify, steps.finetune):
        step()
    return Part(
        done=steps.done,
        problems=[*(f"{model}: {error}" for model, error in failed.items()), *map(str, steps.problems)],
        pretrained=len(lacking) - len(failed),
        extracted=steps.extracted,
    )


class _Steps:
    """The steps, each of which leaves what fails among the problems."""

    def __init__(self, declared: Declared, engine: EngineName, out: Path, progress: Watching) -> None:
        self.declared, self.engine, self.out, self.progress = declared, engine, out, progress
        self.done: list[tuple[Path, Result]] = []
        self.problems: list[object] = []
        self.extracted = 0
        self._opened: dict[str, Dataset | None] = {}
        self.features = self._cached()
        held = {dataset for _, dataset, _ in self.features.groups}
        # What has no entry has its id from its images, unless it is named by that.
        for name in declared.sources:
            if name not in held:
                self._open(name)
        self.features = self._cached()

    def _open(self, name: str) -> "Dataset | None":
        """Opens a data set once; None where it cannot be, which is a problem."""
        from probebench.datasets.open import open_dataset

        if name not in self._opened:
            try:
                self._opened[name] = open_dataset(name, self.declared.registry, home() / "datasets")
            except ProbebenchError as error:
                self._opened[name] = None
                self.problems.append(error)
        return self._opened[name]

    def _cached(self) -> CachedFeatures:
        return CachedFeatures.find(self.declared, {name: one for name, one in self._opened.items() if one is not None})

    def extract(self) -> None:
        """Computes the features that are missing; one pass fills all layers of a checkpoint on a data set."""
        lacking: dict[str, list[str]] = defaultdict(list)
        for checkpoint, name in self.declared.pairs:
            if not self.features.whole(checkpoint, name) and self._open(name) is not None:
                lacking[checkpoint.id].append(name)
        # Together what can be: an engine is started once for each.
        alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[CheckpointSpec]] = defaultdict(list)
        for model, names in lacking.items():
            checkpoint = self.declared.registry.checkpoint(model)
            layers = self.declared.layers(checkpoint)
            alike[() if layers == (checkpoint.output.layer,) else layers, tuple(names)].append(checkpoint)
        if not alike:
            return
        from probebench.extraction import ExtractionOptions

        options = partial(ExtractionOptions.resolve, "auto", "auto", None, None, "stop", "auto")
        for (layers, together), checkpoints in alike.items():
            extractions = Extractions(
                checkpoints=tuple(checkpoints),
                datasets=tuple(one for name in together if (one := self._open(name)) is not None),
                input_size=self.declared.spec.input_size,
                layers=layers,
                engine=self.engine,
                options=options,
                registered=None,
            )
            with watched(self.progress, "images") as told:
                for done in extractions.run(told):
                    if isinstance(done, tuple):
                        self.problems.append(f"{done[0].id}: {done[1]}")
                    else:
                        self.extracted += any(one.computed for one in done.files)
        self.features = self._cached()

    def probe(self) -> None:
        """Evaluates every protocol on its layers."""
        together: dict[tuple[tuple[str, ...], tuple[Shots, ...] | None], list[str]] = defaultdict(list)
        held: dict[tuple[str, ...], list[FeatureGroup]] = {}
        for protocol in self.declared.protocols:
            groups = [
                group
                for checkpoint, name in self.declared.pairs
                for layer in self.declared.layers(checkpoint, protocol)
                if (group := self.features.group(checkpoint, name, layer)) is not None
            ]
            shots: tuple[Shots, ...] | None = self.declared.spec.shots_under(protocol.id)
            if shots is not None:
                for refusal in filter(None, map(protocol.refuses, shots)):
                    warn(f"{refusal}; passed over")
                shots = tuple(one for one in shots if not protocol.refuses(one))
            if groups and shots != ():
                keys = tuple(f"{group.model} {group.dataset} {group.key.group}" for group in groups)
                held[keys] = groups
                together[keys, shots].append(protocol.id)
        if not together:
            return
        with started(self.engine) as cluster, watched(self.progress, "%") as told:
            for (keys, asked), protocols in together.items():
                done, problems = evaluate_groups(
                    self.declared.registry,
                    held[keys],
                    protocols,
                    shots=asked,
                    draws=self.declared.spec.draws,
                    out=self.out,
                    cluster=cluster,
                    told=told,
                    go_on=True,
                )
                self._take(done, problems)

    def classify(self) -> None:
        """Compares images with class names, of the checkpoints that have a text tower."""
        if not self.declared.spec.zeroshot:
            return
        groups = [
            group
            for checkpoint, name in self.declared.pairs
            if checkpoint.has_text_tower and (group := self.features.group(checkpoint, name, "projected")) is not None
        ]
        if groups:
            # Of sets with an entry, that says the names.
            for name in self.declared.sources:
                if name not in self.declared.registry.datasets:
                    self._open(name)
            names = {one.id: one.class_names for one in self._opened.values() if one is not None}
            self._take(*classify_groups(self.declared.registry, groups, names, (), self.out))

    def finetune(self) -> None:
        """Trains whole networks."""
        if not self.declared.trainings:
            return
        from probebench.api.finetune import finetune_pairs
        from probebench.finetuning.plan import Request
        from probebench.training.options import TrainingOptions

        entries = self.declared.registry
        with started(self.engine) as cluster, watched(self.progress, "images") as told:
            options = TrainingOptions.resolve("auto", "auto", None, None, cluster.gpus if cluster else None)
            for asked, protocol in self.declared.trainings:
                request = Request(
                    protocol=protocol,
                    mode=asked.mode,
                    head=None,
                    shots=asked.shots,
                    draws=asked.draws,
                    alphas=(1.0,),
                    input_size=self.declared.spec.input_size,
                    options=options,
                )
                sets = self._sets(asked, starts_from_probe(asked, protocol))
                self._take(
                    *finetune_pairs(entries, request, sets, out=self.out, cluster=cluster, told=told, go_on=True)
                )

    def _sets(
        self, asked: Training, with_features: bool
    ) -> "list[tuple[CheckpointSpec, list[tuple[Dataset, DatasetSpec | None]]]]":
        """Returns the checkpoints with their data sets, those alone that have features where these are needed."""
        entries = self.declared.registry
        found: dict[str, list[tuple[Dataset, DatasetSpec | None]]] = defaultdict(list)
        for checkpoint, name in self.declared.pairs:
            if not asked.asks(checkpoint.id, name):
                continue
            ready = not with_features or self.features.group(checkpoint, name, checkpoint.output.layer) is not None
            if ready and (opened := self._open(name)) is not None:
                found[checkpoint.id].append((opened, entries.datasets.get(name)))
        return [(entries.checkpoint(model), sets) for model, sets in found.items()]

    def _take(self, done: "Sequence[tuple[Path, Result]]", problems: Sequence[object]) -> None:
        self.done += done
        self.problems += problems
