"""The courier: carries waiting nudges out, at least once, and keeps trying for a week."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from earmark.clock import NANOS_PER_SECOND, Clock
from earmark.nudges.channels.channel import Channel, DeliveryFailed, carry
from earmark.nudges.nudge import Delivery, Nudge
from earmark.nudges.nudges import Nudges

_log = logging.getLogger(__name__)

_MINUTE: Final = 60 * NANOS_PER_SECOND
_HOUR: Final = 60 * _MINUTE
#: A nudge that did not get through for so long is given up.
GIVE_UP_NS: Final = 7 * 24 * _HOUR
#: Unless it was tried less often than this: then it was the courier that was away.
LEAST_TRIES: Final = 10
#: Failures in a row after which a channel is left alone until the next round.
_ENOUGH: Final = 3


class Delivered(Struct, frozen=True, kw_only=True):
    """What one round came to."""

    delivered: int = 0
    failed: int = 0
    """Tries that failed and will be repeated."""
    given_up: int = 0


class Courier:
    """Carries what is due through its channels; any number of couriers may share the outbox."""

    def __init__(self, nudges: Nudges, channels: Mapping[str, Channel], clock: Clock) -> None:
        """Carry from *nudges* through *channels*, by the time of *clock*."""
        self._nudges = nudges
        self._channels = channels
        self._clock = clock

    async def deliver_due(self) -> Delivered:
        """Try each delivery that is due once; note durably what became of it.

        Each is leased before it is tried: a courier that dies between the other side's acceptance
        and its own note leaves it to be delivered again, with the same id. Channels do not wait
        for each other; one that fails three times in a row is left alone until the next round.

        Raises:
            StoreUnavailable: The outbox cannot be read or written now; what was sent without a
                note will be sent again.
        """
        rounds = [self._serve(name, channel) for name, channel in self._channels.items()]
        found = await asyncio.gather(*rounds, return_exceptions=True)
        for each in found:
            if isinstance(each, BaseException):
                raise each
        strays = await asyncio.to_thread(self._give_up_strays)
        return _sum([*(each for each in found if isinstance(each, Delivered)), strays])

    async def _serve(self, name: str, channel: Channel) -> Delivered:
        outcomes: list[Delivered] = []
        failures = 0
        while failures < _ENOUGH:
            leased = await asyncio.to_thread(self._nudges.lease, name, self._lease_of(channel))
            if leased is None:
                break
            outcome = await self._try(channel, *leased)
            failures = 0 if outcome.delivered else failures + 1
            outcomes.append(outcome)
        return _sum(outcomes)

    async def _try(self, channel: Channel, nudge: Nudge, leased: Delivery) -> Delivered:
        try:
            await carry(channel, nudge)
        except DeliveryFailed as failure:
            noted = self._failed(nudge, leased, failure)
        else:
            now = self._clock.instant()
            noted = replace(leased, state="delivered", delivered_at=now, error="")
        await asyncio.to_thread(self._nudges.note, noted)
        _tell(noted)
        return Delivered(
            delivered=int(noted.state == "delivered"),
            failed=int(noted.state == "waiting"),
            given_up=int(noted.state == "given_up"),
        )

    def _failed(self, nudge: Nudge, leased: Delivery, failure: DeliveryFailed) -> Delivery:
        now = self._clock.instant()
        late = now - nudge.created_at >= GIVE_UP_NS and leased.tries >= LEAST_TRIES
        retry_after_ns = round((failure.retry_after_s or 0) * NANOS_PER_SECOND)
        return replace(
            leased,
            state="given_up" if failure.final or late else "waiting",
            next_at=now + max(pause_after(leased.tries), min(retry_after_ns, _HOUR)),
            error=failure.detail,
        )

    def _lease_of(self, channel: Channel) -> "_DeliveryLease":
        return _DeliveryLease(self._clock, round(2 * channel.timeout_s * NANOS_PER_SECOND))

    def _give_up_strays(self) -> Delivered:
        """Give up what waits for a channel that is configured no more."""
        before = self._clock.instant() - GIVE_UP_NS
        strays = self._nudges.give_up_strays(tuple(self._channels), before)
        for stray in strays:
            _tell(stray)
        return Delivered(given_up=len(strays))


class _DeliveryLease:
    """Until when a delivery is nobody else's: longer than its try may take."""

    def __init__(self, clock: Clock, least: int) -> None:
        self._clock = clock
        self._least = least

    def __call__(self, tries: int) -> int:
        """Return the instant at which try number *tries* + 1 is due."""
        return self._clock.instant() + max(pause_after(tries), self._least)


def pause_after(tries: int) -> int:
    """Return the nanoseconds to wait after so many tries: a minute, doubled up to an hour."""
    return min(_MINUTE << min(tries - 1, 10), _HOUR)


def _tell(delivery: Delivery) -> None:
    about = (delivery.nudge_id, delivery.channel, delivery.tries)
    match delivery.state:
        case "delivered":
            _log.info("nudge %s delivered on %s at try %s", *about)
        case "waiting":
            _log.warning("nudge %s not delivered on %s, try %s: %s", *about, delivery.error)
        case "given_up":
            _log.error("nudge %s given up on %s after try %s: %s", *about, delivery.error)


def _sum(outcomes: list[Delivered]) -> Delivered:
    return Delivered(
        delivered=sum(each.delivered for each in outcomes),
        failed=sum(each.failed for each in outcomes),
        given_up=sum(each.given_up for each in outcomes),
    )
