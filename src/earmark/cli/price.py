"""`earmark price`: what a model costs, and what one call of it would."""

from typing import Annotated, Any, Final

import typer

from earmark.cli.session import Session, command, group
from earmark.cli.store_access import settings_of
from earmark.cli.table import Table
from earmark.cli.time_options import AGO, WHEN
from earmark.clock import SystemClock, from_datetime, iso
from earmark.config.assemble import price_book
from earmark.errors import InvalidUsage
from earmark.pricing.price import Price
from earmark.pricing.rates import Rate
from earmark.pricing.units import UNITS
from earmark.pricing.usage import AUTO, Usage, tier_name
from earmark.workspace.time_expressions import parse_past

app = group("Show what a model costs, and what a call of it would.")

_HEADINGS: Final = ("tier", "kind", ">usd", "per", "above input tokens")


@command(app)
def price(
    session: Session,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Its name, or provider/name.")],
    input_tokens: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Price a call of so many input tokens.")
    ] = None,
    output_tokens: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="And so many output tokens.")
    ] = None,
    usage: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=N", help="Other units of it: cache_read_tokens=200; repeatable."
        ),
    ] = None,
    at: Annotated[str | None, typer.Option(metavar=WHEN, help=f"As of then: {AGO}")] = None,
    provider: Annotated[str | None, typer.Option(help="Who is called.")] = None,
    tier: Annotated[
        str | None, typer.Option(help="The service tier: batch, flex, priority …")
    ] = None,
) -> None:
    """Show a model's price, from earmark.toml or the price list, and the cost of a call."""
    clock = SystemClock()
    moment = parse_past(at, clock)
    instant = clock.instant() if moment is None else from_datetime(moment)
    found = price_book(settings_of(session)).resolve(
        model, provider=provider, at=instant, tier=tier
    )
    counted = _usage(input_tokens, output_tokens, usage or [])
    call = None if counted is None else _call(found, counted, tier)
    session.answer(
        {**found.to_json(), "at": iso(found.at), "name": found.name, "call": call},
        f"{found.name} on {iso(found.at)[:10]}, from {found.source}",
        _table(found),
        *([] if counted is None or call is None else _cost(counted, call)),
    )


def _usage(input_tokens: int | None, output_tokens: int | None, more: list[str]) -> Usage | None:
    usage_options = {"input_tokens": input_tokens, "output_tokens": output_tokens}
    counts = {kind: count for kind, count in usage_options.items() if count is not None}
    for text in more:
        kind, _, count = text.partition("=")
        if kind not in UNITS or not count.isdecimal():
            detail = f"'{text}' is no count: give KIND=N, such as cache_read_tokens=200"
            raise InvalidUsage(detail=detail)
        counts[kind] = int(count)
    return Usage(counts) if counts else None


def _call(found: Price, usage: Usage, tier: str | None) -> dict[str, Any]:
    worst = found.worst(usage.get("input_tokens"), usage.get("output_tokens"))
    billed = usage if tier in {None, AUTO} else Usage(usage.counts, tier=tier_name(tier))
    return {"usage": usage.to_json(), "cost": found.cost(billed), "worst": worst}


def _cost(usage: Usage, call: dict[str, Any]) -> list[str]:
    counted = ", ".join(f"{count:,} {kind}" for kind, count in usage.counts.items()) or "nothing"
    return [
        f"{counted}: {call['cost']} USD",
        f"at most {call['worst']} USD, however the provider may bill so many tokens",
    ]


def _table(found: Price) -> Table:
    rows = [
        row for tariff in found.tariffs for rate in tariff.rates for row in _rows(tariff.tier, rate)
    ]
    return Table(headings=_HEADINGS, rows=rows)


def _rows(tier: str, rate: Rate) -> list[tuple[str, ...]]:
    per = f"{UNITS[rate.kind].per:,}"
    steps = [(f"{start:,}", usd) for start, usd in rate.steps]
    return [(tier, rate.kind, f"{usd:f}", per, above) for above, usd in [("", rate.usd), *steps]]
