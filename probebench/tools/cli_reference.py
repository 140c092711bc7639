"""Writes docs/cli.md from the commands themselves: ``python -m probebench.tools.cli_reference``."""

from collections.abc import Iterator

import click

from probebench.cli.main import cli

WIDTH = 100


def pages(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yields the help of a command and of everything below it, as Markdown."""
    yield f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from pages(below, click.Context(below, info_name=name, parent=context, max_content_width=WIDTH))


def reference() -> str:
    """Returns the whole page."""
    context = click.Context(
        cli, info_name="probebench", max_content_width=WIDTH, terminal_width=WIDTH, **cli.context_settings
    )
    head = "# Command line\n\nMade by `make docs` from the commands themselves; a test keeps it true.\n"
    return "\n".join([head, *pages(cli, context)])


if __name__ == "__main__":
    click.echo(reference(), nl=False)
