"""`earmark token`: who may use the service or the gateway, and for what."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import Annotated, Final

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
from earmark.workspace.resources.agents import TOKEN
from earmark.workspace.time_expressions import parse_not_past
from earmark.workspace.tokens import GatewayAccess, TokenRow, Tokens

app = group("Make, list and revoke tokens of the service and of the gateway.")

_HEADINGS: Final = ("token", "name", "for", "made", "expires", "")

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


@command(app)
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom it is for.")],
    *,
    scope: Annotated[
        str | None,
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help="Of the service: read; spend: also reservations and tasks; admin: also budgets"
            " and approvals.",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Of the gateway: the budget that its calls spend."),
    ] = None,
    provider: ProviderNames = None,
    model: ModelNames = None,
    most: Annotated[
        str | None, typer.Option(metavar="USD", help="The most that one call may hold.")
    ] = None,
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
    access = _access(budget, provider, model, most)
    with open_books(session, settings_of(session)) as ledger:
        until = 0 if expires is None else _instant(expires, ledger.clock)
        with _tokens(ledger) as tokens:
            if access is None:
                row, secret = tokens.create(name, [scope or ""], until)
            else:
                row, secret = tokens.create_for_gateway(name, access, until)
    session.answer({**TOKEN.encode(row), "token": secret}, secret)
    session.tell("keep it now: it is not shown again")


@command(app, "list")
def list_(session: Session) -> None:
    """List every token there ever was; the tokens themselves are kept nowhere."""
    with open_existing(session) as ledger, _tokens(ledger) as tokens:
        found, now = tokens.all(), ledger.clock.instant()
    table = Table(headings=_HEADINGS, rows=[_row(each, now) for each in found], empty="no tokens")
    session.answer({"tokens": [TOKEN.encode(each) for each in found]}, table)


@command(app)
def revoke(
    session: Session,
    token: Annotated[str, typer.Argument(metavar="ID", help="As `earmark token list` shows it.")],
) -> None:
    """End a token for good, and every session that was begun with it."""
    with open_existing(session) as ledger, _tokens(ledger) as tokens:
        row = tokens.revoke(token)
    session.answer(TOKEN.encode(row), f"revoked {row.id} ({row.name})")


def _access(
    budget: str | None, providers: list[str] | None, models: list[str] | None, most: str | None
) -> GatewayAccess | None:
    if budget is None:
        if providers or models or most is not None:
            raise InvalidUsage(detail="--provider, --model and --most are for --budget")
        return None
    return GatewayAccess(
        budget=budget,
        providers=tuple(providers or ()),
        models=tuple(models or ()),
        most_per_request=None if most is None else Money(most),
    )


@contextmanager
def _tokens(ledger: Ledger) -> Generator[Tokens]:
    with closing(open_tables(ledger.store)) as tables:
        yield Tokens(tables, ledger.clock)


def _instant(text: str, clock: Clock) -> int:
    return from_datetime(parse_not_past(text, clock))


def _row(token: TokenRow, now: int) -> tuple[str, ...]:
    ended = "revoked" if token.revoked_at else "" if token.is_valid(now) else "expired"
    expires = iso(token.expires_at)[:19] + "Z" if token.expires_at else "never"
    made = iso(token.created_at)[:19] + "Z"
    what = " ".join(token.scopes) if token.access is None else f"budget {token.access.budget}"
    return token.id, token.name, what, made, expires, ended
