"""`earmark budget`: the budgets and how they stand."""

import inspect
from collections.abc import Iterable
from typing import Annotated, Final, ParamSpec, cast
from zoneinfo import ZoneInfo

import typer

from earmark.budget.budget import Budget, Pause
from earmark.budget.fields import (
    PLAIN_FIELDS,
    GivenFields,
    PlainField,
    PlainValue,
    show_plain,
)
from earmark.budget.path import parse_path
from earmark.budget.share import percent
from earmark.cli.options import ActorOption
from earmark.cli.session import CommandBody, Session, command, group
from earmark.cli.store_access import open_books, open_existing, operator, settings_of
from earmark.cli.table import Table
from earmark.cli.time_options import AHEAD, WHEN
from earmark.clock import iso
from earmark.errors import InvalidConfig, NotFound
from earmark.ledger.answers import Balance
from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.workspace.resources.books import BUDGET, BudgetStanding
from earmark.workspace.time_expressions import parse_not_past

P = ParamSpec("P")

app = group("Set, show, pause, resume and extend budgets.")

Path = Annotated[str, typer.Argument(metavar="PATH", help="The budget: acme/research/agent-7.")]
ReasonOption = Annotated[str, typer.Option(help="Why, kept in the entries.")]

_HEADINGS: Final = ("budget", "limit", ">settled", ">held", ">available", ">used", "resets", "")


def _with_plain_options(body: CommandBody[P]) -> CommandBody[P]:
    """Give the command *body* an option for each plain field of a budget, before its others."""
    *own, _ = inspect.signature(body).parameters.values()
    body.__signature__ = inspect.Signature([*own, *map(_plain_option, PLAIN_FIELDS)])  # pyright: ignore[reportFunctionMemberAccess]
    return body


def _plain_option(field: PlainField) -> inspect.Parameter:
    name = field.name.replace("_", "-")
    names = f"--{name}/--no-{name}" if field.type is bool else f"--{name}"
    option = typer.Option(names, metavar=field.rules.metavar, help=field.rules.about)
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[field.type | None, option],
    )


@command(app, "set")
@_with_plain_options
def set_(
    session: Session,
    path: Path,
    *,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="'10 usd per day', '3 calls per 30min', '100 usd total'; repeatable.",
        ),
    ] = None,
    alert: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SHARE", help="Share of each limit at which to alert: 0.8; repeatable."
        ),
    ] = None,
    no_limits: Annotated[bool, typer.Option("--no-limits", help="Take its limits away.")] = False,
    count_back: Annotated[
        bool,
        typer.Option("--count-back", help="A limit of a new window counts its interval so far."),
    ] = False,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    **plain: PlainValue | None,
) -> None:
    """Make a budget, or change one: what is not given stays, what was spent stays spent."""
    if limit and no_limits:
        raise typer.BadParameter("give limits or take them away", param_hint="'--no-limits'")
    settings = settings_of(session)
    if path in settings.budgets:
        detail = "this budget is set there: change it there, for the file comes first"
        raise InvalidConfig(place=f'budgets."{path}" in {settings.file}', detail=detail)
    with open_books(session, settings) as ledger:
        limits = () if no_limits else limit or None
        given = {"limits": limits, "alerts": alert or None, **plain}
        budget = ledger.set_budget(
            path,
            actor=_who(actor),
            reason=reason,
            count_back=count_back,
            **cast("GivenFields", given),
        )
        _answer(session, ledger, [budget])


@command(app)
def show(
    session: Session,
    path: Annotated[
        str | None, typer.Argument(metavar="[PATH]", help="Only this one; all unless given.")
    ] = None,
    *,
    tree: Annotated[bool, typer.Option("--tree", help="Those below it and of runs too.")] = False,
) -> None:
    """Show each limit in its current interval: settled, held, available, and when it resets."""
    with _books(session) as ledger:
        if tree or path is None:
            # There is a budget for every run there ever was: shown by name, or in a tree.
            found = ledger.budgets(path, kind=None if tree else "budget")
        else:
            one = ledger.store.budget(parse_path(path))
            found = [] if one is None else [one]
        if path is not None and not found:
            raise NotFound(kind="budget", name=path, hint=f"`earmark budget set {path}` makes it")
        _answer(session, ledger, found)


@command(app)
def pause(
    session: Session,
    path: Path,
    *,
    until: Annotated[str | None, typer.Option(metavar=WHEN, help=AHEAD)] = None,
    actor: ActorOption = None,
    reason: ReasonOption = "",
) -> None:
    """Refuse all that would be spent at or below PATH, until resumed or until WHEN."""
    with _books(session) as ledger:
        end = None if until is None else parse_not_past(until, ledger.clock)
        budget = ledger.pause(path, actor=_who(actor), reason=reason, until=end)
        _answer(session, ledger, [budget])


@command(app)
def resume(
    session: Session, path: Path, *, actor: ActorOption = None, reason: ReasonOption = ""
) -> None:
    """End a pause."""
    with _books(session) as ledger:
        _answer(session, ledger, [ledger.resume(path, actor=_who(actor), reason=reason)])


@command(app)
def extend(
    session: Session,
    path: Path,
    limit: Annotated[
        str, typer.Argument(metavar="LIMIT", help="What to add, as a limit: '2 usd per day'.")
    ],
    *,
    until: Annotated[str, typer.Option(metavar=WHEN, help=AHEAD)],
    actor: ActorOption = None,
    reason: ReasonOption = "",
) -> None:
    """Add to the limit of the same unit and window, until WHEN."""
    with _books(session) as ledger:
        end = parse_not_past(until, ledger.clock)
        budget = ledger.extend_budget(path, limit, until=end, actor=_who(actor), reason=reason)
        _answer(session, ledger, [budget])


def _books(session: Session) -> Ledger:
    settings = settings_of(session)
    return open_books(session, settings) if settings.budgets else open_existing(session)


def _who(actor: str | None) -> str:
    return operator() if actor is None else actor


# The answer ---------------------------------------------------------------------------------------


def _answer(session: Session, ledger: Ledger, budgets: Iterable[Budget]) -> None:
    balances = [(each, ledger.balances(each.path)) for each in budgets]
    now = ledger.clock.instant()
    found = [BudgetStanding(*each, now) for each in balances]
    rows = [row for each in found for row in _rows(each)]
    form = [BUDGET.encode(each) for each in found]
    session.answer(
        {"budgets": form}, Table(headings=_HEADINGS, rows=rows, empty="no budgets"), *_notes(found)
    )


def _rows(standing: BudgetStanding) -> Iterable[tuple[str, ...]]:
    budget = standing.budget
    paused = _paused(standing.paused)
    zone = ZoneInfo(budget.timezone)
    if not standing.balances:
        yield (budget.path, "no limit of its own", "", "", "", "", "", paused)
    for balance in standing.balances:
        resets = balance.resets_at
        yield (
            budget.path,
            balance.describe(),
            str(balance.settled),
            str(balance.held),
            str(balance.available),
            _used(balance),
            "never" if resets is None else f"{resets.astimezone(zone):%Y-%m-%d %H:%M %Z}",
            "; ".join(filter(None, ("observed" if balance.observed else "", paused))),
        )


def _used(balance: Balance) -> str:
    limit, left = _count(balance.limit), _count(balance.available)
    if not limit:
        return "" if left == 0 else "over"
    return f"{percent(limit - left, limit)} %"


def _count(amount: Money | int) -> int:
    return amount.in_nanos if isinstance(amount, Money) else amount


def _paused(pause: Pause | None) -> str:
    if pause is None:
        return ""
    by = f" by {pause.actor}" if pause.actor else ""
    until = "" if pause.until is None else f" until {iso(pause.until)}"
    return f"paused{by}{until}" + (f": {pause.reason}" if pause.reason else "")


def _notes(found: list[BudgetStanding]) -> list[str]:
    plain = [
        f"{each.budget.path}: {field.label} {show_plain(field.of(each.budget))}"
        for each in found
        for field in PLAIN_FIELDS
        if field.of(each.budget) != field.default
    ]
    return plain + [
        f"{each.budget.path}: {extension.limit} more until {iso(extension.until)}"
        + (f" by {extension.actor}" if extension.actor else "")
        + (f": {extension.reason}" if extension.reason else "")
        for each in found
        for extension in each.budget.extensions
    ]
