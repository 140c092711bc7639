import json

import pytest

from probebench.registry import Registry
from probebench.registry.layers import TABLE, architecture_key
from probebench.registry.load import shipped_registry
from probebench.tools.layer_table import row


@pytest.mark.parametrize("model", ["efficientnet_lite0_in1k", "deit_ti_16_in1k", "datacompdr_mobileclip_s1"])
def test_the_file_holds_what_networks_give(model: str, shipped: Registry) -> None:
    spec = shipped.checkpoint(model)
    table = json.loads((shipped_registry() / TABLE).read_text())
    assert table[architecture_key(spec.architecture)] == row(spec)
