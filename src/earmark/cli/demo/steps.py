"""The steps of the demo; each does one thing, shows it, and says whether it held."""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from earmark.admission.call import Call
from earmark.cli.demo.environment import DemoEnvironment, read
from earmark.cli.plan import plan_parts
from earmark.cli.run_display import display_run
from earmark.cli.statement import statement_parts
from earmark.clock import SystemClock
from earmark.composition.plan import Plan, plan
from earmark.config.assemble import Providers, key_from, no_key, price_book
from earmark.errors import BudgetExceeded, Refusal
from earmark.money import Money
from earmark.runs.options import Options
from earmark.runs.prepare import library_of
from earmark.runs.runner import run_async
from earmark.runs.statement import Statement
from earmark.stages.kinds.kind import Tools

#: How many of the burst's calls fit at once: so few that the limit binds, and at last refuses.
_FIT: Final = 4
#: How long a run of the burst stands in line before it takes no for an answer.
_PATIENCE: Final = "2min"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a step came to."""

    name: str
    ok: bool
    form: Mapping[str, Any]


def pipeline(demo: DemoEnvironment) -> StepResult:
    """Plan the composition, run it under a budget that is enough, and show the statement."""
    composition = demo.composition("update.json")
    planned = _plan(demo, "update.json")
    demo.say("== 1. The plan, before anything runs ==", *plan_parts(planned))
    limit = planned.max or Money("0.50")
    demo.say(f"\n== 2. The run, under a budget of {limit} USD ==")
    with display_run(composition, demo.ledger.clock) as display:
        statement = asyncio.run(_run(demo, "update.json", limit, Options(on_event=display.show)))
    demo.say(*statement_parts(statement))
    return StepResult(
        name="run",
        ok=statement.status == "ok" and statement.spent <= limit,
        form={"plan": planned, "statement": statement},
    )


def refusal(demo: DemoEnvironment) -> StepResult:
    """Run the same under a budget below a hold it must make: refused before a call is made."""
    planned = _plan(demo, "update.json")
    least = max(planned.min, planned.hold)
    limit = Money.nanos(least.in_nanos // 2)
    demo.say(f"\n== 3. The same under {limit} USD, too small for the plan ==")
    try:
        statement = asyncio.run(_run(demo, "update.json", limit, Options()))
    except Refusal as refused:
        calls = 0 if refused.statement is None else len(refused.statement.lines)
        demo.say(f"refused: {refused}", f"calls made: {calls}")
        form = {"message": str(refused), "code": refused.code, "calls": calls}
        return StepResult(name="refusal", ok=calls == 0, form=form)
    demo.say(*statement_parts(statement))
    return StepResult(name="refusal", ok=False, form={"statement": statement})


def burst(demo: DemoEnvironment, parallel: int) -> StepResult:
    """Start *parallel* runs at once on one budget that holds only some of their calls."""
    hold = _call(demo).bound.cost()
    shared = f"{demo.under}/burst"
    limit = hold * _FIT + Money.nanos(hold.in_nanos // 2)
    demo.ledger.set_budget(shared, limits=[f"{limit} usd total"], actor="demo")
    demo.say(
        f"\n== 4. {parallel} runs at once on one budget of {limit} USD ==",
        f"each first holds {hold} USD, so {_FIT} fit at once; the others stand in line",
    )
    outcomes = asyncio.run(_burst(demo, shared, hold, parallel))
    balance = demo.ledger.balances(shared)[0]
    settled = balance.settled
    assert isinstance(settled, Money), "a limit in USD has a balance in USD"
    ok = settled <= limit and not balance.held and outcomes["ok"] >= _FIT
    demo.say(
        " · ".join(f"{count} {name}" for name, count in sorted(outcomes.items())),
        f"settled {balance.settled} of {balance.limit} USD, held {balance.held},"
        f" available {balance.available}",
    )
    form = {"runs": parallel, "outcomes": dict(outcomes), "balance": balance}
    return StepResult(name="burst", ok=ok, form=form)


def prove(demo: DemoEnvironment) -> StepResult:
    """Recompute every balance from the entries."""
    report = demo.ledger.audit()
    verdict = "every balance equals its entries" if report.ok else "THE BOOKS ARE WRONG"
    demo.say(
        "\n== 5. The audit ==",
        f"{verdict}: {report.entries} entries, {report.reservations} reservations,"
        f" {report.unresolved} unresolved, {report.settled} USD settled, {report.held} USD held",
        f"accounts over their limit: {len(report.over)}",
    )
    return StepResult(name="audit", ok=report.ok and not report.over, form=asdict(report))


async def _burst(demo: DemoEnvironment, shared: str, budget: Money, parallel: int) -> Counter[str]:
    options = Options(wait=_PATIENCE)
    runs = (
        _outcome(_run(demo, "headline.json", budget, options, under=shared))
        for _ in range(parallel)
    )
    return Counter(await asyncio.gather(*runs))


async def _outcome(running: Awaitable[Statement]) -> str:
    try:
        statement = await running
    except BudgetExceeded as refused:
        return f"refused ({refused.reason})"
    return str(statement.status)


async def _run(
    demo: DemoEnvironment, name: str, limit: Money, options: Options, *, under: str | None = None
) -> Statement:
    providers = Providers(
        demo.settings,
        book=price_book(demo.settings),
        clock=demo.ledger.clock,
        key=key_from(os.environ),
    )
    at_hand: Options = {**options, "stages": demo.stages, "providers": providers}
    try:
        return await run_async(
            demo.composition(name),
            {"text": read("incident.txt")},
            ledger=demo.ledger.as_async(),
            under=under or demo.under,
            budget=limit,
            **at_hand,
        )
    finally:
        await providers.aclose()


def _plan(demo: DemoEnvironment, name: str) -> Plan:
    return plan(demo.composition(name), library_of(demo.stages, _tools(demo)))


def _tools(demo: DemoEnvironment) -> Tools:
    book = price_book(demo.settings)
    providers = Providers(demo.settings, book=book, clock=SystemClock(), key=no_key)
    return Tools(providers=providers)


def _call(demo: DemoEnvironment) -> Call:
    """Return the call that a run of the burst makes, to know what it holds."""
    stage = next(each for each in demo.stages if each.spec.name == "headline")
    return stage.call({"text": read("incident.txt")}, _tools(demo))
