"""``probebench quickstart``: the whole way on what packages ship, without a network."""

from pathlib import Path

import click

from probebench.api.extractions import prepare
from probebench.api.report import build_leaderboard
from probebench.cli.options import out_option
from probebench.cli.steps import run_eval, run_extract

MODELS = ("efficientnet_lite0_in1k", "efficientnet_lite1_in1k", "efficientnet_lite2_in1k", "efficientnet_lite0_random")
DATASET = "digits"
# Native sizes run at 10 to 20 images/s on two cores; at 96 px the four checkpoints take well under two minutes.
INPUT_SIZE = 96


@click.command(name="quickstart")
@out_option
@click.option(
    "--site",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("site"),
    show_default=True,
    help="Folder of the page.",
)
def command(out: Path, site: Path) -> None:
    """Four checkpoints on handwritten digits: features, probes at 1, 5, 10 shots and full data, a table and a page.

    Runs offline in about a minute on two cores: ImageNet-trained EfficientNet-Lite0, 1 and 2, and Lite0's untrained
    twin, at a reduced input size of 96 px.
    """
    click.echo(f"1/3 features of {len(MODELS)} checkpoints on {DATASET} at {INPUT_SIZE} px")
    run_extract(prepare(MODELS, [DATASET], input_size=INPUT_SIZE, dtype="fp32"))
    click.echo("2/3 probes on 1, 5, 10 shots (5 draws) and full data, strength chosen on validation images")
    run_eval(out, features=MODELS, dataset=DATASET, input_size=INPUT_SIZE)
    page = build_leaderboard(out, out=site)
    click.echo(f"3/3 leaderboard page: {page}")
    click.echo(
        "try next, with images of your own (one folder a class): "
        "probebench extract --model efficientnet_lite0_in1k --dataset folder:PATH && probebench eval"
    )
