"""The ``probebench`` command. Commands load when they are called, so that help and listings start at once."""

import importlib
import os
import sys
from pathlib import Path

import click

from probebench import __version__
from probebench.cli.console import ProgressLines, warnings_as_lines
from probebench.errors import ProbebenchError, describe_os_error, one_line
from probebench.progress import heard_by

# name: (module, one line of help)
_COMMANDS = {
    "models": ("models", "List, show and check the checkpoints of the registry."),
    "datasets": ("datasets", "List, show and prepare data sets."),
    "sources": ("sources", "List, show and prepare captioned images to pre-train on."),
    "layers": ("layers", "List the layers that a checkpoint offers, with their widths."),
    "extract": ("extract", "Run images through a checkpoint and keep the features."),
    "eval": ("eval", "Probe the cached features on few-shot draws and full data."),
    "predict": ("predict", "Classify images with a probe that eval kept."),
    "zeroshot": ("zeroshot", "Compare cached image embeddings with class names in words."),
    "finetune": ("finetune", "Train whole networks on the draws of the probes."),
    "pretrain": ("pretrain", "Train a network from random weights on a source, with every fact known."),
    "run": ("run", "Do what is missing of an experiment that a file declares."),
    "cache": ("cache", "List, verify and remove cached features."),
    "results": ("results", "List, compare, export and import results."),
    "plot": ("plot", "Draw results."),
    "study": ("study", "Ask which pre-training data and method transfers best, of all results."),
    "submit": ("submit", "Gather a checkpoint's results for a pull request."),
    "leaderboard": ("leaderboard", "Verify submissions, and build the leaderboard page."),
    "quickstart": ("quickstart", "The whole way, offline: four checkpoints, digits, a table and a page."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names all commands, in the order of work."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports one command."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"probebench.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="probebench")
@click.option(
    "--registry",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A folder of your own entries (checkpoints/, datasets/, recipes/, ...); also $PROBEBENCH_REGISTRY.",
)
@click.pass_context
def cli(ctx: click.Context, registry: tuple[Path, ...]) -> None:
    """Which pre-training data and method transfers best, with few labels and with many?

    Features are extracted once and kept under $PROBEBENCH_HOME (default: the user's cache folder); probes, results and
    the leaderboard are made from them. Start with: probebench quickstart
    """
    ctx.obj = {"registry": registry}
    ctx.with_resource(warnings_as_lines())
    ctx.with_resource(heard_by(ctx.with_resource(ProgressLines("files", after=2.0))))


def main() -> None:
    """Runs the command line; every error that a user can mend is one line, and exit codes are 0, 1 or 2."""
    try:
        code = cli.main(prog_name="probebench", standalone_mode=False)
    except ProbebenchError as error:
        code = _fail(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        code = 2
    except click.UsageError as error:
        help_for = error.ctx.command_path if error.ctx else "probebench"
        code = _fail(f"{error.format_message()} (see {help_for} --help)", 2)
    except click.ClickException as error:
        code = _fail(error.format_message(), 1)
    except (click.Abort, KeyboardInterrupt):
        code = _fail(_INTERRUPTED, 1)
    except BrokenPipeError:
        # The reader of our output has left (head, less): nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:
        code = _fail(describe_os_error(error), 1)
    except Exception as error:
        if _was_interrupted(error):
            sys.exit(_fail(_INTERRUPTED, 1))
        if os.environ.get("PROBEBENCH_TRACEBACK"):
            raise
        code = _fail(
            f"this should not have happened ({type(error).__name__}: {one_line(error)}); "
            "set PROBEBENCH_TRACEBACK=1 to see where, and please report it",
            1,
        )
    sys.exit(code if isinstance(code, int) else 0)


_INTERRUPTED = "interrupted; what was finished is kept, and the same command goes on from there"


def _was_interrupted(error: BaseException | None) -> bool:
    """Looks for Ctrl-C under an error: a library that is interrupted while it loads raises an ImportError."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _fail(message: str, code: int) -> int:
    click.echo(f"error: {message}", err=True)
    return code
