"""`earmark token`: who may use the service or the gateway, and for what."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import Annotated, Final, NamedTuple

import typer

from earmark.cli.session import Session, command, group
from earmark.cli.store_access import open_books, open_existing, settings_of
from earmark.cli.table import Table
from earmark.cli.time_options import AHEAD, WHEN
from earmark.clock import Clock, from_datetime, iso
from earmark.errors import InvalidUsage
from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.stores.open_tables import open_tables
from earmark.workspace.gateway_access import GatewayAccess, parse_mode
from earmark.workspace.resources.agents import NEW_TOKEN, TOKEN
from earmark.workspace.time_expressions import parse_not_past
from earmark.workspace.tokens import DEFAULT_OVERLAP, TokenRow, Tokens

app = group("Make, list, rotate and revoke tokens of the service and of the gateway.")

NamedToken = Annotated[
    str,
    typer.Argument(metavar="TOKEN", help="Its id or its name, as `earmark token list` shows them."),
]

_HEADINGS: Final = ("token", "name", "for", "made", "expires", "")

ServiceScope = Annotated[
    str | None,
    typer.Option(
        "--scope",
        metavar="SCOPE",
        help="Of the service: read; spend: also reservations and tasks; admin: also budgets and"
        " approvals.",
    ),
]
ProviderNames = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Who may be called; all unless named. Repeatable."),
]
ModelNames = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Which models may be called, such as 'gpt-4o*'; all unless named. Repeatable.",
    ),
]

MayBound = Annotated[
    bool,
    typer.Option(
        "--may-bound",
        help="A request that nothing bounds passes, for as much as its x-earmark-at-most says.",
    ),
]
Tier = Annotated[
    str, typer.Option(metavar="NAME", help="The service_tier of requests that name none.")
]
RefusalStatus = Annotated[
    int | None,
    typer.Option(
        metavar="STATUS",
        help="What a budget's refusal is sent with: 402, 403, 429 or 400; by client unless given.",
    ),
]


Mode = Annotated[
    str | None,
    typer.Option(
        metavar="MODE",
        help="enforce, unless given: limits bind. observe: in a tree marked --observed, what does"
        " not fit is let in, and the answer says what would have been refused.",
    ),
]


@command(app)
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom it is for.")],
    *,
    scope: ServiceScope = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Of the gateway: the budget that its calls spend."),
    ] = None,
    provider: ProviderNames = None,
    model: ModelNames = None,
    most: Annotated[
        str | None, typer.Option(metavar="USD", help="The most that one call may hold.")
    ] = None,
    may_bound: MayBound = False,
    tier: Tier = "",
    refusal_status: RefusalStatus = None,
    mode: Mode = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar=WHEN, help=f"From then on it opens nothing: {AHEAD}"),
    ] = None,
) -> None:
    """Make a token and print it: this once, as only its digest is kept.

    Give --scope for one of the service, or --budget for one of the gateway.
    """
    if (scope is None) == (budget is None):
        raise InvalidUsage(detail="give either --scope or --budget")
    terms = _Terms(provider, model, most, may_bound, tier, refusal_status, mode)
    access = _access(budget, terms)
    with open_books(session, settings_of(session)) as ledger:
        until = 0 if expires is None else _instant(expires, ledger.clock)
        with _tokens(ledger) as tokens:
            if access is None:
                row, secret = tokens.create(name, [scope or ""], until)
            else:
                find = ledger.store.budget
                row, secret = tokens.create_for_gateway(name, access, until, budget_at=find)
        note = _note(access, ledger)
    session.answer(NEW_TOKEN.encode(row, token=secret), secret)
    session.tell("keep it now: it is not shown again")
    if note:
        session.tell(note)


@command(app, "list")
def list_(session: Session) -> None:
    """List every token there ever was; the tokens themselves are kept nowhere."""
    with open_existing(session) as ledger, _tokens(ledger) as tokens:
        found, now = tokens.all(), ledger.clock.instant()
    table = Table(headings=_HEADINGS, rows=[_row(each, now) for each in found], empty="no tokens")
    session.answer({"tokens": [TOKEN.encode(each) for each in found]}, table)


@command(app)
def show(session: Session, token: NamedToken) -> None:
    """Show one token and what it may do; the token itself is kept nowhere."""
    with open_existing(session) as ledger, _tokens(ledger) as tokens:
        row, now = tokens.find(token), ledger.clock.instant()
        facts = _facts(row, now, is_observed=_is_observed(row.access, ledger))
    session.answer(TOKEN.encode(row), Table(headings=("", ""), rows=facts))


@command(app)
def rotate(
    session: Session,
    token: NamedToken,
    *,
    overlap: Annotated[
        str,
        typer.Option(metavar="DURATION", help="How long the secret before opens; 0s: no more."),
    ] = DEFAULT_OVERLAP,
) -> None:
    """Give a token another secret and print it: this once; all else of the token stays."""
    with open_existing(session) as ledger, _tokens(ledger) as tokens:
        row, secret = tokens.rotate(tokens.find(token).id, overlap)
    session.answer(NEW_TOKEN.encode(row, token=secret), secret)
    until = f"until {_moment(row.overlap_until)}" if row.overlap_until else "no more"
    session.tell(f"keep it now: it is not shown again; the one before opens {until}")


@command(app)
def revoke(session: Session, token: NamedToken) -> None:
    """End a token for good, and every session that was begun with it."""
    with open_existing(session) as ledger, _tokens(ledger) as tokens:
        row = tokens.revoke(tokens.find(token).id)
    session.answer(TOKEN.encode(row), f"revoked {row.id} ({row.name})")


class _Terms(NamedTuple):
    """What the options say of a token of the gateway."""

    providers: list[str] | None
    models: list[str] | None
    most: str | None
    may_bound: bool
    tier: str
    refusal_status: int | None
    mode: str | None


def _access(budget: str | None, terms: _Terms) -> GatewayAccess | None:
    if budget is None:
        given = (terms.most, terms.refusal_status, terms.mode)
        if any(terms) or any(each is not None for each in given):
            options = (
                "--provider, --model, --most, --may-bound, --tier, --refusal-status and --mode"
            )
            raise InvalidUsage(detail=f"{options} are for --budget")
        return None
    return GatewayAccess(
        budget=budget,
        providers=tuple(terms.providers or ()),
        models=tuple(terms.models or ()),
        most_per_request=None if terms.most is None else Money(terms.most),
        may_bound=terms.may_bound,
        tier=terms.tier,
        refusal_status=terms.refusal_status,
        mode="enforce" if terms.mode is None else parse_mode(terms.mode),
    )


def _is_observed(access: GatewayAccess | None, ledger: Ledger) -> bool:
    root = None if access is None else ledger.store.budget(access.root)
    return root is not None and root.observed


def _note(access: GatewayAccess | None, ledger: Ledger) -> str:
    """Return what to know of a new token that spends nothing yet; empty where it does."""
    if access is None or access.mode == "observe" or not _is_observed(access, ledger):
        return ""
    return (
        f"it spends nothing yet: the tree '{access.root}' is observed, so that no limit binds; make"
        f" one with --mode observe, or end that by `earmark budget set {access.root} --no-observed`"
    )


@contextmanager
def _tokens(ledger: Ledger) -> Generator[Tokens]:
    with closing(open_tables(ledger.store)) as tables:
        yield Tokens(tables, ledger.clock)


def _instant(text: str, clock: Clock) -> int:
    return from_datetime(parse_not_past(text, clock))


def _row(token: TokenRow, now: int) -> tuple[str, ...]:
    expires, made = _moment(token.expires_at), _moment(token.created_at)
    return token.id, token.name, _what(token), made, expires, _state(token, now)


def _facts(token: TokenRow, now: int, *, is_observed: bool) -> list[tuple[str, str]]:
    access = token.access
    facts = {
        "token": token.id,
        "name": token.name,
        "for": _what(token),
        "providers": " ".join(access.providers) or "all" if access else "",
        "models": " ".join(access.models) or "all" if access else "",
        "most per request": str(access.most_per_request or "") if access else "",
        "may bound": "yes, by x-earmark-at-most" if access and access.may_bound else "",
        "tier": access.tier if access else "",
        "mode": access.describe_mode(is_observed=is_observed) if access else "",
        "refusals": str(access.refusal_status or "") if access else "",
        "made": _moment(token.created_at),
        "expires": _moment(token.expires_at),
        "rotated": _moment(token.rotated_at) if token.rotated_at else "",
        "replaced secrets": _overlap(token, now),
        "state": _state(token, now) or "ok",
    }
    return [(name, value) for name, value in facts.items() if value]


def _what(token: TokenRow) -> str:
    if token.access is None:
        return " ".join(token.scopes)
    observes = ", observe" if token.access.mode == "observe" else ""
    return f"budget {token.access.budget}{observes}"


def _state(token: TokenRow, now: int) -> str:
    return "revoked" if token.revoked_at else "" if token.is_valid(now) else "expired"


def _overlap(token: TokenRow, now: int) -> str:
    return f"open until {_moment(token.overlap_until)}" if token.overlap_until > now else ""


def _moment(instant: int) -> str:
    return f"{iso(instant)[:19]}Z" if instant else "never"
