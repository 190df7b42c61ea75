"""The gateways in the benchmarks: their provider, their client, and Earmark for a moment."""

import math
import os
from decimal import Decimal
from pathlib import Path

import pytest

from benchmarks import gateway
from benchmarks.gateway_load import Answers, Door, ask, cpu_ns, get_json, memory
from benchmarks.gateway_overspend import Bill, Killed, body_of
from benchmarks.gateway_subjects import INSTALLED, PEERS, Hardcap, Subject
from benchmarks.gateway_upstream import FREE
from benchmarks.peer_places import DURABLE, redis_program, redis_server
from benchmarks.served import process
from benchmarks.settings import NotHereError, Settings

UPSTREAM = ("-m", "benchmarks.gateway_upstream")


@pytest.mark.slow
def test_the_gateway_is_measured_and_its_money_adds_up(tmp_path: Path) -> None:
    """Every line of Earmark's own has a number; a crowd spends its limit, and a kill forgets none.

    Both are asked of a real gateway in a process of its own, by a command and with SIGKILL.
    """
    settings = Settings(
        folder=tmp_path, rounds=1, seconds=0.05, drift=math.inf, gateway_streams=8, peers=False
    )
    figures = gateway.measure(settings)
    said = {figure.what: figure for figure in figures if "not measured" not in figure.detail}
    for what in ("p50 added", "requests per 750/s", "without a budget", "CPU for a chunk"):
        assert any(what in each for each in said), what
    money = {each: figure.median for each, figure in said.items() if "USD" in each}
    assert list(money.values()) == [10, 0, 0, 0], money
    assert said["8 streams at once: the share that ends complete"].median == 1
    left_out = [each for each in figures if "were left out" in each.detail]
    assert len(left_out) == len(PEERS) + sum(each.has_budget for each in PEERS)


def test_the_client_counts_whole_answers_and_those_that_broke_off() -> None:
    """An answer of known length, a stream in chunks, and a connection that is closed."""
    with process(*UPSTREAM) as upstream:
        door, bill = Door(url=upstream.url), Bill(upstream.url)
        bill.tell(chunks=3)
        whole = ask(door.url, door.request(body_of()), connections=4, each=5)
        assert whole.statuses == {200: 20}
        assert len(whole.times_ns) == 20
        stream = ask(door.url, door.request(body_of(stream=True)), connections=2, each=3)
        assert stream.statuses == {200: 6}
        assert stream.last.count(b" word") == 3
        assert stream.last.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        # Free of charge at one path alone.
        ask(door.url, door.request(body_of(), f"/{FREE}"), connections=1)
        assert bill.calls == 26
        assert cpu_ns(os.getpid()) > 0
        assert memory(os.getpid(), "VmHWM") >= memory(os.getpid())


def test_a_provider_that_holds_its_answers_has_billed_them() -> None:
    """What arrived costs, before it is answered; released, all of them are answered."""
    with process(*UPSTREAM) as upstream:
        door, bill = Door(url=upstream.url), Bill(upstream.url)
        bill.tell(holds=True)

        waiting: list[int] = []

        def released(_: Answers) -> bool:
            if bill.calls == 3 and not waiting:
                waiting.append(get_json(door, "/bill")["waiting"])
                bill.tell(holds=False)
            return False

        found = ask(door.url, door.request(body_of()), connections=3, between=released)
        assert (waiting, found.statuses) == ([3], {200: 3})


def test_books_that_hold_more_than_was_billed_have_forgotten_nothing() -> None:
    """What is presumed above the bill makes up for no loss elsewhere: it is 0, not below."""
    killed = Killed(billed_usd=41, booked_usd=Decimal(42))
    lost = Killed(billed_usd=41, booked_usd=Decimal("1.5"))
    assert (killed.forgotten_usd, lost.forgotten_usd) == (0, Decimal("39.5"))


@pytest.mark.parametrize("subject", PEERS, ids=lambda each: each.name)
def test_a_peer_is_set_up_as_it_works(tmp_path: Path, subject: Subject) -> None:
    """Each passes calls to the provider, a stream too; its books say what they cost."""
    if not os.environ.get("EARMARK_TEST_INDEX"):
        pytest.skip("it installs packages from the index: make neighbours")
    try:
        subject.install()
        program = redis_program(INSTALLED)
    except NotHereError as reason:
        pytest.skip(str(reason))
    with process(*UPSTREAM) as upstream, redis_server(program, tmp_path / "r", DURABLE) as redis:
        subject.write(tmp_path, upstream.url, 1000, redis)
        with subject.started(tmp_path) as door:
            whole = ask(door.url, door.request(body_of()), connections=2, each=2)
            stream = ask(door.url, door.request(body_of(stream=True)), connections=1)
            assert whole.statuses == {200: 4}
            assert Bill(upstream.url).calls >= 5
            if subject.has_budget:  # Portkey's streams fail on Node.js 20
                assert stream.statuses == {200: 1}
                assert stream.last.count(b" word") == 10
            if isinstance(subject, Hardcap):
                assert subject.spent(door) == 5
