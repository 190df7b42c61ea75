"""Killed in the middle of a model call: the hold counts, is listed, is presumed, and is mended."""

import json
import os
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.provider.local import LocalModel, LocalSettings
from earmark.testing import ManualClock
from support.fire_place import LEAST_HOLD, Done, Place, booked, ended
from support.fire_till import PRICES, Till, honest, usage
from support.fire_workers import worker
from support.stub_server import Scene, completion

ROUNDS = 4
BILLED = usage(20, 30)


@pytest.fixture
def till() -> Iterator[Till]:
    """A provider that takes the order and then never answers, until the test is over."""
    answered = threading.Event()
    with Till() as stub:
        stub.play(Scene(body=completion(BILLED), billed=BILLED, waits=answered))
        yield stub
        answered.set()


@pytest.fixture
def own_model() -> Iterator[LocalModel]:
    """A real model that a test may kill, and that nobody else keeps busy."""
    model = LocalModel(LocalSettings(n_parallel=1, n_ctx=2048))
    model.start()
    yield model
    model.stop()


def until_writing(model: LocalModel) -> None:
    """Return once the real model works on a call."""
    url = f"{model.anthropic_url}/slots"
    while not any(slot["is_processing"] for slot in json.load(urllib.request.urlopen(url))):  # noqa: S310 - a model of ours
        pass


def sigkill(process: "subprocess.Popen[str]") -> None:
    """End a process as the kernel does when memory runs out."""
    process.kill()
    assert ended(process).code == -signal.SIGKILL


def check_counted(place: Place, *, stage: str, model: str) -> dict[str, Any]:
    """Assert that the books know of the one call that was cut off, and return its hold."""
    (hold,) = place.unresolved()
    (run,) = place.json("trace")["runs"]
    assert hold["state"] == "open"
    assert hold["settled"] is None
    assert hold["budget"] == f"acme/agent/run-{run['run_id']}"
    labels = {"run": run["run_id"], "path": "/", "stage": stage, "model": model}
    assert hold["labels"] == labels
    amount = Money(hold["amount"])
    assert place.standing() == place.standing(hold["budget"]) == (Money(), amount)
    assert place.audited()["unresolved"] == 1
    assert run["status"] == "running"
    assert "it runs, or was killed" in place.ok("trace", run["run_id"]).out
    return hold


def check_presumed(place: Place, hold: dict[str, Any]) -> None:
    """Assert that the deadline, and nothing before it, turns the hold into an entry."""
    key, amount = hold["key"], Money(hold["amount"])
    deadline = datetime.fromisoformat(hold["deadline"])
    clock = ManualClock(datetime.now(UTC))
    with place.open(clock) as ledger:
        clock.set(deadline - timedelta(seconds=1))
        assert [each.key for each in ledger.holds()] == [key]
        assert kinds(ledger, key)[-1] != "presume"
        # What is shown as the deadline is cut to a microsecond.
        clock.set(deadline + timedelta(microseconds=1))
        assert ledger.holds() == []
        (presumed,) = ledger.holds(state="presumed")
        assert (presumed.key, presumed.settled) == (key, amount)
        assert kinds(ledger, key)[-1] == "presume"
        assert ledger.audit().ok
    assert place.standing() == (amount, Money())
    (listed,) = place.unresolved()
    assert (listed["key"], listed["state"]) == (key, "presumed")
    assert place.audited()["unresolved"] == 1


def check_mended(place: Place, key: str, truth: Money) -> None:
    """Assert that `earmark holds settle` books what the call really cost, and only that."""
    (settled,) = place.json("holds", "settle", key, str(truth))["holds"]
    assert (settled["state"], Money(settled["settled"])) == ("settled", truth)
    assert place.standing() == place.standing(settled["budget"]) == (truth, Money())
    assert place.unresolved() == []
    assert place.audited()["unresolved"] == 0
    with place.open() as ledger:
        assert kinds(ledger, key)[-2:] == ["presume", "settle"]


def kinds(ledger: Ledger, key: str) -> list[str]:
    """Return what was booked under a key, in order."""
    return [entry.kind for entry in ledger.entries(key=key)]


def test_a_run_killed_while_its_provider_works(till: Till, tmp_path: Path) -> None:
    """The hold counts and is listed with run, stage and model; presumed; settled by the bill."""
    place = Place(tmp_path, till.url, "1 usd total")
    with place.started(*place.order("one.json")) as child:
        till.until_asked(1)
        sigkill(child)
    hold = check_counted(place, stage="ask", model="till/m")
    assert Money(hold["amount"]) >= Money.nanos(till.owed)
    check_presumed(place, hold)
    check_mended(place, hold["key"], Money.nanos(till.owed))


def test_a_run_killed_while_a_real_model_writes(own_model: LocalModel, tmp_path: Path) -> None:
    """The same on a real model in the middle of 1,500 tokens, whose true cost nobody reports."""
    place = Place(tmp_path, own_model.anthropic_url, "1 usd total")
    with place.started(*place.order("real.json")) as child:
        until_writing(own_model)
        sigkill(child)
    hold = check_counted(place, stage="go-on", model="local/smollm2-135m")
    assert Money(hold["amount"]) > Money.nanos(1500 * PRICES["m"][1])
    check_presumed(place, hold)
    check_mended(place, hold["key"], Money("0.000321"))


def test_a_stream_killed_after_its_hold_grew(own_model: LocalModel, tmp_path: Path) -> None:
    """What a killed stream of a real model had produced is covered by its hold, which had grown."""
    place = Place(tmp_path, own_model.anthropic_url, "1 usd total")
    produced = 0
    with worker("stream", tmp_path, own_model.anthropic_url) as child:
        assert child.stdout is not None
        while produced < 100:
            produced = int(child.stdout.readline())
        sigkill(child)
    (hold,) = place.unresolved()
    assert hold["labels"] == {"model": "local/smollm2-135m"}
    assert Money(hold["amount"]) >= Money.nanos(produced * PRICES["m"][1])
    with place.open() as ledger:
        assert "extend" in kinds(ledger, hold["key"])
    assert place.standing() == (Money(), Money(hold["amount"]))
    check_presumed(place, hold)
    check_mended(place, hold["key"], Money("0.0002"))


def test_a_provider_killed_in_the_middle_of_a_call(own_model: LocalModel, tmp_path: Path) -> None:
    """The real model dies while it writes: nobody knows the bill, so the whole hold is spent."""
    place = Place(tmp_path, own_model.anthropic_url, "1 usd total")
    with place.started(*place.order("real.json", "--json")) as child:
        until_writing(own_model)
        assert own_model.pid is not None
        os.kill(own_model.pid, signal.SIGKILL)
        check_lost(place, ended(child))
    (hold,) = place.unresolved()
    check_mended(place, hold["key"], Money("0.0004"))


def check_lost(place: Place, done: Done) -> None:
    """Assert that the run failed and its one call is presumed, in the statement as in the books."""
    assert done.code == 3
    statement = done.json
    assert statement["status"] == "failed"
    (line,) = statement["lines"]
    assert (line["outcome"], line["state"]) == ("failed", "presumed")
    assert statement["spent"] == statement["presumed"] == line["hold"]
    assert "was lost" in statement["error"]["message"]
    place.check(statement)


def test_runs_killed_at_any_moment(tmp_path: Path) -> None:
    """Killed again and again while calls fly: every bill is covered, and all can be mended."""
    with Till() as till:
        till.answer = honest(seed=1)
        place = Place(tmp_path, till.url, "1000 usd total")
        with place.open() as ledger:
            till.watch = lambda: booked(ledger)
            for number in range(ROUNDS):
                asked = len(till.requests)
                with worker("loop", tmp_path, till.url, f"round{number}", 4) as child:
                    # One more each round, so that different moments are met.
                    till.until_asked(asked + 5 + number)
                    sigkill(child)
                till.quiet()
                till.look()
                assert ledger.audit().ok
            assert till.short == []
            check_all_mended(ledger, till)


def check_all_mended(ledger: Ledger, till: Till) -> None:
    """Assert that settling each cut-off call by the provider's own bill gives that bill."""
    lost = ledger.holds(most=1000)
    assert lost, "nothing was in flight at any kill"
    assert booked(ledger) > till.owed
    for hold in lost:
        topic = hold.key.partition(":")[0]
        owed = till.owed_for.get(f"Write about {topic}.", 0)
        assert owed <= hold.amount.in_nanos
        assert hold.amount.in_nanos > LEAST_HOLD
        ledger.settle(hold.key, Money.nanos(owed))
    assert booked(ledger) == till.owed
    assert ledger.audit().ok
