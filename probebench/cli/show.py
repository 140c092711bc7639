"""``probebench results show`` and ``gallery``: one result, and where it errs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from probebench.api.mistakes import Mistakes, mistakes, result_id
from probebench.api.report import read_results
from probebench.api.tables import Results
from probebench.cli.console import print_json, print_table
from probebench.cli.options import filtered, json_option, out_option, parse_shots, registry_folders, registry_option
from probebench.cli.tables import score_text
from probebench.errors import UsageError

if TYPE_CHECKING:
    from probebench.results.schema import Result


@click.command(name="show")
@click.argument("result", required=False)
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="Classes and confusions to list.")
@filtered
@out_option
@registry_option
@json_option
def show(
    result: str | None,
    top: int,
    models: tuple[str, ...],
    datasets: tuple[str, ...],
    protocols: tuple[str, ...],
    shots: str | None,
    out: Path,
    as_json: bool,
) -> None:
    """Show one result: its draws, how far its probabilities can be believed, worst classes and confusions.

    RESULT is an id, the eight letters and digits that end the name of its file. Without one, the options choose; where
    they leave several, these are listed with their ids.
    """
    from probebench.results.narrow import narrowed

    held = read_results(out)
    if result is None:
        asked = {"models": models, "datasets": datasets, "protocols": protocols}
        found = narrowed(held, shots=parse_shots(shots) if shots else None, **asked)
        if not found:
            raise UsageError(f"no results in {out} to show; run probebench eval first, or ask for less")
        if len(found) > 1:
            _list(held, found, as_json)
            return
        told = mistakes(found[0], results=held, registry=registry_folders())
    else:
        told = mistakes(result, results=held, registry=registry_folders())
    classes, confusions = (frame.head(top).to_dict("records") for frame in (told.classes(), told.confusions()))
    ranked = told.ranked().head(top).to_dict("records")
    if as_json:
        facts = {"result": told.result.model_dump(mode="json"), "classes": classes, "confusions": confusions}
        print_json(facts | ({"retrieval": ranked} if ranked else {}))
        return
    _print(told, classes, confusions)
    if ranked:
        print_table(
            [(name.replace("_", " "), "left" if name == "name" else "right") for name in ranked[0]],
            [[f"{100 * value:.1f}" if isinstance(value, float) else str(value) for value in row.values()]
             for row in ranked],
            title=f"the {len(ranked)} classes that are found worst, in percent",
        )  # fmt: skip


def _list(held: Results, found: "list[Result]", as_json: bool) -> None:
    from probebench.results.cells import dataset_text

    ids = {id(one): result_id(path) for path, one in zip(held.paths, held, strict=True)}
    rows: list[dict[str, Any]] = [
        {
            "id": ids[id(one)],
            "model": one.model,
            "dataset": dataset_text(one),
            "protocol": one.protocol,
            "shots": one.shots,
        }
        | {"layer": one.checkpoint.layer, "px": one.input_size, "score": score_text(one)}
        for one in found
    ]
    if as_json:
        print_json(rows)
        return
    right = {"px", "shots", "score"}
    columns = [(name, "right" if name in right else "left") for name in rows[0]]
    print_table(columns, [["?" if one is None else str(one) for one in row.values()] for row in rows])


def _print(told: Mistakes, classes: list[dict[str, Any]], confusions: list[dict[str, Any]]) -> None:
    from probebench.results.cells import dataset_text, shots_text

    one = told.result
    title = one.checkpoint.title
    spent = "" if one.labels_spent is None else f", {one.labels_spent} labels spent"
    facts = {
        "checkpoint": f"{one.model} ({title}), {one.checkpoint.layer} at {one.input_size or '?'} px",
        "data set": f"{dataset_text(one)}, {one.n_test} test images, {len(told.class_names)} classes",
        "measured": f"{one.kind} ({one.mode}), protocol {one.protocol} v{one.protocol_version}, "
        f"{shots_text(one.shots)}{spent}",
        one.metric: f"{score_text(one)} over {one.ci95_covers or 'no whole set of draws'}",
    }
    if one.shift and one.shift.drop is not None:
        low, high = one.shift.drop_ci95 or (one.shift.drop, one.shift.drop)
        facts["drop"] = (
            f"{100 * one.shift.drop:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] from "
            f"{100 * (one.shift.own_mean or 0):.1f} on the {one.shift.n_own} images of its own test part"
        )
    width = max(map(len, facts))
    for name, text in facts.items():
        click.echo(f"{name:<{width}}  {text}")
    _print_draws(one)
    _print_calibration(one)
    if one.retrieval is not None:
        found = one.retrieval.model_dump().items()
        click.echo("; ".join(f"{name.replace('_', ' ')} {100 * value:.1f}" for name, value in found))
    print_table(
        [("class", "left"), ("images", "right"), ("accuracy", "right"), ("most often taken for", "left")],
        [
            [row["name"], str(row["images"]), f"{100 * row['accuracy']:.1f}"]
            + [f"{row['taken_for']} ({100 * row['share']:.1f}%)" if row["taken_for"] is not None else ""]
            for row in classes
        ],
        title=f"the {len(classes)} worst of {len(told.class_names)} classes, accuracy in percent",
    )
    print_table(
        [("true class", "left"), ("predicted", "left"), ("of its images", "right")],
        [[row["true"], row["predicted"], f"{100 * row['share']:.1f}%"] for row in confusions],
        title="most frequent confusions",
    )


def _print_draws(one: "Result") -> None:
    print_table(
        [("draw", "right"), ("chosen", "left"), ("on", "left"), ("validation", "right"), ("test", "right")],
        [
            [
                "all" if trial.draw_seed is None else str(trial.draw_seed),
                ", ".join(f"{name} = {value:.4g}" for name, value in trial.chosen.items()) or "nothing",
                trial.selection,
                "" if trial.validation_score is None else f"{100 * trial.validation_score:.1f}",
                trial.error or ("" if trial.test_score is None else f"{100 * trial.test_score:.1f}"),
            ]
            for trial in one.trials
        ],
    )


def _print_calibration(one: "Result") -> None:
    rows = [("as fitted", one.calibration), ("temperature-scaled", one.scaled_calibration)]
    if one.calibration is None:
        return
    print_table(
        [("probabilities", "left"), ("log-loss, nats", "right"), ("Brier score", "right")]
        + [("calibration error", "right"), ("debiased", "right")],
        [
            [name, f"{held.log_loss:.4f}", f"{held.brier:.4f}", f"{100 * held.ece:.2f}%"]
            + [f"{100 * held.ece_debiased:.2f}%"]
            for name, held in rows
            if held is not None
        ],
    )


@click.command(name="gallery")
@click.argument("result")
@click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("errors.html"),
    show_default=True,
    help="The page to write.",
)
@click.option("--limit", type=click.IntRange(1), default=60, show_default=True, help="Images to show.")
@out_option
@registry_option
@json_option
def gallery(result: str, file: Path, limit: int, out: Path, as_json: bool) -> None:
    """Write a page of the errors that a result is surest of, with their images where these are on this machine."""
    target = mistakes(result, results=out, registry=registry_folders()).gallery(file, limit)
    if as_json:
        print_json({"file": target})
    else:
        click.echo(f"wrote {target}; open it in a browser")
