"""An experiment that a file declares, whole: checkpoints, features, probes, zero-shot, fine-tunes, what they say."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from probebench.api.declared import CachedFeatures, Declared, declare, starts_from_probe
from probebench.api.evaluate import evaluate_groups
from probebench.api.extractions import Extractions
from probebench.api.made import make, missing
from probebench.api.report import build_leaderboard, run_study
from probebench.api.session import EngineName, Folders, Path_, Watching, started, warn, watched
from probebench.api.tables import Results
from probebench.api.zeroshot import classify_groups
from probebench.errors import ProbebenchError, UnfinishedError
from probebench.files import home

if TYPE_CHECKING:
    from probebench.cache.index import FeatureGroup
    from probebench.datasets.base import Dataset
    from probebench.registry import CheckpointSpec, DatasetSpec
    from probebench.registry.entry import Shots
    from probebench.results.schema import Result


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of an experiment.

    Attributes:
        results: Every result that it declares, in its order.
        pretrained: Checkpoints that this call made.
        extracted: Checkpoints on data sets whose features this call computed.
        computed: Results that this call computed; all others were there.
        study: The report; None where none was written.
        page: The leaderboard's page, likewise.
    """

    results: Results
    pretrained: int
    extracted: int
    computed: int
    study: Path | None
    page: Path | None


def run_experiment(
    experiment: Path_,
    *,
    quick: bool = False,
    shard: str | None = None,
    engine: EngineName = "local",
    registry: Folders = (),
    out: Path_ = "results",
    study: Path_ | None = "study",
    site: Path_ | None = "site",
    progress: Watching = False,
) -> Outcome:
    """Does what is missing of an experiment, and ends in a table, the study and the leaderboard's page of its results.

    What is cached, and every result that is there, is kept; what fails is told at the end and stops nothing else. Shots
    that a data set or a protocol cannot have are passed over with a warning.

    Args:
        experiment: Id of an experiment, or a .toml file.
        quick: Its small version, which its table ``quick`` says.
        shard: "I/N", the I-th of N parts, counted from 1; all parts together are the whole, and none writes the study
            and the page.
        engine: Compute here, or on Ray: the cluster of RAY_ADDRESS, else this machine's cores and GPUs.
        registry: Folders of your own entries.
        out: The results folder.
        study: Folder of the study's report; None writes none.
        site: Folder of the page; None writes none.
        progress: Whether to show a bar, or what hears how far it is, or what makes such a hearer for a unit.

    Raises:
        UsageError: There is no such experiment, or it names a checkpoint, data set or protocol that does not exist.
        UnfinishedError: Something could not be done; all else is done, written and in ``done``.
    """
    from probebench.results.store import result_files

    declared = declare(experiment, quick=quick, shard=shard, registry=registry)
    lacking = missing(declared.made)
    failed = make(lacking, registry, progress)
    work = _Work(declared.without(failed), engine, Path(out), progress)
    before = set(result_files(work.out)) if work.out.is_dir() else set()
    work.problems += [f"{model}: {error}" for model, error in failed.items()]
    work.extract()
    work.probe()
    work.classify()
    work.finetune()
    results = Results(work.done)
    has_score = any(result.mean is not None for result in results) and shard is None
    if has_score and study is not None:
        run_study(results, out=study)
    outcome = Outcome(
        results=results,
        pretrained=len(lacking) - len(failed),
        extracted=work.extracted,
        computed=len({*results.paths} - before),
        study=Path(study) / "study.html" if has_score and study is not None else None,
        page=build_leaderboard(results, registry=registry, out=site) if has_score and site is not None else None,
    )
    if work.problems:
        raise UnfinishedError(outcome, work.problems)
    return outcome


class _Work:
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
            shots: tuple[Shots, ...] | None = self.declared.spec.shots
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
        for name in self.declared.sources:
            self._open(name)
        names = {one.id: one.class_names for one in self._opened.values() if one is not None}
        if groups:
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
                sets = self._sets(starts_from_probe(asked, protocol))
                self._take(
                    *finetune_pairs(entries, request, sets, out=self.out, cluster=cluster, told=told, go_on=True)
                )

    def _sets(self, with_features: bool) -> "list[tuple[CheckpointSpec, list[tuple[Dataset, DatasetSpec | None]]]]":
        """Returns the checkpoints with their data sets, those alone that have features where these are needed."""
        entries = self.declared.registry
        found: dict[str, list[tuple[Dataset, DatasetSpec | None]]] = defaultdict(list)
        for checkpoint, name in self.declared.pairs:
            ready = not with_features or self.features.group(checkpoint, name, checkpoint.output.layer) is not None
            if ready and (opened := self._open(name)) is not None:
                found[checkpoint.id].append((opened, entries.datasets.get(name)))
        return [(entries.checkpoint(model), sets) for model, sets in found.items()]

    def _take(self, done: "Sequence[tuple[Path, Result]]", problems: Sequence[object]) -> None:
        self.done += done
        self.problems += problems
