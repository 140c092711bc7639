"""Holds the study's claims on the table that the paper's authors released against an analysis by pandas alone.

    python benchmarks/authors_table.py Hyperparameters_results.csv

The file is that of github.com/rahimentezari/DataDistributionTransferLearning; it is not ours to pass on. The analysis
reads the raw table and shares no code with the package: plain means and paired t over data sets, of the best setting
that all sources of 2.7M images have.
"""

import sys
import tempfile
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

FEW = ["1", "5", "10", "20"]
SETTINGS = ["ds_epochs", "ds_lr", "ds_bs", "ds_wd"]
SOURCES = ["CC3m", "LAION2.7m", "Redcaps2.7m", "Shutterstock2.7m", "WIT2.7m", "YFCC2.7m"]
# Test sets below 500 images at few shots, by the steps between the figures.
SMALL = ["EuroSAT", "CassavaLeafDisease", "CameraTraps"]


def read(path: Path) -> pd.DataFrame:
    """Reads the raw table; a figure of 0 is a run that failed."""
    table = pd.read_csv(path, sep="\t", dtype=str)
    for level in [*FEW, "full"]:
        table[level] = pd.to_numeric(table[level], errors="coerce").replace(0, np.nan)
    return table


def best_shared(rows: pd.DataFrame, sources: list[str]) -> pd.DataFrame:
    """Returns [(source, data set), level]: the best of the settings that every source has there."""
    found = {}
    for dataset, own in rows[rows.us.isin(sources)].groupby("ds"):
        for level in [*FEW, "full"]:
            wide = own.dropna(subset=[level]).pivot_table(index=SETTINGS, columns="us", values=level, aggfunc="max")
            for source, score in wide.dropna().max().items():
                found[source, dataset, level] = score
    made = pd.Series(found).unstack()
    return made[[level for level in [*FEW, "full"] if level in made]]


def t_of(values: pd.Series) -> str:
    """Returns a mean with its interval by a t over what it is given."""
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), values.std(ddof=1) / np.sqrt(len(values)))
    return f"{values.mean():.1f} [{low:.1f}, {high:.1f}]"


def by_pandas(raw: pd.DataFrame) -> dict[str, str]:
    """Returns each claim's size, from the raw table."""
    clip = raw[(raw.loss == "CLIP") & (raw.arch == "RN50")]
    table = best_shared(clip, SOURCES)
    large = table[~table.index.get_level_values(1).isin(SMALL)]
    few, full = table[FEW].mean(axis=1).unstack(0), table["full"].unstack(0)
    spread_few = large[FEW].mean(axis=1).unstack(0)
    each = {level: np.sqrt((large[level].unstack(0).var(axis=1, ddof=1)).mean()) for level in [*FEW, "full"]}
    curated = few["Shutterstock2.7m"] - few.drop(columns="Shutterstock2.7m").mean(axis=1)
    at_full = full["Shutterstock2.7m"] - full.drop(columns="Shutterstock2.7m").mean(axis=1)
    order = few.mean().sort_values(ascending=False)
    agree = [few.loc[one].corr(few.loc[other], method="spearman") for one, other in combinations(few.index, 2)]
    found = {
        "source-matters few-shot": f"SD {np.sqrt(spread_few.var(axis=1, ddof=1).mean()):.1f}, noise in it",
        "source-matters full": f"SD {np.sqrt(full.var(axis=1, ddof=1).mean()):.1f}, noise in it",
        "fades": f"{np.mean([each[level] for level in FEW]) - each['full']:.1f} wider at few shots, noise in it",
        "best-source few-shot": f"{order.index[0]} before {order.index[1]} by {order.iloc[0] - order.iloc[1]:.1f}",
        "ranking-carries-over few-shot": f"mean Spearman {np.mean(agree):.2f}",
        "curation": f"Shutterstock minus the rest {t_of(curated)}; at full {t_of(at_full)}",
    }
    keys = ["ds", *SETTINGS]
    target = clip[clip.us == "Shutterstock2.7m"].dropna(subset=["full"]).set_index(keys)["full"]
    ladder = clip[clip.us.isin([f"LAION{size}m" for size in ("1", "2.7", "5", "7.5", "9.6", "15")])]
    wide = ladder.dropna(subset=["full"]).pivot_table(index=keys, columns="us", values="full", aggfunc="mean").dropna()
    both = wide.join(target.groupby(level=keys).mean().rename("Shutterstock2.7m"), how="inner").groupby("ds").max()
    said = ", ".join(f"{name} {value:.1f}" for name, value in both.mean().sort_values().items())
    found["data-multiple full"] = f"{said} ({len(both)} data sets, the setting that all have)"
    lp_ft = {
        method: best_shared(raw[raw.loss == f"{method}_LP-FT"], ["Redcaps2.7m", "Shutterstock2.7m"])
        for method in ("SimCLR", "CLIP")
    }
    levels = [level for level in FEW if all(level in one for one in lp_ft.values())]
    gap = (lp_ft["SimCLR"][levels] - lp_ft["CLIP"][levels]).mean(axis=1).dropna().unstack(0).mean(axis=1)
    found["image-vs-language"] = f"SimCLR minus CLIP {t_of(gap)}; language-image has no scores at full"
    ours = raw[(raw.loss == "Supervised") & (raw.us == "IN1K")].set_index(keys)[[*FEW, "full"]]
    theirs = clip[clip.us == "IN_1K_CLIP_captions"].set_index(keys)[[*FEW, "full"]]
    away = (ours - theirs).dropna(how="all")
    found["supervised-vs-contrastive"] = f"ImageNet-1k {t_of(away[FEW].mean(axis=1))}; at full {t_of(away['full'])}"
    return found


def by_study(path: Path) -> dict[str, tuple[str, str]]:
    """Returns verdict and sentence of each claim of the first screen."""
    import probebench as pb
    from probebench.results.imported import import_table, write_imported
    from probebench.results.mapping import read_map

    with tempfile.TemporaryDirectory() as folder:
        write_imported(import_table(path, read_map("entezari2023")), Path(folder))
        found: Any = pb.run_study(folder)
    return {f"{one.id}{f' {one.level}' if one.level else ''}": (one.verdict, one.sentence) for one in found.leading}


def main() -> None:
    """Prints both side by side."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        sys.exit(f"usage: python {sys.argv[0]} Hyperparameters_results.csv (the file that the authors released)")
    path = Path(sys.argv[1])
    plain, told = by_pandas(read(path)), by_study(path)
    print("| claim | pandas, raw table | study: verdict | study: sentence |\n|---|---|---|---|")
    for name, (verdict, sentence) in told.items():
        print(f"| {name} | {plain.get(name, '')} | {verdict} | {sentence} |")


if __name__ == "__main__":
    main()
