"""The courier: at least once, never in a flood, each channel by itself; on every store alike."""

import asyncio
import logging
from collections.abc import Iterator
from datetime import timedelta

import pytest

from earmark.errors import StoreUnavailable
from earmark.nudges.channels.channel import DeliveryFailed
from earmark.nudges.courier import Courier, Delivered
from earmark.nudges.nudge import Delivery
from earmark.nudges.nudges import Nudges
from earmark.testing import ManualClock
from support.last_resort import LAST_RESORT_S
from support.nudge_books import DOWN, Outbox, Received, open_outbox

MINUTE = 60 * 10**9


@pytest.fixture
def outbox(url: str, clock: ManualClock) -> Iterator[Outbox]:
    """Empty books and an empty outbox."""
    with open_outbox(url, clock) as opened:
        yield opened


def courier(outbox: Outbox, *channels: Received, clock: ManualClock) -> Courier:
    """Return a courier for *channels*."""
    return Courier(outbox.nudges, {each.name: each for each in channels}, clock)


def raise_(outbox: Outbox, *channels: str, count: int = 1) -> None:
    """Raise nudges `n/0`, `n/1` … for *channels*."""
    for number in range(count):
        outbox.nudges.raise_("test", id=f"n/{number}", title="t", data={}, channels=channels)


def deliver(which: Courier) -> Delivered:
    """Run one round."""
    return asyncio.run(which.deliver_due())


def only(outbox: Outbox) -> Delivery:
    """Return the one delivery of the first nudge."""
    (found,) = outbox.nudges.deliveries("n/0")
    return found


def test_what_is_due_is_delivered_once(outbox: Outbox, clock: ManualClock) -> None:
    """Each nudge goes out on each of its channels, in the order they were raised, and is noted."""
    chat, hook = Received("chat"), Received("hook")
    raise_(outbox, "chat", "hook", count=3)
    carrier = courier(outbox, chat, hook, clock=clock)
    assert deliver(carrier) == Delivered(delivered=6)
    assert chat.ids == hook.ids == ["n/0", "n/1", "n/2"]
    assert chat.sent == outbox.nudges.find()
    assert outbox.nudges.pending() == 0
    done = outbox.nudges.deliveries("n/0")[0]
    assert (done.state, done.tries, done.delivered_at) == ("delivered", 1, clock.instant())
    clock.advance(timedelta(days=1))
    assert deliver(carrier) == Delivered()


def test_failures_are_retried_ever_more_rarely(outbox: Outbox, clock: ManualClock) -> None:
    """After a failure the next try is a minute later, then two, four … at most an hour."""
    chat = Received("chat", failures=[DOWN])
    raise_(outbox, "chat")
    carrier = courier(outbox, chat, clock=clock)
    waits: list[int] = []
    for _ in range(9):
        assert deliver(carrier) == Delivered(failed=1)
        tried = only(outbox)
        waits.append((tried.next_at - clock.instant()) // MINUTE)
        assert (tried.state, tried.error, tried.tries) == ("waiting", "HTTP 503", len(waits))
        assert deliver(carrier) == Delivered()
        clock.advance(timedelta(minutes=waits[-1]))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    chat.failures.clear()
    assert deliver(carrier) == Delivered(delivered=1)
    assert (only(outbox).state, only(outbox).error) == ("delivered", "")


def test_after_a_week_it_is_given_up_and_said(
    outbox: Outbox, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Seven days after it was raised a nudge that never got through is given up, in the log too."""
    chat = Received("chat", failures=[DOWN])
    raise_(outbox, "chat")
    carrier = courier(outbox, chat, clock=clock)
    rounds: list[Delivered] = []
    for _ in range(7 * 24 + 1):
        rounds.append(deliver(carrier))
        clock.advance(timedelta(hours=1))
    assert rounds[:-1] == [Delivered(failed=1)] * (7 * 24)
    assert rounds[-1] == Delivered(given_up=1)
    assert only(outbox).state == "given_up"
    assert outbox.nudges.pending() == 0
    (said,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert said.getMessage() == "nudge n/0 given up on chat after try 169: HTTP 503"
    assert deliver(carrier) == Delivered()


def test_a_courier_that_was_away_gives_up_nothing_at_once(
    outbox: Outbox, clock: ManualClock
) -> None:
    """A nudge that waited for a week because nobody carried it gets its tries all the same."""
    chat = Received("chat", failures=[DOWN])
    raise_(outbox, "chat")
    clock.advance(timedelta(days=8))
    carrier = courier(outbox, chat, clock=clock)
    for _ in range(9):
        assert deliver(carrier) == Delivered(failed=1)
        clock.advance(timedelta(hours=1))
    assert deliver(carrier) == Delivered(given_up=1)


def test_a_final_answer_ends_it_at_once(outbox: Outbox, clock: ManualClock) -> None:
    """Where the other side wants no more tries, there are none."""
    chat = Received("chat", failures=[DeliveryFailed("HTTP 410", final=True)])
    raise_(outbox, "chat")
    assert deliver(courier(outbox, chat, clock=clock)) == Delivered(given_up=1)
    assert only(outbox).state == "given_up"


@pytest.mark.parametrize(("asks", "waits"), [(600.0, 10), (86_400.0, 60), (0.0, 1)])
def test_the_other_side_may_ask_for_time(
    outbox: Outbox, clock: ManualClock, asks: float, waits: int
) -> None:
    """A try waits as long as it is asked to, up to an hour, and never less than it would."""
    chat = Received("chat", failures=[DeliveryFailed("HTTP 429", retry_after_s=asks)])
    raise_(outbox, "chat")
    deliver(courier(outbox, chat, clock=clock))
    assert only(outbox).next_at == clock.instant() + waits * MINUTE


def test_one_channel_does_not_hold_up_another(outbox: Outbox, clock: ManualClock) -> None:
    """While one channel hangs, another delivers everything."""
    chat, hook = Received("chat"), Received("hook")
    raise_(outbox, "chat", "hook", count=3)

    async def story() -> list[str]:
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        release, at_once = loop.create_future(), loop.create_future()
        at_once.set_result(True)

        def count() -> "asyncio.Future[bool]":
            if len(hook.sent) == 3:
                arrived.set()
            return at_once

        chat.waits, hook.waits = lambda: release, count
        round_ = asyncio.create_task(courier(outbox, chat, hook, clock=clock).deliver_due())
        await asyncio.wait_for(arrived.wait(), timeout=LAST_RESORT_S)
        seen = list(chat.ids)
        release.set_result(True)
        assert await round_ == Delivered(delivered=6)
        return seen

    assert asyncio.run(story()) == ["n/0"]


def test_a_hanging_channel_has_a_time_limit(outbox: Outbox, clock: ManualClock) -> None:
    """A send that does not answer is cut off and counted as failed."""
    chat = Received("chat", timeout_s=0.02)
    raise_(outbox, "chat")

    async def story() -> Delivered:
        never = asyncio.get_running_loop().create_future()
        chat.waits = lambda: never
        return await courier(outbox, chat, clock=clock).deliver_due()

    assert asyncio.run(story()) == Delivered(failed=1)
    assert only(outbox).error == "no answer within 0.02 s"


def test_a_channel_that_is_down_is_left_alone(outbox: Outbox, clock: ManualClock) -> None:
    """After three failures in a row the others of that channel stay due, untried."""
    chat = Received("chat", failures=[DOWN])
    raise_(outbox, "chat", count=5)
    assert deliver(courier(outbox, chat, clock=clock)) == Delivered(failed=3)
    assert chat.ids == ["n/0", "n/1", "n/2"]
    assert outbox.nudges.deliveries("n/4")[0].tries == 0
    chat.failures.clear()
    assert deliver(courier(outbox, chat, clock=clock)) == Delivered(delivered=2)


def test_one_bad_nudge_holds_up_no_other(outbox: Outbox, clock: ManualClock) -> None:
    """A nudge that is refused again and again leaves the way to the next."""
    refused = DeliveryFailed("HTTP 400")

    class Picky(Received):
        async def send(self, nudge: object) -> None:
            await Received.send(self, nudge)  # type: ignore[arg-type]
            if self.ids[-1] == "n/1":
                raise refused

    chat = Picky("chat")
    raise_(outbox, "chat", count=3)
    assert deliver(courier(outbox, chat, clock=clock)) == Delivered(delivered=2, failed=1)
    assert chat.ids == ["n/0", "n/1", "n/2"]


def test_couriers_share_the_work(outbox: Outbox, clock: ManualClock) -> None:
    """Of two couriers at once each nudge is taken by one: what is leased is nobody else's."""
    chat = Received("chat")
    raise_(outbox, "chat", count=10)

    async def story() -> list[Delivered]:
        pair = [courier(outbox, chat, clock=clock) for _ in range(2)]
        return await asyncio.gather(*(each.deliver_due() for each in pair))

    found = asyncio.run(story())
    assert sum(each.delivered for each in found) == 10
    assert sorted(chat.ids) == sorted(f"n/{number}" for number in range(10))


def test_a_lease_outlasts_its_try(outbox: Outbox, clock: ManualClock) -> None:
    """A slow channel keeps its delivery for twice the time a try may take."""
    slow = Received("chat", timeout_s=300.0)
    raise_(outbox, "chat")
    seen: list[int] = []

    async def story() -> None:
        moment = asyncio.get_running_loop().create_future()
        moment.set_result(True)

        def look() -> "asyncio.Future[bool]":
            seen.append(only(outbox).next_at - clock.instant())
            return moment

        slow.waits = look
        await courier(outbox, slow, clock=clock).deliver_due()

    asyncio.run(story())
    assert seen == [10 * MINUTE]


def test_an_error_names_no_address(outbox: Outbox, clock: ManualClock) -> None:
    """Whatever a channel raises, only the error's kind is kept: its text may hold a secret."""
    chat = Received("chat", failures=[OSError("https://hooks.example/T0KEN refused")])
    raise_(outbox, "chat")
    deliver(courier(outbox, chat, clock=clock))
    assert only(outbox).error == "OSError"


def test_a_channel_that_is_gone_is_given_up(outbox: Outbox, clock: ManualClock) -> None:
    """What waits for a channel nobody configures any more is given up after the same week."""
    raise_(outbox, "gone")
    carrier = courier(outbox, Received("chat"), clock=clock)
    clock.advance(timedelta(days=7))
    assert deliver(carrier) == Delivered()
    clock.advance(timedelta(seconds=1))
    assert deliver(carrier) == Delivered(given_up=1)
    assert only(outbox).error == "no such channel is configured any more"
    assert deliver(Courier(outbox.nudges, {}, clock)) == Delivered()


def test_a_lost_note_is_a_repeat(outbox: Outbox, clock: ManualClock) -> None:
    """Where the store goes away before the note, the same nudge is delivered again later."""
    chat = Received("chat")
    raise_(outbox, "chat")
    outbox.line.writes_left = 1
    with pytest.raises(StoreUnavailable):
        deliver(courier(outbox, chat, clock=clock))
    outbox.line.down, outbox.line.writes_left = False, -1
    assert deliver(courier(outbox, chat, clock=clock)) == Delivered()
    clock.advance(timedelta(minutes=1))
    assert deliver(courier(outbox, chat, clock=clock)) == Delivered(delivered=1)
    assert chat.ids == ["n/0", "n/0"]


def test_a_late_note_changes_nothing(outbox: Outbox, clock: ManualClock) -> None:
    """A try that failed after another courier delivered does not bring the nudge back."""
    raise_(outbox, "chat")
    nudges = Nudges(outbox.tables, clock)
    leased = nudges.lease("chat", lambda _: clock.instant() + MINUTE)
    assert leased is not None
    clock.advance(timedelta(minutes=1))
    assert deliver(courier(outbox, Received("chat"), clock=clock)) == Delivered(delivered=1)
    nudges.note(leased[1])
    assert only(outbox).state == "delivered"
