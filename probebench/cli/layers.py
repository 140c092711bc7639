"""``probebench layers``: what can be taken as the features of a checkpoint."""

import click

from probebench.api.models import with_entries
from probebench.cli.console import print_json, print_table
from probebench.cli.options import json_option, registry_folders, registry_option
from probebench.errors import UsageError


@click.command(name="layers")
@click.option("--model", required=True, help="Checkpoint id.")
@json_option
@registry_option
def command(model: str, as_json: bool) -> None:
    """List the layers that a checkpoint offers, with their widths, for --layer of extract and eval.

    Blocks are counted from 0, as timm does. docs/extract.md says what each layer is of which kind of network.
    """
    from probebench.registry.layers import known_layers, meanings

    registry, names = with_entries(registry_folders(), [model])
    if len(names) != 1:
        raise UsageError(f"--model {model} names {len(names)} checkpoints; name one")
    spec = registry.checkpoint(names[0])
    offered = known_layers(spec.architecture)
    if offered is None:
        # Only what the shipped table lacks takes torch.
        from probebench.backbones.layers import layers_of

        offered = layers_of(spec)
    own = spec.output.layer
    if as_json:
        print_json(
            [
                {"layer": name, "features": width, "stands_for_checkpoint": name == own}
                for name, width in offered.items()
            ]
        )
        return
    print_table(
        [("layer", "left"), ("features", "right"), ("what it is", "left")],
        [[names, str(width), text] for names, width, text in meanings(offered, own)],
        title=f"{spec.id}: {spec.architecture.library} {spec.architecture.name}",
    )
