import re
from pathlib import Path

from probebench.tools.cli_reference import reference

ROOT = Path(__file__).parents[2]


def test_the_command_line_reference_is_true() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == reference(), "run make docs"


def test_the_readme_names_only_commands_that_exist() -> None:
    known = set(re.findall(r"^## (probebench.*)$", reference(), flags=re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md"):
        for line in re.findall(r"^(?:\$ )?(probebench [^\n]*)$", (ROOT / page).read_text(), flags=re.MULTILINE):
            for command in line.split("&&"):
                words = command.split()
                assert any(" ".join(words[:count]) in known for count in (2, 3)), command
