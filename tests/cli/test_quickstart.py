from collections.abc import Callable
from pathlib import Path

from probebench.results.store import read_predictions, read_result, result_files
from tests.conftest import Ran


def test_the_real_main_job(run: Callable[..., Ran], tmp_path: Path) -> None:
    """Real ImageNet weights on real digits: what anyone gets from `make quickstart`."""
    done = run("quickstart")
    assert done.code == 0, done.err
    results = {(one.model, one.shots): one for one in map(read_result, result_files(tmp_path / "results"))}
    assert len(results) == 16
    lite, twin = (
        {shots: one for (model, shots), one in results.items() if model == name}
        for name in ("efficientnet_lite0_in1k", "efficientnet_lite0_random")
    )
    # Tried by hand before there was a tool: 50, 78 and 84 at 1, 5 and 10 shots.
    for number, by_hand in ((1, 0.50), (5, 0.78), (10, 0.84)):
        assert abs((lite[number].mean or 0) - by_hand) < 0.05
    for shots in lite:
        assert (lite[shots].mean or 0) > (twin[shots].mean or 0) + 0.03
        assert lite[shots].input_size == 96 and len(lite[shots].trials) == (1 if shots == "full" else 5)
        assert all(trial.converged and not trial.unconverged for trial in lite[shots].trials)
    for path in result_files(tmp_path / "results"):
        one, stored = read_result(path), read_predictions(path, read_result(path))
        assert one.mean == (stored.y_pred == stored.y_true).mean()
    assert "[95% interval]" in done.out and "try next" in done.out.splitlines()[-1]
    page = (tmp_path / "site" / "index.html").read_text()
    assert "efficientnet_lite2_in1k" in page and "cannot say which pre-training data" in page
