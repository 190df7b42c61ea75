"""What `earmark run --json` says a run cost is what the ledger says, however the run ended."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from earmark.money import Money
from support.fire_place import Done, Place, ended
from support.fire_till import Till, usage
from support.stub_server import Scene, completion, error

FAIR = usage(20, 30)
ANSWER = Scene(body=completion(FAIR), billed=FAIR)
LOST = Scene(dies="after", billed=FAIR)


@pytest.fixture
def till() -> Iterator[Till]:
    """A provider with a till."""
    with Till() as stub:
        yield stub


def statement(place: Place, till: Till, done: Done, code: int) -> dict[str, Any]:
    """Check a run's answer against its exit code, the ledger, the journal and the bill."""
    assert done.code == code
    told: dict[str, Any] = done.json
    place.check(told)
    assert place.json("trace", told["run_id"]) == told
    assert place.standing() == (Money(told["spent"]), Money(told["held"])), "the only run"
    assert Money(told["spent"]) >= Money.nanos(till.owed)
    assert Money(told["spent"]) <= Money(told["limit"]) or told["overrun"] != "0"
    entries = place.json("entries", "--run", told["run_id"])["entries"]
    closed = [each for each in entries if each["kind"] in {"settle", "presume"}]
    assert sum(Money(each["amount"]).in_nanos for each in closed) == Money(told["spent"]).in_nanos
    return told


def test_a_run_that_succeeds(till: Till, tmp_path: Path) -> None:
    """Two answered calls: spent is the provider's bill."""
    place = Place(tmp_path, till.url, "1 usd total")
    till.play(ANSWER)
    told = statement(place, till, place.run("two.json", "--json"), 0)
    assert (told["status"], told["output"], told["error"]) == ("ok", "ok", None)
    assert told["spent"] == str(Money.nanos(till.owed))
    assert [line["outcome"] for line in told["lines"]] == ["ok", "ok"]


def test_a_run_that_fails(till: Till, tmp_path: Path) -> None:
    """One answered call, one lost after its bill: the first exact, the second in full."""
    place = Place(tmp_path, till.url, "1 usd total")
    till.play(ANSWER, LOST)
    told = statement(place, till, place.run("two.json", "--json"), 3)
    assert told["status"] == "failed"
    assert told["error"]["code"] == "stage_failed"
    first, second = told["lines"]
    assert (first["state"], second["state"]) == ("settled", "presumed")
    assert Money(told["spent"]) == Money(first["settled"]) + Money(second["hold"])


def test_a_run_that_fails_for_nothing(till: Till, tmp_path: Path) -> None:
    """A rejected call was a reservation, given back: nothing is spent, and the line shows both."""
    place = Place(tmp_path, till.url, "1 usd total")
    till.play(error(429, {"type": "rate_limit"}))
    told = statement(place, till, place.run("one.json", "--json"), 3)
    (line,) = told["lines"]
    assert (line["state"], told["spent"], till.owed) == ("released", "0", 0)


def test_a_run_refused_in_the_middle(till: Till, tmp_path: Path) -> None:
    """The first call eats the run's budget, so the second is refused: its line cost nothing."""
    place = Place(tmp_path, till.url, "1 usd total")
    till.play(Scene(body=completion(usage(20, 100)), billed=usage(20, 100)))
    told = statement(place, till, place.run("two.json", "--json", budget="0.00045"), 2)
    assert told["status"] == "refused"
    assert [line["outcome"] for line in told["lines"]] == ["ok", "refused"]
    assert "key" not in told["lines"][1]
    assert told["error"]["budget"] == told["budget"]
    assert len(till.requests) == 1


def test_a_run_refused_before_a_call(till: Till, tmp_path: Path) -> None:
    """Below the least it can cost: no call, no line, nothing in the books but nothing missing."""
    place = Place(tmp_path, till.url, "1 usd total")
    done = place.run("two.json", "--json", budget="0.0000001")
    assert done.code == 2
    told = done.json
    assert (told["status"], told["lines"], told["spent"]) == ("refused", [], "0")
    assert till.requests == []
    assert place.standing() == (Money(), Money())
    assert place.json("trace", told["run_id"]) == told


def test_a_run_with_an_overrun(till: Till, tmp_path: Path) -> None:
    """A reply far above `max_tokens`: spent is above the run's limit, and the overrun says so."""
    place = Place(tmp_path, till.url, "1 usd total")
    absurd = usage(20, 50_000)
    till.play(Scene(body=completion(absurd), billed=absurd))
    told = statement(place, till, place.run("one.json", "--json"), 0)
    (line,) = told["lines"]
    assert told["spent"] == str(Money.nanos(till.owed))
    assert Money(told["overrun"]) == Money(told["spent"]) - Money(line["hold"])


def test_a_run_that_is_cancelled(till: Till, tmp_path: Path) -> None:
    """One answered call, one interrupted: the first exact, the second in full."""
    place, late = Place(tmp_path, till.url, "1 usd total"), threading.Event()
    till.play(ANSWER, Scene(body=completion(FAIR), billed=FAIR, waits=late))
    with place.started(*place.order("two.json", "--json")) as child:
        till.until_asked(2)
        child.send_signal(signal.SIGTERM)
        done = ended(child)
    late.set()
    told = statement(place, till, done, 143)
    assert [(line["outcome"], line["state"]) for line in told["lines"]] == [
        ("ok", "settled"),
        ("cancelled", "presumed"),
    ]
