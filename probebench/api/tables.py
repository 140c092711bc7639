"""Results as the front door hands them out: a sequence, and a table of it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, overload

if TYPE_CHECKING:
    # Named as parameters of classes, where ruff does not look.
    import pandas

    from probebench.evaluation.dry_run import PlannedCell  # noqa: F401
    from probebench.results.compare import ComparedPair  # noqa: F401
    from probebench.results.schema import Result

_SHOWN = ["model", "dataset", "kind", "protocol", "shots", "mean", "low", "high"]


class Results(Sequence["Result"]):
    """Some results, in the order in which they were asked for.

    Attributes:
        paths: The file of each; its predictions lie beside it.
        damaged: Files that could not be read.
    """

    def __init__(self, results: "Iterable[tuple[Path, Result]]", damaged: "Iterable[Path]" = ()) -> None:
        """Takes results with their files."""
        pairs = tuple(results)
        self.damaged = tuple(damaged)
        self.paths = tuple(path for path, _ in pairs)
        self._results = tuple(result for _, result in pairs)

    @overload
    def __getitem__(self, place: int) -> "Result": ...

    @overload
    def __getitem__(self, place: slice) -> "Results": ...

    def __getitem__(self, place: int | slice) -> "Result | Results":
        """Returns one result, or some of them."""
        if isinstance(place, slice):
            return Results(zip(self.paths[place], self._results[place], strict=True), self.damaged)
        return self._results[place]

    def __len__(self) -> int:
        """The number of results."""
        return len(self._results)

    def to_frame(self) -> "pandas.DataFrame":
        """Returns a table, one row a result, sorted by nothing.

        The columns are those of ``probebench results export``, and: ``counts``, whether it is the result that counts of
        its cell among these; ``path``, its file. ``mean``, ``low`` and ``high`` are fractions of 1, the last two the
        ends of the 95% interval; a result that failed has none. Recall and average precision are those of retrieval,
        and no other result has them. ``shots`` holds whole numbers and "full", sorts in this order, and is 0 for
        zero-shot.
        """
        import pandas

        from probebench.results.cells import gather, in_order
        from probebench.results.export import COLUMNS, RETRIEVAL, tidy_row

        counting = {id(cell.result) for cell in gather(self._results)}
        rows = [
            {**tidy_row(result), "shots": result.shots, "counts": id(result) in counting, "path": str(path)}
            for path, result in zip(self.paths, self._results, strict=True)
        ]
        frame = pandas.DataFrame(rows, columns=[*COLUMNS, "counts", "path"])
        order = in_order(result.shots for result in self._results)
        frame["shots"] = pandas.Categorical(frame["shots"], categories=order, ordered=True)
        for name in ("mean", "low", "high", *RETRIEVAL):
            frame[name] = frame[name].astype(float)
        return frame

    def __repr__(self) -> str:
        """Returns the table's most telling columns."""
        if not self._results:
            return "Results(none)"
        return str(self.to_frame()[_SHOWN].to_string(index=False))

    def _repr_html_(self) -> Any:
        """Returns the table for notebooks."""
        return self.to_frame()._repr_html_()


class _Row(Protocol):
    def as_row(self) -> dict[str, Any]:
        """Returns its facts by the names of columns."""


RowT = TypeVar("RowT", bound=_Row)


class Table(Sequence[RowT]):
    """Things of one kind, each a row of a table."""

    def __init__(self, rows: Iterable[RowT]) -> None:
        """Takes the rows."""
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, place: int) -> RowT: ...

    @overload
    def __getitem__(self, place: slice) -> Self: ...

    def __getitem__(self, place: int | slice) -> RowT | Self:
        """Returns one row, or some of them."""
        return type(self)(self._rows[place]) if isinstance(place, slice) else self._rows[place]

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._rows)

    def to_frame(self) -> "pandas.DataFrame":
        """Returns the table."""
        import pandas

        return pandas.DataFrame([row.as_row() for row in self._rows])

    def __repr__(self) -> str:
        """Returns the table in text."""
        return str(self.to_frame().to_string(index=False)) if self._rows else f"{type(self).__name__}(none)"

    def _repr_html_(self) -> Any:
        """Returns the table for notebooks."""
        return self.to_frame()._repr_html_()


class Comparisons(Table["ComparedPair"]):
    """Two checkpoints on the same draws and test images, wherever both have results.

    In the table ``difference`` is the first's mean score less the second's, a fraction of 1, with the ends ``low`` and
    ``high`` of its 95% interval; ``p_holm`` is the p-value that holds for all rows at once.
    """


class PlannedCells(Table["PlannedCell"]):
    """What evaluating would take, a cell each.

    In the table ``seconds``, and peak bytes of memory of the ``host`` and of the ``device`` where that is a GPU, are by
    the model of docs/probes.md; ``cached`` says whether features are there, ``done`` whether the result is.
    """
