import datasets
import huggingface_hub.constants as hub
import pytest

from probebench.network import hub_offline, reachable


def switches() -> tuple[bool, bool]:
    return hub.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE


@pytest.mark.parametrize("before", [False, True])
def test_the_hubs_clients_are_kept_to_their_caches_for_a_while(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", before)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", before)
    with hub_offline(False):
        assert switches() == (before, before)
    with pytest.raises(KeyError), hub_offline(True):
        assert switches() == (True, True)
        raise KeyError
    assert switches() == (before, before)


def test_an_address_that_does_not_answer_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert not reachable("https://host.invalid/x", seconds=1)
