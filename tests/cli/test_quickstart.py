from collections.abc import Callable
from pathlib import Path

from probebench.cli.quickstart import LARGE, SMALL
from probebench.registry import Registry
from probebench.registry.load import shipped_registry
from probebench.results.store import read_predictions, read_result, result_files
from tests.conftest import Ran

SHIPPED = Path(__file__).parents[2] / "leaderboard" / "results"


def test_the_real_main_job(run: Callable[..., Ran], tmp_path: Path) -> None:
    """Real weights on real digits, and what all shipped results say: what anyone gets from `make quickstart`."""
    done = run("quickstart")
    assert done.code == 0, done.err
    results = {(one.model, one.shots): one for one in map(read_result, result_files(tmp_path / "results"))}
    assert len(results) == 16 and {model for model, _ in results} == {*LARGE, *SMALL}
    lite = {shots: one for (model, shots), one in results.items() if model in LARGE}
    # Tried by hand before there was a tool: 50, 78 and 84 at 1, 5 and 10 shots.
    for number, by_hand in ((1, 0.50), (5, 0.78), (10, 0.84)):
        assert abs((lite[number].mean or 0) - by_hand) < 0.05
    for (model, shots), one in results.items():
        assert one.input_size == {**LARGE, **SMALL}[model] and len(one.trials) == (1 if shots == "full" else 5)
        assert all(trial.converged and not trial.unconverged for trial in one.trials)
    for path in result_files(tmp_path / "results"):
        one, stored = read_result(path), read_predictions(path, read_result(path))
        assert one.mean == (stored.y_pred == stored.y_true).mean()
    # The same cells are shipped, and README shows those (test_golden.py).
    cells = {
        key: (path, one)
        for path in result_files(SHIPPED)
        if (one := read_result(path)).dataset == "digits" and one.protocol == "default"
        for key in [(one.model, one.shots)]
        if key in results and one.input_size == results[key].input_size
    }
    assert len(cells) == 16
    for path in result_files(tmp_path / "results"):
        one = read_result(path)
        theirs = read_predictions(*cells[one.model, one.shots])
        ours = read_predictions(path, one)
        assert ours.test_ids == theirs.test_ids and (ours.y_pred == theirs.y_pred).mean() > 0.98
    for one in results.values():
        assert one.mean is not None and one.ci95 is not None
        cell = f"{one.mean:.1%} [{one.ci95[0]:.1%}, {one.ci95[1]:.1%}]".replace("%", "")
        assert cell in done.out, done.out
    assert "[95% interval]" in done.out and "try next" in done.out.splitlines()[-1]
    # The claims, and a page with three methods and several sources.
    assert "Does the pre-training source matter?" in done.out
    page = (tmp_path / "site" / "index.html").read_text()
    assert all(
        text in page for text in ("efficientnet_lite0_in1k", *SMALL, "mini_clip-", "image-image", "emoji_fluent")
    )
    assert (tmp_path / "study" / "study.html").is_file() and (tmp_path / "site" / "study" / "study.html").is_file()


def test_shipped_weights_are_those_of_their_entries_and_small(shipped: Registry) -> None:
    from probebench.backbones.user_weights import UserWeights
    from probebench.fingerprint import file_sha256

    folder = shipped_registry() / "weights"
    assert {path.name for path in folder.iterdir()} == {*SMALL}
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 5_000_000
    for model in SMALL:
        found = UserWeights.find(Path("nowhere"), model)
        assert found is not None and file_sha256(found.path) == shipped.checkpoint(model).weights.sha256
