"""Streams that break off, say too little or write too much, through the guard, on a file."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from earmark.admission.guard import AsyncGuard, Charge, Guard
from earmark.admission.policy import ELASTIC, STRICT
from earmark.errors import CallFailed
from earmark.ledger.ledger import Ledger
from earmark.money import Money
from support.fire_place import Place, booked, check_mended
from support.fire_till import Till, usage
from support.stub_server import Scene, chunks, events

FAIR = usage(20, 30)
ABSURD = usage(20, 5_000)
ANTHROPIC_FAIR = {"input_tokens": 20, "output_tokens": 30}
WORDS = tuple(f"word{n} " for n in range(30))
#: Its usage counts what it had written so far, as some servers say with every piece.
*BEGUN, _, COUNTED, _ = chunks(WORDS, usage(20, 5))
OVERLONG = tuple(f"word{n} " for n in range(400))


@pytest.fixture
def till() -> Iterator[Till]:
    """A provider with a till."""
    with Till() as stub:
        yield stub


@pytest.mark.parametrize("policy", [STRICT, ELASTIC], ids=["strict", "elastic"])
@pytest.mark.parametrize(
    ("model", "scene", "state"),
    [
        ("till/m", Scene(events=chunks(WORDS, FAIR), billed=FAIR), "settled"),
        ("till/m", Scene(events=chunks(OVERLONG, ABSURD), billed=ABSURD), "settled"),
        ("till/m", Scene(events=chunks(WORDS, None), billed=FAIR), "presumed"),
        ("till/m", Scene(events=chunks(WORDS, FAIR, finish=None), billed=FAIR), "presumed"),
        ("till/m", Scene(events=chunks(WORDS, FAIR), billed=FAIR, dies="midway"), "settled"),
        (
            "till/m",
            Scene(events=chunks(WORDS, FAIR, finish=None), billed=FAIR, dies="midway"),
            "presumed",
        ),
        ("till/m", Scene(events=[*BEGUN, COUNTED], billed=FAIR), "presumed"),
        ("till/m", Scene(events=[b"data: {half\n\n"], billed=FAIR), "presumed"),
        ("till/m", Scene(events=[], billed=FAIR), "presumed"),
        (
            "messages/m",
            Scene(
                events=events(WORDS, ANTHROPIC_FAIR, {"output_tokens": 30}), billed=ANTHROPIC_FAIR
            ),
            "settled",
        ),
        (
            "messages/m",
            Scene(events=events(WORDS, ANTHROPIC_FAIR, None, ends=False), billed=ANTHROPIC_FAIR),
            "presumed",
        ),
    ],
    ids=[
        *(
            "whole",
            "overlong",
            "no usage",
            "half",
            "cut after its end",
            "cut",
            "half, counted",
            "garbage",
            "empty",
        ),
        *("whole Messages", "half Messages"),
    ],
)
def test_half_a_stream_is_billed_as_a_whole_one(
    model: str, scene: Scene, state: str, policy: Any, till: Till, tmp_path: Path
) -> None:
    """A stream that breaks off, or does not say what it cost, counts as spent in full."""
    place = Place(tmp_path, till.url, "1 usd total")
    till.play(scene)
    with place.open() as ledger:
        guard = Guard(ledger.as_async(), policy=policy)
        charge = streamed(place, guard, ledger, model)
        assert charge.state == state
        assert booked(ledger) == charge.settled.in_nanos >= till.owed
        if state == "settled":
            assert charge.settled == Money.nanos(till.owed)
            assert charge.settled == charge.hold + charge.overrun or not charge.overrun
        check_mended(ledger, till)


def streamed(place: Place, guard: AsyncGuard, ledger: Ledger, model: str) -> Charge:
    """Make a streaming call of at most 100 tokens and return how it was booked."""

    async def once() -> Charge:
        async with place.workspace(ledger) as workspace:
            return (await workspace.spend(guard, model, stream=True, max_tokens=100)).charge

    try:
        return asyncio.run(once())
    except CallFailed as failed:
        return cast("Charge", failed.charge)
