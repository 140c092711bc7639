import re
import tomllib
from pathlib import Path

from probebench.registry import Registry
from probebench.registry.dataset import DatasetSpec
from probebench.tools.dataset_table import dataset_table, with_table

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"


def test_the_table_has_a_row_for_each_set(shipped: Registry) -> None:
    rows = dataset_table(shipped.datasets.values()).splitlines()
    assert len(rows) == 2 + len(shipped.datasets)
    link = "[Describable Textures Dataset, partition 1](https://www.robots.ox.ac.uk/~vgg/data/dtd/)"
    assert f"| `dtd` | {link} | 47 | 1,880 | 1,880 | 1,880 | accuracy | unknown |" in rows


def test_the_page_is_true(shipped: Registry) -> None:
    page = PAGE.read_text()
    assert with_table(page, dataset_table(shipped.datasets.values())) == page, "run make docs"


def test_the_example_of_an_entry_reads() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert DatasetSpec.model_validate(tomllib.loads(example)).options == {"domain": "sketch"}
