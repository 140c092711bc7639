"""Makes tasks of what was asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from probebench.cache.index import FeatureGroup
from probebench.errors import ProbebenchError, UsageError
from probebench.evaluation.extractions import of_protocol
from probebench.evaluation.probe_task import ProbeTask
from probebench.evaluation.shifted import Shifted
from probebench.evaluation.text_start import start_prompts, starts_from_text
from probebench.probes.backends import backend_name
from probebench.registry.entry import Shots
from probebench.registry.load import Registry
from probebench.registry.names import split_list
from probebench.registry.probes import PROBES

# Probes that can be scored on the test part of another data set.
SHIFTED = ("logistic", "ridge", "knn")


@dataclass(frozen=True)
class ProbePlan:
    """Tasks, and a line for each thing that was asked for and cannot be evaluated."""

    tasks: tuple[ProbeTask, ...]
    problems: tuple[str, ...]


def choose_protocols(registry: Registry, probe: str | None, patterns: Sequence[str]) -> list[str]:
    """Returns the protocols asked for: of one probe where one is named, whose own is the default.

    Raises:
        UsageError: There is no such protocol, or it is for another probe.
    """
    if not patterns:
        return [PROBES[probe or "logistic"].protocol]
    wanted = registry.expand_protocols(patterns)
    if probe is None:
        return wanted
    fitting = [name for name in wanted if registry.protocol(name).probe == probe]
    outright = [name for name in split_list(patterns) if name in registry.protocols and name not in fitting]
    if outright or not fitting:
        name = (outright or wanted)[0]
        raise UsageError(
            f"protocol {name} is for the {registry.protocol(name).probe} probe, not for {probe}; leave --probe out for "
            f"it, or use --protocol {PROBES[probe].protocol}"
        )
    return fitting


def plan_probes(
    registry: Registry,
    groups: Sequence[FeatureGroup],
    protocols: Sequence[str],
    *,
    shots: Sequence[Shots] | None = None,
    draws: int | None = None,
    backend: str = "auto",
    any_layer: bool = False,
    shifted: Callable[[FeatureGroup], Shifted] | None = None,
) -> ProbePlan:
    """Makes a task for each protocol, extraction and number of shots.

    Args:
        registry: Entries.
        groups: Cached extractions.
        protocols: Protocol ids.
        shots: Numbers of shots; None: each protocol's own.
        draws: Draws to average over; None: each protocol's own.
        backend: "auto", or a solver of the exact protocols.
        any_layer: Whether a user named the layers, so that a protocol's own choice among them does not count.
        shifted: Finds the other test part that probes of an extraction are scored on; None: their own.

    Raises:
        UsageError: A protocol is unknown, has a solver of its own, or its probes cannot be scored elsewhere.
    """
    tasks, problems = [], []
    specs = [registry.protocol(name) for name in protocols]
    backends = {spec.id: backend_name(spec, backend) for spec in specs}
    if shifted and (others := [spec.id for spec in specs if spec.probe not in SHIFTED]):
        raise UsageError(f"protocol {others[0]} takes no test data set; those of {', '.join(SHIFTED)} probes do")
    for spec in specs:
        asked = shots or spec.shots
        problems += [refusal for one in asked if (refusal := spec.refuses(one))]
        taken, missing = (groups, []) if any_layer else of_protocol(groups, spec, registry.checkpoints)
        problems += missing
        for group in taken:
            if "train" not in group.paths and not group.missing:
                problems.append(
                    f"{group.dataset} has a test part only, and nothing to fit a probe on: name another set by "
                    "--dataset, and this one by --test-dataset"
                )
                continue
            try:
                checkpoint = registry.checkpoint(group.model)
            except UsageError as error:
                problems.append(f"{error}; its entry is needed to evaluate its cached features")
                continue
            known = registry.datasets.get(group.dataset)
            if known is None and starts_from_text(spec, checkpoint, group.key.layer):
                problems.append(
                    f"{group.model} on {group.dataset}: protocol {spec.id} starts from the names of the classes, "
                    "and only data sets with an entry have them at hand"
                )
                continue
            try:
                shift = shifted(group) if shifted else None
            except ProbebenchError as error:
                problems.append(str(error))
                continue
            tasks += [
                ProbeTask(
                    group=group,
                    checkpoint=checkpoint,
                    protocol=spec,
                    shots=one,
                    draws=draws or spec.draws,
                    backend=backends[spec.id],
                    metric=spec.metric or (known.metric if known else "accuracy"),
                    prompts=start_prompts(spec, checkpoint, group.key.layer, known),
                    shift=shift,
                )
                for one in asked
                if not spec.refuses(one)
            ]
    return ProbePlan(tuple(tasks), tuple(dict.fromkeys(problems)))
