"""Parts of an experiment in processes of their own, each with few threads: small networks keep no more busy."""

import multiprocessing
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from probebench.api.declared import Declared
from probebench.api.session import Folders, Watching, warn, watched
from probebench.api.work import Part, work
from probebench.device import cores, resolve_device
from probebench.errors import ProbebenchError, ProbebenchWarning, UsageError


@dataclass(frozen=True)
class SideBySide:
    """How many processes, and threads of each.

    Attributes:
        processes: Each does a checkpoint at a time.
        threads: Of each.
    """

    processes: int
    threads: int

    @classmethod
    def of(cls, declared: Declared, jobs: int | None) -> "SideBySide | None":
        """Returns how an experiment is divided on this machine's cores; None where it is not.

        Recipes that are trained in a fixed number of threads leave the other cores to other checkpoints.

        Args:
            declared: The experiment.
            jobs: Processes; None: as many as the recipes' threads leave room for, and one without such recipes.

        Raises:
            UsageError: It is no positive number, or there is a GPU.
        """
        if jobs is not None and jobs < 1:
            raise UsageError(f"jobs is a whole number from 1; not {jobs}")
        fixed = {declared.registry.recipe(one.recipe).threads for one in declared.made}
        (threads,) = fixed if len(fixed) == 1 else (None,)
        if jobs == 1 or not (jobs or threads):
            return None
        if resolve_device("auto", "auto", None)[0] == "cuda":
            if jobs:
                raise UsageError("jobs divides cores, and one process fills this machine's GPU; leave it out")
            return None
        jobs = jobs or cores() // (threads or 1)
        processes = min(jobs, len(declared.models))
        return cls(processes, threads or max(1, cores() // processes)) if processes > 1 else None

    def work(self, declared: Declared, name: str, registry: Folders, out: Path, progress: Watching) -> Part:
        """Does what is missing of an experiment, checkpoint by checkpoint.

        Raises:
            ProbebenchError: A process was killed, for want of memory mostly; what is done is kept.
        """
        parts = {}
        with watched(progress, "checkpoints") as told:
            told.start(name, len(declared.models), 0)
            for model, part, said in self._each(declared, registry, out):
                parts[model] = part
                for message in said:
                    warn(message)
                told.advance(1)
            told.finish()
        return Part.joined([parts[model] for model in declared.models])

    def _each(self, declared: Declared, registry: Folders, out: Path) -> Iterator[tuple[str, Part, list[str]]]:
        from joblib import Parallel, delayed, parallel_config
        from joblib.externals.loky import get_reusable_executor
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        try:
            # Unlike the standard library's, its processes do not run the caller's script again.
            with parallel_config("loky", inner_max_num_threads=self.threads):
                yield from Parallel(n_jobs=self.processes, batch_size=1, return_as="generator_unordered")(
                    delayed(_work)(declared.of(model), registry, out) for model in declared.models
                )
        except TerminatedWorkerError as error:
            raise ProbebenchError(
                "a process of the experiment was killed, for want of memory mostly; what is done is kept: run the same "
                "command again, with fewer --jobs"
            ) from error
        finally:
            # They would wait for more, in the folder and the environment of now.
            get_reusable_executor().shutdown(kill_workers=True)


def _work(declared: Declared, registry: Folders, out: Path) -> tuple[str, Part, list[str]]:
    """Does one checkpoint in a process of its own; returns its id, what came of it, and warnings."""
    # Decoding processes are started as elsewhere, not in the way of the process that they are started from.
    multiprocessing.set_start_method(None, force=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ProbebenchWarning)
        part = work(declared, "local", registry, out, False)
    ours = [str(one.message) for one in caught if issubclass(one.category, ProbebenchWarning)]
    return declared.models[0], part, ours
