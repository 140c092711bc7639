"""Tables for a paper: checkpoints down, data sets and shots across, the best marked and what cannot be told from it."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from probebench.registry.entry import Metric, Shots
from probebench.results.cells import (
    Cell,
    DataSet,
    Entrant,
    Setting,
    entrant_names,
    gather,
    in_order,
    selected_on_test,
    shots_text,
)
from probebench.results.compare import comparable, compare
from probebench.results.predictions import Predictions
from probebench.results.schema import Result
from probebench.results.scores import score_of
from probebench.results.short import on_too_few

# Differences that chance makes more often than this are no differences; over all of a column (Holm).
ALPHA = 0.05
_LATEX = {character: f"\\{character}" for character in "&%$#_{}"}
_LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}

Column = tuple[DataSet, Shots]


@dataclass(frozen=True)
class Entry:
    """One number of a table.

    Attributes:
        mean: In percent.
        ci95: In percent; None where there is none.
        best: Whether it is the largest of those that may be ranked in its column.
        tied: Whether the paired comparison cannot tell it from the best.
        ranked: Whether it may be ranked.
    """

    mean: float
    ci95: tuple[float, float] | None
    best: bool
    tied: bool
    ranked: bool


@dataclass(frozen=True, kw_only=True)
class Table:
    """The results of one setting by one metric.

    Attributes:
        columns: Data sets, each with its numbers of shots.
        rows: Entries by column, under the names of checkpoints.
    """

    setting: Setting
    metric: Metric
    columns: tuple[Column, ...]
    rows: dict[str, dict[Column, Entry]]

    @property
    def caption(self) -> str:
        """Returns what the numbers are."""
        what = "Test accuracy" if self.metric == "accuracy" else "Mean accuracy per class"
        mode = f", {self.setting.mode}" if self.setting.mode != self.setting.kind else ""
        mode += f", tested on {self.setting.tested}" if self.setting.tested else ""
        return (
            f"{what} in percent ({self.setting.protocol} v{self.setting.version}{mode}). Bold: the best of a column; "
            "marked beside it: not told apart from it (paired over draws and images, Holm, 5%); *: not ranked."
        )


def tables(results: Iterable[Result], predictions: Callable[[Result], Predictions]) -> list[Table]:
    """Returns a table for each setting and metric.

    Args:
        results: Some results.
        predictions: Reads a result's own.

    Raises:
        ResultError: Predictions are missing or damaged.
    """
    groups: dict[tuple[Setting, Metric], list[Cell]] = defaultdict(list)
    for cell in gather(results):
        if score_of(cell.result).mean is not None:
            groups[cell.key.setting, cell.key.metric].append(cell)
    return [_table(setting, metric, cells, predictions) for (setting, metric), cells in sorted(groups.items())]


def _table(
    setting: Setting, metric: Metric, cells: Sequence[Cell], predictions: Callable[[Result], Predictions]
) -> Table:
    names = entrant_names(cell.key.entrant for cell in cells)
    columns: dict[Column, dict[Entrant, Cell]] = defaultdict(dict)
    for cell in cells:
        columns[cell.key.dataset, cell.key.shots].setdefault(cell.key.entrant, cell)
    shots: dict[DataSet, list[Shots]] = {
        dataset: in_order(one for held, one in columns if held == dataset)
        for dataset in sorted({dataset for dataset, _ in columns}, key=lambda one: one.order)
    }
    ordered = tuple((dataset, one) for dataset, own in shots.items() for one in own)
    rows: dict[str, dict[Column, Entry]] = {_named(one, names): {} for one in sorted(names, key=lambda one: one.order)}
    for column in ordered:
        for entrant, entry in _entries(columns[column], predictions).items():
            rows[_named(entrant, names)][column] = entry
    return Table(setting=setting, metric=metric, columns=ordered, rows=rows)


def _named(entrant: Entrant, names: dict[Entrant, str]) -> str:
    sizes = {one.input_size for one in names if one.model == entrant.model}
    return f"{names[entrant]} at {entrant.input_size} px" if len(sizes) > 1 else names[entrant]


def _entries(column: dict[Entrant, Cell], predictions: Callable[[Result], Predictions]) -> dict[Entrant, Entry]:
    scores = {entrant: score_of(cell.result) for entrant, cell in column.items()}
    means = {entrant: score.mean or 0.0 for entrant, score in scores.items()}
    ranked = [one for one, cell in column.items() if _may_be_ranked(cell.result)]
    best = max(means[one] for one in ranked) if ranked else None
    leader = next((one for one in ranked if means[one] == best), None)
    tied = _tied(column, leader, [one for one in ranked if one != leader], predictions) if leader else set()
    return {
        entrant: Entry(
            mean=100 * means[entrant],
            ci95=(100 * score.ci95[0], 100 * score.ci95[1]) if score.ci95 else None,
            best=entrant in ranked and means[entrant] == best,
            tied=entrant in tied,
            ranked=entrant in ranked,
        )
        for entrant, score in scores.items()
    }


def _may_be_ranked(result: Result) -> bool:
    return result.provenance == "measured" and not selected_on_test(result) and not on_too_few(result)


def _tied(
    column: dict[Entrant, Cell],
    leader: Entrant,
    others: Sequence[Entrant],
    predictions: Callable[[Result], Predictions],
) -> set[Entrant]:
    first = column[leader].result
    held = [one for one in others if comparable(first, column[one].result)]
    if not held:
        return set()
    ours = first, predictions(first)
    pairs = [(ours, (column[one].result, predictions(column[one].result))) for one in held]
    return {one for one, pair in zip(held, compare(pairs), strict=True) if pair.holm > ALPHA}


def latex(found: Sequence[Table], *, intervals: bool = False) -> str:
    """Returns tables for LaTeX with booktabs; the best is bold, what is tied with it underlined."""
    return "\n".join(_latex(table, intervals) for table in found)


def _latex(table: Table, intervals: bool) -> str:
    sets = list(dict.fromkeys(dataset for dataset, _ in table.columns))
    widths = [sum(held == dataset for held, _ in table.columns) for dataset in sets]
    ends = [1 + sum(widths[: place + 1]) for place in range(len(sets))]
    heads = [rf"\multicolumn{{{w}}}{{c}}{{{_escaped(one.name)}}}" for one, w in zip(sets, widths, strict=True)]
    rules = [rf"\cmidrule(lr){{{end - w + 1}-{end}}}" for end, w in zip(ends, widths, strict=True)]
    lines = [f"% {table.caption}", rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}", r"\toprule"]
    lines += [" & ".join(["", *heads]) + r" \\", " ".join(rules)]
    lines += [" & ".join(["", *(_escaped(shots_text(shots)) for _, shots in table.columns)]) + r" \\", r"\midrule"]
    for name, row in table.rows.items():
        cells = [_latex_entry(row[column], intervals) if column in row else "--" for column in table.columns]
        lines.append(" & ".join([_escaped(name), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_entry(entry: Entry, intervals: bool) -> str:
    text = f"{entry.mean:.1f}"
    text = rf"\textbf{{{text}}}" if entry.best else rf"\underline{{{text}}}" if entry.tied else text
    return text + ("" if entry.ranked else "*") + _ends(entry, intervals, r" {{\scriptsize [{}, {}]}}")


def _ends(entry: Entry, intervals: bool, form: str) -> str:
    return form.format(*(f"{end:.1f}" for end in entry.ci95)) if intervals and entry.ci95 else ""


def _escaped(text: str) -> str:
    return re.sub(r"[&%$#_{}~^\\]", lambda found: _LATEX[found[0]], text)


def markdown(found: Sequence[Table], *, intervals: bool = False) -> str:
    """Returns tables for Markdown; the best is bold, what is tied with it in italics."""
    parts = []
    for table in found:
        heads = [f"{dataset.name}, {shots_text(shots)}" for dataset, shots in table.columns]
        lines = [table.caption, "", _piped(["", *heads]), _piped(["---", *("---:" for _ in heads)])]
        for name, row in table.rows.items():
            cells = [_markdown_entry(row[one], intervals) if one in row else "–" for one in table.columns]
            lines.append(_piped([name, *cells]))
        parts.append("\n".join([*lines, ""]))
    return "\n".join(parts)


def _markdown_entry(entry: Entry, intervals: bool) -> str:
    text = f"{entry.mean:.1f}"
    text = f"**{text}**" if entry.best else f"*{text}*" if entry.tied else text
    return text + ("" if entry.ranked else "\\*") + _ends(entry, intervals, " [{}, {}]")


def _piped(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
