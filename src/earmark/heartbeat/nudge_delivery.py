"""Nudges carried out beside the cycles: a channel that is down holds no task up."""

import asyncio
import logging
from contextlib import suppress
from typing import Final, Self

from earmark.clock import Clock
from earmark.errors import StoreError
from earmark.nudges.courier import Courier

_log = logging.getLogger("earmark.heartbeat")

#: How often it is looked for deliveries that are due again, in seconds.
LOOK_EVERY_S: Final = 60.0


class NudgeDelivery:
    """Carries what is due: in the background within `async with`, else when `notify` is awaited."""

    def __init__(self, courier: Courier | None, clock: Clock) -> None:
        self._courier = courier
        self._clock = clock
        self._notified = asyncio.Event()
        self._rounds: asyncio.Task[None] | None = None

    async def notify(self) -> None:
        """Carry what may be new: at once without a background, else soon."""
        if self._rounds is None:
            await self._carry()
        self._notified.set()

    async def _carry(self) -> None:
        if self._courier is None:
            return
        try:
            await self._courier.deliver_due()
        except StoreError as error:
            # Nothing is lost: it waits in the outbox.
            _log.warning("nudges could not be carried: %s", error)

    async def _go_round(self) -> None:
        while True:
            self._notified.clear()
            await self._carry()
            waits = [
                asyncio.ensure_future(self._clock.sleep(LOOK_EVERY_S)),
                asyncio.ensure_future(self._notified.wait()),
            ]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in waits:
                    each.cancel()

    async def __aenter__(self) -> Self:
        if self._courier is not None:
            self._rounds = asyncio.create_task(self._go_round(), name="earmark nudge delivery")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._rounds is None:
            return
        rounds, self._rounds = self._rounds, None
        rounds.cancel()
        with suppress(asyncio.CancelledError):
            await rounds
