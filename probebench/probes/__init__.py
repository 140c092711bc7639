"""Probes of frozen features, their backends, and the choice of their strength."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probebench.probes.estimator import LogisticProbe
    from probebench.probes.fits import SweepFit
    from probebench.probes.logistic import logistic_sweep

__all__ = ["LogisticProbe", "SweepFit", "logistic_sweep"]


def __getattr__(name: str) -> Any:
    """Loads the solver, and torch with it, when it is first asked for."""
    if name == "LogisticProbe":
        from probebench.probes.estimator import LogisticProbe

        return LogisticProbe
    if name in __all__:
        from probebench.probes import logistic

        return getattr(logistic, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
