"""The commands, each loaded when it is used: `earmark --help` loads none of them."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from earmark import __version__
from earmark.cli.session import Session, write_json
from earmark.errors import OUTCOMES, EarmarkError

#: Every command: the module it is in, and its line in `earmark --help`.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "plan": ("plan", "Price a composition as [min, max] before it runs."),
    "run": ("run", "Run a composition under a budget of its own."),
    "exec": ("exec", "Run any agent's command under a budget, without changing it."),
    "trace": ("trace", "Show a past run, or list the latest ones."),
    "price": ("price", "Show what a model costs, and what a call of it would."),
    "budget": ("budget", "Set, show, pause, resume and extend budgets."),
    "holds": ("holds", "List reservations whose true cost is not known, and settle them."),
    "entries": ("entries", "List what was booked, in the order of commits."),
    "audit": ("audit", "Recompute every balance from the entries and compare."),
    "heartbeat": ("heartbeat", "Run the always-on dispatcher, or one cycle of it."),
    "task": ("task", "Add, list, show, approve, grade and accept tasks of the board."),
    "quilt": ("quilt", "Get, put and list patches of the agents' shared memory."),
    "nudge": ("nudge", "List, acknowledge and test nudges."),
    "model": ("model", "Serve the small local model to other programs: no key, no account."),
    "serve": ("serve", "Serve health, metrics, the API and the pages over HTTP."),
    "gateway": ("gateway", "Serve models to any client, each call held on its token's budget."),
    "token": ("token", "Make, list and revoke tokens of the service and the gateway."),
    "config": ("config", "Show the configuration in force, and allow one that was found."),
    "backup": ("backup", "Copy the books while they are in use, and audit the copy."),
    "store": ("store", "Show, migrate and copy what the books are kept in."),
    "demo": ("demo", "See it work: a real model on this machine, no key, no account."),
}

_DONE: Final = 0
_BAD_INPUT: Final = 1
#: What Typer raises for a wrong command line: the root of `BadParameter`, whose name and place
#: depend on Typer's version.
_COMMAND_LINE_ERROR: Final = next(
    base
    for base in reversed(typer.BadParameter.__mro__)
    if issubclass(base, Exception) and hasattr(base, "format_message")
)


class Commands(TyperGroup):
    """The commands, each imported when it is used."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - Typer's own options, passed on
        options["commands"] = {
            name: TyperCommand(name, help=h) for name, (_, h) in COMMANDS.items()
        }
        super().__init__(**options)

    def get_command(self, ctx: object, cmd_name: str) -> TyperCommand | TyperGroup | None:
        """Return the command *cmd_name* from its module."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"earmark.cli.{COMMANDS[cmd_name][0]}")
        return cast("TyperCommand | TyperGroup", get_command(module.app))

    def format_commands(self, ctx: object, formatter: Any) -> None:  # noqa: ANN401 - Typer's, private
        """List the commands without loading them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


app = typer.Typer(
    name="earmark",
    cls=Commands,
    help="Runs AI agent work under budgets that cannot be overspent.",
    epilog="Exit codes: 0 done, 1 bad input, 2 refused, 3 a stage failed.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def start(
    context: typer.Context,
    *,
    store: Annotated[str | None, typer.Option(metavar="URL", help=Session.STORE_HELP)] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help=Session.CONFIG_HELP)] = None,
    json: Annotated[bool, typer.Option("--json", help=Session.JSON_HELP)] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Keep what every command may be told."""
    context.obj = Session(store=store, config=config, json=json)
    if version:
        context.obj.answer({"version": __version__}, f"earmark {__version__}")
    elif context.invoked_subcommand is None:
        sys.stdout.write(context.get_help() + "\n")


def run_command(argv: Sequence[str]) -> int:
    """Run the command line *argv* and return its exit code; what fails is said."""
    # Not Typer's own `main`, which prints errors its way and hides a broken pipe.
    command = get_command(app)
    try:
        with command.make_context("earmark", [*argv]) as context:  # it takes them out
            command.invoke(context)
    except typer.Exit as leave:
        return leave.exit_code
    except EarmarkError as error:
        complain(argv, str(error), _document(error))
        return OUTCOMES[error.code].exit_code
    except _COMMAND_LINE_ERROR as error:
        said = _usage(error)
        complain(argv, said, {"error": {"code": "input_error", "message": said}})
        return _BAD_INPUT
    return _DONE


def complain(argv: Sequence[str], sentence: str, document: Mapping[str, Any]) -> None:
    """Say on standard error what failed, and in JSON on standard output if *argv* asks for it."""
    with suppress(OSError):
        sys.stderr.write(f"earmark: {sentence}\n")
    # What follows `--` is of another command.
    if "--json" in argv[: argv.index("--") if "--" in argv else len(argv)]:
        write_json(document)


def _document(error: EarmarkError) -> Mapping[str, Any]:
    """Return the one JSON document of a command that failed; a run's statement has its error."""
    if error.statement is not None:
        return error.statement.to_json()
    return {"error": {"code": error.code, "message": str(error), **error.facts()}}


def _usage(error: Exception) -> str:
    said = (
        cast("typer.BadParameter", error).format_message().replace("Value error, ", "").rstrip(".")
    )
    context = getattr(error, "ctx", None)
    return f"{said} (`{context.command_path} --help` shows how)" if context else said
