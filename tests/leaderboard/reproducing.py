"""Reproductions made up for tests: of the shipped results of one checkpoint."""

from pathlib import Path
from typing import Any

from probebench.leaderboard.reproduction import (
    FreshDraw,
    Reproduction,
    RerunCell,
    fresh_seeds,
    order_of,
    place_of,
)
from probebench.registry import Registry
from probebench.results.schema import Result
from probebench.results.store import read_result

SEED = "yesterday's headline"


def cell_of(place: str, result: Result, seed: str = SEED) -> RerunCell:
    few_shot = result.shots not in (0, "full")
    score = result.mean or 0.0
    return RerunCell(
        predictions=(result.predictions or {})["sha256"],
        recorded=score,
        found=score,
        moved=0,
        fresh=[FreshDraw(seed=one, digest="ab" * 32, score=score) for one in fresh_seeds(seed, result.model, place)]
        if few_shot
        else [],
    )


def reproduction_of(folder: Path, registry: Registry, cells: int = 2, **changes: Any) -> Reproduction:
    """Returns one that covers all results of a checkpoint in a folder, and that nothing is wrong with."""
    results = {place_of(path): read_result(path) for path in sorted(folder.glob("*/*.json"))}
    model = next(iter(results.values())).model
    covers = {place: (one.predictions or {})["sha256"] for place, one in results.items()}
    seed = changes.get("seed", SEED)
    chosen = sorted(covers, key=lambda place: order_of(seed, model, place, covers[place]))[:cells]
    facts: dict[str, Any] = {
        "model": model,
        "weights_digest": next(iter(results.values())).weights_digest,
        "weights": registry.checkpoint(model).weights,
        "by": "A. Stranger",
        "when": "2026-11-28T12:00:00Z",
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "device": "cpu, Linux x86_64",
        "versions": {"probebench": "0.2.0"},
        "seed": seed,
        "cells": {place: cell_of(place, results[place], seed) for place in chosen},
        "covers": covers,
    }
    return Reproduction(**facts | changes)


def write_reproduction(board: Path, found: Reproduction) -> Path:
    path = board / "reproductions" / found.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(found.model_dump_json())
    return path
