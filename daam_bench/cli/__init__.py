"""The command line. Libraries are imported inside the commands, so that `--help` is quick.

Exit codes: 0 well; 1 the answer is no (results differ, a check failed), or an error of no kind below; 2 wrong
usage or configuration; 3 data; 4 encoder; 5 cache; 6 records and tables; 7 the machine refuses
(a full disk, lost permissions); 130 stopped by Ctrl-C.
"""

import gc
import logging
import os
import sys
from typing import Annotated

import typer

from daam_bench import __version__
from daam_bench.cli.cache import cache_app
from daam_bench.cli.lists import datasets, parameters, schema, unlock, variants
from daam_bench.cli.new import new_app
from daam_bench.cli.planning import doctor, plan
from daam_bench.cli.results import diff, explain
from daam_bench.cli.running import run
from daam_bench.errors import DaamBenchError, MachineError

app = typer.Typer(
    help="Benchmark of small attention modules on cached hidden states of frozen transformers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"daam-bench {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    pass


for command in (plan, doctor, run, explain, diff, variants, datasets, parameters, schema, unlock):
    app.command()(command)
app.add_typer(cache_app, name="cache")
app.add_typer(new_app, name="new")


def main() -> None:
    """Run the command line; a user's mistake ends in one message and an exit code of its kind."""
    # What large libraries make as they are imported is no garbage: to look for it takes a tenth of a start.
    gc.set_threshold(100_000, 50, 50)
    if sys.argv[1:2] != ["step"]:  # a step has a log file
        logging.basicConfig(format="%(levelname)s: %(message)s")
    # What fails while a library lets go of a file is said in one line; h5py would print a traceback, too.
    sys.unraisablehook = lambda event: logging.warning("%s", " ".join(str(event.exc_value).split()))
    usual, sys.excepthook = sys.excepthook, lambda *_: None
    try:
        from daam_bench.steps import step_app

        app.add_typer(step_app, name="step")
        # `app()` would set an excepthook of its own; alone, typer would draw a mistake as a box.
        code = typer.main.get_command(app)(prog_name="daam-bench", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except typer.TyperException as mistake:
        _say_usage(mistake)
    except DaamBenchError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:  # a full disk, a folder that may not be written to
        reason = " ".join(str(error.strerror or error).split())  # HDF5's reasons have several lines
        _fail(f"{error.filename or 'input or output'}: {reason}", MachineError.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception:
        sys.excepthook = usual  # a fault of ours
        raise


def _say_usage(mistake: typer.TyperException) -> None:
    said, context = mistake.format_message(), getattr(mistake, "ctx", None)
    if not said:  # a group without a command: its help was shown
        sys.exit(mistake.exit_code)
    said = " ".join(said.split())
    said += "" if said.endswith((".", "?")) else "."
    _fail(f"{said} See {context.command_path} --help." if context else said, mistake.exit_code)


def _fail(message: str, code: int) -> None:
    colour = None if os.environ.get("NO_COLOR") else typer.colors.RED
    typer.secho(f"error: {message}", fg=colour, err=True)
    sys.exit(code)
