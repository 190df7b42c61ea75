"""`earmark exec`: any agent's command under a budget, through a gateway of its own or a team's."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TextIO

import typer

from earmark.budget.path import parse_path
from earmark.cli.child_process import ChildProcess, CommandNotStarted, check_program
from earmark.cli.exec_notices import notices_of_limits, notices_of_providers
from earmark.cli.exec_statement import write_statement
from earmark.cli.gateway import check_installed
from earmark.cli.mistyped import refuse_mistyped
from earmark.cli.session import Session, command, group
from earmark.cli.store_access import open_books, operator, settings_of
from earmark.config.assemble import key_from, known_providers
from earmark.config.settings import Settings
from earmark.errors import EarmarkError, InvalidConfig, InvalidUsage
from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.stores.open_tables import open_tables

if TYPE_CHECKING:
    from earmark.gateway.command_session import CommandSession
    from earmark.workspace.session_statement import SessionStatement

app = group("Run any agent's command under a budget, without changing it.")

#: The API that a program asks whatever its settings say.
_SPEAKS: Final = {"claude": "anthropic", "codex": "openai"}
#: Different messages of the gateway that are kept.
_MOST_MESSAGES: Final = 20
#: The exit code of a command that ended with 0 and was refused a request.
_REFUSED: Final = 2
_TOKEN: Final = "EARMARK_GATEWAY_TOKEN"  # noqa: S105 - the name of a variable


@command(
    app, "exec", options_first=True, json_help="Write the statement, on standard error, as JSON."
)
def exec_(
    session: Session,
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="-- COMMAND...", help="A program and its own arguments."),
    ],
    *,
    budget: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="The budget that pays; a new one is below it."),
    ] = None,
    up_to: Annotated[
        str | None,
        typer.Option(metavar="USD", help="The most it may spend, beside the limits of PATH."),
    ] = None,
    gateway: Annotated[
        str | None,
        typer.Option(metavar="URL", help=f"A team's gateway instead; its token is in {_TOKEN}."),
    ] = None,
    statement: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the statement there too, as JSON.")
    ] = None,
    fail_if_refused: Annotated[
        bool, typer.Option("--fail-if-refused", help="End with 2 where a request was refused.")
    ] = False,
) -> None:
    """Run a command whose model calls are held on a budget; what does not fit is refused.

    The command has the terminal, and this one ends with its exit code. What its calls came to is
    said on standard error, with --json as JSON there. It reads the gateway's address and a token
    from its environment, where no provider's key is left.
    """
    try:
        check_program(arguments[0], os.environ)
        with ExitStack() as stack:
            file = None if statement is None else stack.enter_context(_open(statement))
            if gateway is None:
                settings = settings_of(session)
                code, found = _with_own_gateway(session, settings, arguments, budget, up_to)
            else:
                _check_of_team(budget, up_to, fail_if_refused=fail_if_refused)
                code, found = _with_team_gateway(session, gateway, arguments)
            if found is not None:
                write_statement(session, found, arguments[0], code, file)
                if fail_if_refused and found.refusals:
                    code = code or _REFUSED
    except CommandNotStarted as error:
        session.tell(str(error))
        raise typer.Exit(error.exit_code) from None
    raise typer.Exit(code)


def _check_of_team(budget: str | None, up_to: str | None, *, fail_if_refused: bool) -> None:
    """Refuse options of a gateway of one's own."""
    if budget is not None or up_to is not None:
        words = "has the budget of its token: give no --budget, no --up-to"
    elif fail_if_refused:
        words = "alone knows what was refused: give no --fail-if-refused"
    else:
        return
    raise InvalidUsage(detail=f"a team's gateway {words}")


def _with_own_gateway(
    session: Session,
    settings: Settings,
    arguments: Sequence[str],
    budget: str | None,
    up_to: str | None,
) -> "tuple[int, SessionStatement | None]":
    """Run a command through a gateway in this process; return its exit code and its statement."""
    if budget is None:
        raise InvalidUsage(detail="name the budget that pays: --budget PATH")
    under, most = parse_path(budget), None if up_to is None else Money(up_to)
    check_installed("earmark exec")
    _check_keys(settings, arguments)
    with open_books(session, settings) as ledger:
        refuse_mistyped(ledger, under)
        # What a server needs takes a while to load: not before all else is known to be good.
        from earmark.gateway.app import Gateway  # noqa: PLC0415
        from earmark.gateway.client_environment import client_command  # noqa: PLC0415
        from earmark.gateway.server import GRACE_S, running  # noqa: PLC0415

        own = _own_session(session, settings, ledger, under, most)
        child = ChildProcess()
        with (
            closing(open_tables(ledger.store)) as tables,
            child.signals(),
            log_kept_back(session),
        ):
            gateway = Gateway(
                ledger,
                own.check_token,
                settings,
                key=key_from(os.environ),
                tables=tables,
                on_refusal=own.refused,
            )
            with running(gateway) as url:
                client = client_command(
                    arguments,
                    os.environ,
                    url=url,
                    token=own.token,
                    secrets=secret_variables(settings),
                )
                code = child.run(client.arguments, client.environment)
                if own.has_calls_under_way():
                    session.tell(f"calls under way are waited for, {GRACE_S} s at most")
            return code, _statement_or_none(session, own.statement)


def _own_session(
    session: Session, settings: Settings, ledger: Ledger, under: str, most: Money | None
) -> "CommandSession":
    """Open the command's budget; tell what to know of it, with `--json` in the statement alone."""
    from earmark.gateway.command_session import CommandSession  # noqa: PLC0415

    limits = notices_of_limits(ledger, under, most)
    notices = [*limits, *notices_of_providers(settings, os.environ)]
    own = CommandSession(ledger, under, most, actor=operator(), notices=notices)
    for notice in () if session.json else notices:
        session.tell(notice)
    return own


def _with_team_gateway(
    session: Session, url: str, arguments: Sequence[str]
) -> "tuple[int, SessionStatement | None]":
    """Run a command through another program's gateway; return its exit code and its statement."""
    from earmark.gateway.client_environment import client_command  # noqa: PLC0415
    from earmark.gateway.team_gateway import TeamGateway  # noqa: PLC0415

    token = os.environ.get(_TOKEN)
    if not token:
        raise InvalidConfig(place="--gateway", detail=f"the variable {_TOKEN} holds no token")
    with TeamGateway(url, token) as team:
        client = client_command(arguments, os.environ, url=team.url, token=token)
        child = ChildProcess()
        with child.signals():
            code = child.run(client.arguments, client.environment)
            return code, _statement_or_none(session, team.statement)


def _statement_or_none(
    session: Session, statement: "Callable[[], SessionStatement]"
) -> "SessionStatement | None":
    """Return the statement; where it cannot be had, say so: the command's exit code stands."""
    try:
        return statement()
    except EarmarkError as error:
        session.tell(f"no statement: {error}")
        return None


def _check_keys(settings: Settings, arguments: Sequence[str]) -> None:
    """Refuse a command that no provider could answer, naming the variables of their keys.

    Raises:
        InvalidConfig: No provider, or none of the API that the command is known to speak, has a
            key.
    """
    from earmark.gateway.client_environment import program_of  # noqa: PLC0415
    from earmark.gateway.upstreams import family_of  # noqa: PLC0415

    program, _ = program_of(arguments)
    family = _SPEAKS.get(program)
    variables = {
        name: each.key_variable
        for name, each in known_providers(settings).items()
        if family in {None, family_of(each.api)}
    }
    if any(each is None or os.environ.get(each) for each in variables.values()):
        return
    who = f"'{program}' needs a provider's key" if family else "no provider has a key"
    named = ", ".join(f"{each} for '{name}'" for name, each in variables.items())
    detail = f"{who}; a subscription's login is not used. Set one of: {named}"
    raise InvalidConfig(place="the environment", detail=detail)


def secret_variables(settings: Settings) -> frozenset[str]:
    """Return the names of the variables that hold what only Earmark needs to know."""
    names = [each.key_variable for each in known_providers(settings).values()]
    for each in settings.nudges.values():
        names += each.secret_variables
    return frozenset(name for name in names if name is not None)


@contextmanager
def log_kept_back(session: Session) -> Generator[None]:
    """Show what is logged in the block after it: within, the terminal is the command's."""
    handler, root = _KeptBack(), logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        for message, count in handler.messages.items():
            session.tell(message if count == 1 else f"{message} ({count} times)")


class _KeptBack(logging.Handler):
    """Keeps messages, each once with how often it came."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        message = record.getMessage()
        if message in self.messages or len(self.messages) < _MOST_MESSAGES:
            self.messages[message] += 1


def _open(path: Path) -> TextIO:
    """Return the file of a statement, before anything is spent."""
    try:
        # What was there stays until there is another statement to write.
        return path.open("a", encoding="utf-8")
    except OSError as error:
        why = error.strerror or str(error)
        hint = "" if path.parent.is_dir() else f": make the folder '{path.parent}' first"
        raise InvalidUsage(detail=f"--statement '{path}' cannot be written: {why}{hint}") from None
