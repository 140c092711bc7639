"""``probebench quickstart``: the whole way on what packages ship, without a network, to an answer."""

from pathlib import Path

import click

from probebench.api.extractions import prepare
from probebench.api.report import build_leaderboard, read_results, run_study, shipped_results
from probebench.cli.options import out_option
from probebench.cli.steps import run_eval, run_extract
from probebench.cli.tables import print_claims

DATASET = "digits"
# Native sizes of Lite0 run at 10 to 20 images/s on two cores; at 96 px it takes a quarter of a minute.
LARGE = {"efficientnet_lite0_in1k": 96}
SMALL = {
    "mini_supervised-emoji_noto-1355-run0": 32,
    "mini_simclr-emoji_twemoji-1355-run0": 32,
    "mini_simclr-openclipart-1355-run0": 32,
}
_folder = click.Path(path_type=Path, file_okay=False)


@click.command(name="quickstart")
@out_option
@click.option("--study", type=_folder, default=Path("study"), show_default=True, help="Folder of the study's report.")
@click.option("--site", type=_folder, default=Path("site"), show_default=True, help="Folder of the page.")
def command(out: Path, study: Path, site: Path) -> None:
    """Four checkpoints on handwritten digits, among the results that are shipped: a table, a page, and the claims.

    Runs offline in about two minutes on two cores: EfficientNet-Lite0, trained on ImageNet, at a reduced input size of
    96 px, and three small networks, pre-trained on emoji and clip art, at their own.
    """
    models = {**LARGE, **SMALL}
    click.echo(f"1/4 features of {len(models)} checkpoints on {DATASET}")
    for model, size in models.items():
        run_extract(prepare([model], [DATASET], input_size=size, dtype="fp32"))
    click.echo("2/4 probes on 1, 5, 10 shots (5 draws) and full data, strength chosen on validation images")
    run_eval(out, features=list(models), dataset=DATASET, shots=[1, 5, 10, "full"])
    results = read_results([out, shipped_results()])
    told = f"{len(results):,} results, these and the shipped ones"
    click.echo(f"3/4 what {told}, say of a small world: drawings at 32 px")
    said = run_study(results, out=study)
    print_claims(said)
    page = build_leaderboard(results, study=said, out=site)
    click.echo(f"4/4 report: {study / 'study.html'}; page: {page}")
    click.echo(
        "try next, with images of your own (one folder a class): "
        "probebench extract --model efficientnet_lite0_in1k --dataset folder:PATH && probebench eval"
    )
