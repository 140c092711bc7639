from collections.abc import Callable
from pathlib import Path

from probebench.results.store import read_predictions, read_result, result_files
from tests.conftest import Ran

SHIPPED = Path(__file__).parents[2] / "leaderboard" / "results"


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
    # The same cells are shipped, and README shows those (test_golden.py). The twin's weights come of a seed, from which
    # a CPU of other instructions draws others.
    known = {read_result(path).weights_digest for path in SHIPPED.glob("*/digits/probe-*.json")}
    paths = [path for path in result_files(tmp_path / "results") if read_result(path).weights_digest in known]
    assert len(paths) in (12, 16)
    for path in paths:
        shipped = SHIPPED / path.relative_to(tmp_path / "results")
        ours, theirs = (read_predictions(one, read_result(one)) for one in (path, shipped))
        assert ours.test_ids == theirs.test_ids and (ours.y_pred == theirs.y_pred).mean() > 0.98
    for one in results.values():
        assert one.mean is not None and one.ci95 is not None
        cell = f"{one.mean:.1%} [{one.ci95[0]:.1%}, {one.ci95[1]:.1%}]".replace("%", "")
        assert cell in done.out, done.out
    assert "[95% interval]" in done.out and "try next" in done.out.splitlines()[-1]
    page = (tmp_path / "site" / "index.html").read_text()
    assert "efficientnet_lite2_in1k" in page and "cannot say which pre-training data" in page
