"""Probes of every protocol on a stand-in for a GPU: they choose and predict what they do on the CPU."""

from typing import Any

import numpy as np
import pytest
import torch

from probebench.probes import stream
from probebench.probes.backends import backend_name, fitters
from probebench.probes.base import ArrayRows, Labelled
from probebench.probes.select import Selected, SelectionData, select
from probebench.registry import ProtocolSpec, Registry
from tests.arithmetic import FakeCuda, fake_cuda
from tests.probes.test_sklearn import blobs

__all__ = ["fake_cuda"]


def chosen(shipped: Registry, protocol: str) -> tuple[Selected, Any]:
    values = shipped.protocol(protocol).model_dump()
    if protocol == "default":
        values["grid"] |= {"start": -1.0, "stop": 1.0, "num": 3, "widen": 0.0}
    if values["solver"]["epochs"]:
        rates = values["solver"]["learning_rates"][:1]
        values["solver"] |= {"epochs": 2, "final_epochs": 2, "learning_rates": rates}
    spec = ProtocolSpec.model_validate(values)
    train, validation, test = (blobs(4, each, 12, seed, shift=2.0) for seed, each in enumerate((20, 5, 30)))
    data = SelectionData(Labelled(ArrayRows(train.matrix), train.labels), validation)
    (one,) = select([data], spec, fitters(spec, backend_name(spec, "auto")))
    return one, one.probe.predict(one.preparation(test.matrix))


@pytest.mark.parametrize(
    "protocol", ["default", "ridge", "knn", "retrieval", "big_vision_lsr", "clip_benchmark", "elevater"]
)
def test_a_protocol_chooses_and_predicts_on_a_gpu_as_on_the_cpu(
    protocol: str, shipped: Registry, fake_cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several blocks, so that more than one passes through the buffers.
    monkeypatch.setattr(stream, "BLOCK_ROWS", 16)
    there, predicted = chosen(shipped, protocol)
    assert fake_cuda.used
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    here, expected = chosen(shipped, protocol)
    assert there.chosen == here.chosen and there.score == here.score
    assert np.array_equal(predicted, expected)
    if here.loss is not None:
        assert there.loss == pytest.approx(here.loss, rel=1e-5)
