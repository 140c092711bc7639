from pathlib import Path

from probebench.registry import Registry
from probebench.tools.model_table import models_page

ROOT = Path(__file__).parents[2]


def test_the_table_of_checkpoints_is_true(shipped: Registry) -> None:
    assert (ROOT / "docs" / "models.md").read_text() == models_page(list(shipped.checkpoints.values())), "run make docs"


def test_every_checkpoint_is_listed_once_and_counted_once(shipped: Registry) -> None:
    page = models_page(list(shipped.checkpoints.values()))
    for name in shipped.checkpoints:
        assert page.count(f"| `{name}` |") == 1
    methods = ("| language-", "| image-", "| supervised", "| none")
    rows = [line for line in page.splitlines() if line.startswith(methods)]
    counted = sum(int(cell) for row in rows for cell in row.split("|")[3:-1] if cell.strip())
    assert counted == len(shipped.checkpoints)
