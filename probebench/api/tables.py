"""Results as the front door hands them out: a sequence, and a table of it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import pandas

    from probebench.results.compare import ComparedPair
    from probebench.results.schema import Result

_SHOWN = ["model", "dataset", "kind", "protocol", "shots", "mean", "low", "high"]


class Results(Sequence["Result"]):
    """Some results, in the order in which they were asked for.

    Attributes:
        paths: The file of each; its predictions lie beside it.
    """

    def __init__(self, results: "Iterable[tuple[Path, Result]]") -> None:
        """Takes results with their files."""
        pairs = tuple(results)
        self.paths = tuple(path for path, _ in pairs)
        self._results = tuple(result for _, result in pairs)

    @overload
    def __getitem__(self, place: int) -> "Result": ...

    @overload
    def __getitem__(self, place: slice) -> "Results": ...

    def __getitem__(self, place: int | slice) -> "Result | Results":
        """Returns one result, or some of them."""
        if isinstance(place, slice):
            return Results(zip(self.paths[place], self._results[place], strict=True))
        return self._results[place]

    def __len__(self) -> int:
        """The number of results."""
        return len(self._results)

    def to_frame(self) -> "pandas.DataFrame":
        """Returns a table, one row a result, sorted by nothing.

        The columns are those of ``probebench results export``, and: ``counts``, whether it is the result that counts of
        its cell among these; ``path``, its file. ``mean``, ``low`` and ``high`` are fractions of 1, the last two the
        ends of the 95% interval; a result that failed has none. ``shots`` holds whole numbers and "full", sorts in this
        order, and is 0 for zero-shot.
        """
        import pandas

        from probebench.results.cells import gather, in_order
        from probebench.results.export import COLUMNS, tidy_row

        counting = {id(cell.result) for cell in gather(self._results)}
        rows = [
            {**tidy_row(result), "shots": result.shots, "counts": id(result) in counting, "path": str(path)}
            for path, result in zip(self.paths, self._results, strict=True)
        ]
        frame = pandas.DataFrame(rows, columns=[*COLUMNS, "counts", "path"])
        order = in_order(result.shots for result in self._results)
        frame["shots"] = pandas.Categorical(frame["shots"], categories=order, ordered=True)
        for name in ("mean", "low", "high"):
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


class Comparisons(Sequence["ComparedPair"]):
    """Two checkpoints on the same draws and test images, wherever both have results."""

    def __init__(self, pairs: "Iterable[ComparedPair]") -> None:
        """Takes compared pairs."""
        self._pairs = tuple(pairs)

    @overload
    def __getitem__(self, place: int) -> "ComparedPair": ...

    @overload
    def __getitem__(self, place: slice) -> "Comparisons": ...

    def __getitem__(self, place: int | slice) -> "ComparedPair | Comparisons":
        """Returns one pair, or some of them."""
        return Comparisons(self._pairs[place]) if isinstance(place, slice) else self._pairs[place]

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self._pairs)

    def to_frame(self) -> "pandas.DataFrame":
        """Returns a table, one row a pair.

        ``difference`` is the first's mean score less the second's, a fraction of 1, with the ends ``low`` and ``high``
        of its 95% interval; ``p_holm`` is the p-value that holds for all rows at once.
        """
        import pandas

        return pandas.DataFrame([pair.as_row() for pair in self._pairs])

    def _repr_html_(self) -> Any:
        """Returns the table for notebooks."""
        return self.to_frame()._repr_html_()
