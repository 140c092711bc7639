"""Which solver fits a protocol's probes."""

from collections.abc import Callable
from functools import partial
from importlib import import_module

from probebench.errors import UsageError
from probebench.probes.base import Backend, Matrix
from probebench.probes.select import Fitters
from probebench.registry.probes import PROBES
from probebench.registry.protocol import EXACT_BACKENDS
from probebench.registry.schema import ProtocolSpec


def _torch() -> Backend:
    from probebench.probes import torch_

    return torch_.fit_paths


def _sklearn() -> Backend:
    from probebench.probes import sklearn_

    return sklearn_.fit_paths


def _cuml() -> Backend:
    from probebench.probes import cuml_

    cuml_.require()
    return cuml_.fit_paths


# Solvers that reach the optimum of the logistic objective.
EXACT: dict[str, Callable[[], Backend]] = dict(zip(EXACT_BACKENDS, (_torch, _sklearn, _cuml), strict=True))


def backend_name(protocol: ProtocolSpec, asked: str) -> str:
    """Returns what results record as their backend: the exact solver, or the procedure that the protocol names.

    Raises:
        UsageError: A backend was asked for by name, and the protocol has its own.
    """
    if PROBES[protocol.probe].numpy:
        if asked != "auto":
            others = " and ".join(name for name, probe in PROBES.items() if not probe.numpy)
            raise UsageError(
                f"--backend is for {others} probes; {protocol.probe} is computed exactly, in float64: "
                f"leave --backend out for protocol {protocol.id}"
            )
    elif protocol.solver.name == "exact" and asked != "auto":
        return asked
    elif asked != "auto":
        raise UsageError(
            f"protocol {protocol.id} prescribes its own solver ({protocol.solver.name}); leave --backend out for it"
        )
    return protocol.backends[0]


def fitters(protocol: ProtocolSpec, backend: str, start: Matrix | None = None) -> Fitters:
    """Returns what fits a protocol's probes: for a learning rate, and for the search or the last fit.

    Args:
        protocol: The protocol.
        backend: As ``backend_name`` has it.
        start: A vector for each label that heads start from, (labels, D), where the protocol has them start so.

    Raises:
        UsageError: The backend cannot run here.
    """
    module, _, name = PROBES[protocol.probe].fitter.partition(":")
    make: Callable[..., Fitters] = getattr(import_module(module), name)
    return make(protocol, backend) if start is None else make(protocol, backend, start)


def logistic(protocol: ProtocolSpec, backend: str, start: Matrix | None = None) -> Fitters:
    """Returns what fits a logistic protocol's probes: an exact solver, or the procedure that the protocol names.

    Raises:
        UsageError: The backend cannot run here.
    """
    solver = protocol.solver
    if solver.name == "exact":
        if backend not in EXACT:
            raise UsageError(f"unknown backend {backend!r}; it is auto or one of {', '.join(EXACT)}")
        exact = EXACT[backend]()
        return lambda rate, last: exact
    if solver.name == "lbfgs":
        from probebench.probes import lbfgs, sklearn_

        assert solver.max_iter
        early = partial(lbfgs.fit_paths if solver.summed else sklearn_.fit_lbfgs, max_iter=solver.max_iter)
        return lambda rate, last: early

    def optimizer(rate: float | None, last: bool) -> Backend:
        from probebench.probes.optimizers import fit_paths

        epochs = solver.final_epochs if last else solver.epochs
        assert rate and epochs
        every = solver.epoch == "best" and not last
        return partial(fit_paths, solver=solver, rate=rate, epochs=epochs, every=every, start=start)

    return optimizer
