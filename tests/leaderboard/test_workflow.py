"""The workflow that judges submissions must not run, or hand anything to, what it judges."""

import re
from pathlib import Path
from typing import Any

import yaml

WORKFLOW = Path(__file__).parents[2] / ".github" / "workflows" / "submissions.yml"


def workflow() -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text())
    return loaded


def test_it_may_only_read_and_knows_no_secret() -> None:
    flow = workflow()
    assert flow["permissions"] == {"contents": "read"}
    # YAML reads the key "on" as true.
    assert list(flow[True]) == ["pull_request"] and flow[True]["pull_request"]["paths"] == ["leaderboard/**"]
    lines = [line for line in WORKFLOW.read_text().splitlines() if not line.startswith("#")]
    assert not any(
        word in line for line in lines for word in ("secrets", "github.token", "pull_request_target", "cache")
    )
    assert all("permissions" not in job for job in flow["jobs"].values())


def test_it_runs_the_base_and_reads_the_pull_request() -> None:
    (job,) = workflow()["jobs"].values()
    checkouts = [step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/checkout")]
    assert [one["path"] for one in checkouts] == ["base", "submitted"]
    assert checkouts[0]["ref"] == "${{ github.event.pull_request.base.sha }}" and "ref" not in checkouts[1]
    # The branch that the pull request is for is the first parent of the merge that is checked out.
    assert checkouts[1]["fetch-depth"] == 2
    assert all(one["persist-credentials"] is False for one in checkouts)
    runs = [step for step in job["steps"] if "run" in step]
    assert all(step["working-directory"] == "base" for step in runs)
    # Nothing that a stranger can name, such as a branch, goes into a shell.
    assert not any("${{" in step["run"] for step in runs)
    stop, last = runs[-1]["run"].splitlines()[1:]
    assert stop == 'echo "::stop-commands::$word"'
    assert last == "probebench leaderboard verify ../submitted/leaderboard --base HEAD^1"


def test_what_it_uses_is_pinned() -> None:
    (job,) = workflow()["jobs"].values()
    for step in job["steps"]:
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"]), step
    (install,) = (step["run"] for step in job["steps"] if "pip install" in step.get("run", ""))
    assert re.search(r"uv==\d+\.\d+\.\d+", install) and "--constraint constraints.txt" in install
    assert job["runs-on"] == "ubuntu-24.04"
