"""Providers that lie, break and bill as they like: the books never have less than was billed.

All through the full path, on a file: composition, guard, ledger, real sockets. What is compared is
the provider's own bill.
"""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.runs.statement import Statement
from earmark.testing import ManualClock
from support.fire_place import LEAST_HOLD, Place, Workspace, booked, check_mended
from support.fire_till import Till, charge_of, honest, usage
from support.stub_server import Scene, completion, error, message

if TYPE_CHECKING:
    from llmock.pytest_plugin import LLMock

#: What an honest reply costs, within the hold.
FAIR = usage(20, 30)
#: More than `max_tokens`, yet within the hold, because the input was shorter than its bound.
LONG = usage(20, 110)
#: Far above everything that was asked for.
ABSURD = usage(20, 5_000)
ANTHROPIC_FAIR = {"input_tokens": 20, "output_tokens": 30}
ANTHROPIC_ABSURD = {"input_tokens": 20, "output_tokens": 5_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lie:
    """What a provider does, and what the books make of it."""

    named: str
    scene: Scene
    state: str
    graph: str = "one.json"
    says: str = ""
    """Words of the line that tell people what was wrong."""
    over: bool = field(default=False)
    """Billed more than the hold: only when the reply has told it can the books have it."""


def replies(body: bytes, billed: Any = FAIR) -> Scene:
    """Return a scene that answers with *body* and bills *billed* whatever it says."""
    return Scene(body=body, billed=billed)


def says_usage(shown: Any) -> Scene:
    """Return a scene that shows *shown* as the usage of a fair reply."""
    return replies(completion(shown))


LIES = [
    Lie(named="an honest reply", scene=replies(completion(FAIR)), state="settled"),
    Lie(named="more than max_tokens", scene=replies(completion(LONG), LONG), state="settled"),
    Lie(
        named="far more than max_tokens",
        scene=replies(completion(ABSURD), ABSURD),
        state="settled",
        over=True,
    ),
    Lie(
        named="far more than max_tokens, Messages",
        scene=replies(message(ANTHROPIC_ABSURD), ANTHROPIC_ABSURD),
        graph="messages.json",
        state="settled",
        over=True,
    ),
    Lie(named="no usage", scene=says_usage(None), state="presumed", says="no usage"),
    Lie(
        named="no usage, Messages",
        scene=replies(message(None), ANTHROPIC_FAIR),
        graph="messages.json",
        state="presumed",
        says="no usage",
    ),
    Lie(named="an empty usage", scene=says_usage({}), state="presumed", says="no usage"),
    Lie(named="a usage of nothing", scene=says_usage(usage(0, 0)), state="presumed", says="less"),
    Lie(named="no output counted", scene=says_usage(usage(20, 0)), state="presumed", says="less"),
    Lie(named="a negative usage", scene=says_usage(usage(20, -30)), state="presumed"),
    Lie(named="a usage in words", scene=says_usage({"prompt_tokens": "many"}), state="presumed"),
    Lie(named="a usage that is a list", scene=says_usage([20, 30]), state="presumed"),
    Lie(
        named="a usage that is not a number",
        scene=says_usage(usage(20, 0) | {"completion_tokens": float("nan")}),
        state="presumed",
    ),
    Lie(named="a usage beyond belief", scene=says_usage(usage(20, 10**30)), state="presumed"),
    Lie(
        named="a dearer model",
        scene=replies(completion(FAIR, model="dear"), FAIR | {"model": "dear"}),
        state="settled",
        says="answered by dear",
    ),
    Lie(
        named="a model without a price",
        scene=replies(completion(FAIR, model="mystery")),
        state="presumed",
        says="mystery",
    ),
    Lie(named="too many requests", scene=error(429, {"type": "rate_limit"}), state="released"),
    Lie(
        named="overloaded, Messages",
        scene=error(529, {"type": "overloaded_error"}),
        graph="messages.json",
        state="released",
    ),
    Lie(
        named="an error after the work",
        scene=Scene(status=500, body=b'{"error": {"type": "api_error"}}', billed=FAIR),
        state="presumed",
        says="HTTP 500",
    ),
    Lie(
        named="an error before the work",
        scene=error(500, {"type": "api_error"}),
        state="presumed",
        says="HTTP 500",
    ),
    Lie(
        named="a gateway without a word",
        scene=Scene(status=503, body=b"<html>busy</html>", billed=FAIR),
        state="presumed",
        says="HTTP 503",
    ),
    Lie(named="a page of HTML", scene=replies(b"<html>hello</html>"), state="presumed"),
    Lie(named="half a body", scene=replies(completion(FAIR)[:60]), state="presumed"),
    Lie(named="an empty body", scene=replies(b""), state="presumed"),
    Lie(named="a JSON list", scene=replies(b"[1, 2]"), state="presumed"),
    Lie(named="null", scene=replies(b"null"), state="presumed"),
    Lie(
        named="no choices, and a bill",
        scene=replies(completion(FAIR, texts=())),
        state="settled",
        says="no choices",
    ),
    Lie(named="lost before the bill", scene=Scene(dies="before"), state="presumed", says="lost"),
    Lie(
        named="lost after the bill",
        scene=Scene(dies="after", billed=FAIR),
        state="presumed",
        says="lost",
    ),
]


@pytest.fixture
def till() -> Iterator[Till]:
    """A provider with a till."""
    with Till() as stub:
        yield stub


def run(place: Place, ledger: Ledger, graph: str, **options: Any) -> Statement:
    """Run a composition and return its statement, however it ends."""

    async def once() -> Statement:
        async with place.workspace(ledger) as workspace:
            return await workspace.run(graph, **options)

    return asyncio.run(once())


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.named)
def test_the_books_never_have_less_than_was_billed(lie: Lie, till: Till, tmp_path: Path) -> None:
    """Settled exactly where the bill is known, presumed where it is not, released where it is 0."""
    place = Place(tmp_path, till.url, "1 usd total")
    till.play(lie.scene)
    with place.open() as ledger, place.open() as other:
        till.watch = None if lie.over else lambda: booked(other)
        statement = run(place, ledger, lie.graph)
        till.look()
        assert till.short == []
        (line,) = statement.lines
        assert line.state == lie.state
        assert lie.says in f"{line.detail} {line.note}"
        owed = Money.nanos(till.owed)
        match lie.state:
            case "settled":
                assert line.settled == owed
                assert line.overrun == (owed - line.hold if lie.over else Money())
            case "released":
                assert owed == line.settled == Money()
            case _:
                assert line.settled == line.hold >= owed
        assert len(till.requests) == 1, "one attempt is one call"
        place.check(statement.to_json())
        check_mended(ledger, till)


# Overruns -----------------------------------------------------------------------------------------


def test_after_an_overrun_nothing_more_is_sent_until_it_fits(till: Till, tmp_path: Path) -> None:
    """An overrun is booked in full; later runs are refused, unasked, until the limit has room."""
    place = Place(tmp_path, till.url, "0.001 usd total")
    till.play(Scene(body=completion(ABSURD), billed=ABSURD))
    first = place.run("one.json", "--json")
    assert first.code == 0
    assert first.json["spent"] == str(Money.nanos(till.owed))
    assert Money(first.json["overrun"]) > Money("0.009")
    till.play(Scene(body=completion(FAIR), billed=FAIR))
    refused = place.run("one.json", "--json")
    assert refused.code == 2
    assert refused.json["error"]["reason"] == "exhausted"
    assert "-0.00902 of 0.001 usd total available (0.01002 settled, 0 held)" in refused.err
    assert place.standing() == (Money.nanos(charge_of(ABSURD)), Money())
    (balance,) = place.json("budget", "show", "acme")["budgets"][0]["balances"]
    assert balance["available"] == "-0.00902"
    assert till.requests == []
    place.ok("budget", "set", "acme", "--limit", "0.0102 usd total")
    assert place.run().code == 2, "room for less than one call"
    assert till.requests == []
    place.ok("budget", "set", "acme", "--limit", "0.0104 usd total")
    assert place.run().code == 0
    assert len(till.requests) == 1
    assert place.standing() == (Money.nanos(till.owed), Money())
    place.audited()


def test_an_overrun_stays_in_its_own_window(till: Till, tmp_path: Path) -> None:
    """The hour after an overrun has its whole limit again, and the bill still adds up."""
    clock = ManualClock()
    place = Place(tmp_path, till.url)
    till.play(
        Scene(body=completion(ABSURD), billed=ABSURD), Scene(body=completion(FAIR), billed=FAIR)
    )
    with place.open(clock) as ledger:
        ledger.set_budget("acme", limits=["0.001 usd per hour", "1 usd total"])
        assert run(place, ledger, "one.json", budget="0.1").overrun > Money("0.009")
        assert run(place, ledger, "one.json", wait=None).status == "refused"
        assert len(till.requests) == 1
        clock.advance(timedelta(hours=1))
        assert run(place, ledger, "one.json").status == "ok"
        hour, total = ledger.balances("acme")
        assert hour.settled == Money.nanos(charge_of(FAIR))
        assert total.settled == Money.nanos(till.owed)
        assert ledger.audit().ok


# Late, again, and in the APIs' own forms ----------------------------------------------------------


def test_a_reply_that_comes_too_late_is_paid_for(till: Till, tmp_path: Path) -> None:
    """At its time-out a call is presumed, for the provider works on; the late bill mends it."""
    clock, late = ManualClock(), threading.Event()
    till.play(Scene(body=completion(FAIR), billed=FAIR, waits=late))

    async def impatient(place: Place, ledger: Ledger) -> Statement:
        async with place.workspace(ledger) as workspace:
            running = asyncio.ensure_future(workspace.run("one.json", timeout="30s"))
            await asyncio.to_thread(till.until_asked, 1)
            clock.advance(timedelta(seconds=30))
            return await running

    place = Place(tmp_path, till.url, "1 usd total")
    with place.open(clock) as ledger:
        statement = asyncio.run(impatient(place, ledger))
        late.set()
        assert "no answer within 30 s" in statement.lines[0].detail
        assert statement.presumed.in_nanos > LEAST_HOLD
        assert booked(ledger) == statement.spent.in_nanos >= till.owed
        place.check(statement.to_json())
        check_mended(ledger, till)


def test_each_attempt_of_a_retry_is_a_bill_of_its_own(till: Till, tmp_path: Path) -> None:
    """Rejected, lost after the bill, answered: three reservations, and the sum covers all three."""
    place = Place(tmp_path, till.url, "1 usd total")
    till.play(
        error(429, {"type": "rate_limit"}),
        Scene(dies="after", billed=FAIR),
        Scene(body=completion(FAIR), billed=FAIR),
    )
    with place.open() as ledger, place.open() as other:
        till.watch = lambda: booked(other)
        statement = run(place, ledger, "again.json")
        assert [line.state for line in statement.lines] == ["released", "presumed", "settled"]
        assert statement.status == "ok"
        assert till.short == []
        place.check(statement.to_json())
        check_mended(ledger, till)


def test_a_hundred_calls_to_a_provider_that_does_anything(till: Till, tmp_path: Path) -> None:
    """All lies in turn, eight calls at a time: at no moment is less booked than was billed."""
    place = Place(tmp_path, till.url, "1 usd total")
    lies = [lie.scene for lie in LIES if lie.graph == "one.json" and not lie.over]
    fair = honest(seed=3)
    turns = itertools.cycle([*lies, *(None for _ in lies)])
    till.answer = lambda received: next(turns) or fair(received)

    async def lane(workspace: Workspace) -> None:
        for _ in range(13):
            await workspace.run("one.json")
            till.look()

    async def lanes(ledger: Ledger) -> None:
        async with place.workspace(ledger) as workspace:
            await asyncio.gather(*(lane(workspace) for _ in range(8)))

    with place.open() as ledger, place.open() as other:
        till.watch = lambda: booked(other)
        asyncio.run(lanes(ledger))
        assert till.short == []
        assert len(till.requests) == 8 * 13
        assert booked(ledger) > till.owed
        assert ledger.holds() == []
        assert ledger.audit().ok


def test_faults_in_the_apis_own_forms(llmock: "LLMock", tmp_path: Path) -> None:
    """Against a mock of the real API: overload is free, a broken server is not, an answer exact."""
    place = Place(tmp_path, llmock.url, "1 usd total")
    with place.open() as ledger:
        llmock.fail(529).fail(500)
        statement = run(place, ledger, "again.json")
        assert [line.state for line in statement.lines] == ["released", "presumed", "settled"]
        told = statement.lines[-1]
        assert told.usage is not None
        tokens_in, tokens_out = told.usage.get("input_tokens"), told.usage.get("output_tokens")
        assert told.settled == Money.nanos(1000 * tokens_in + 2000 * tokens_out)
        assert statement.spent == told.settled + statement.presumed
        place.check(statement.to_json())
