"""The last look before a call is sent: its budget is held, and nothing else may be in the way."""

import asyncio
from collections.abc import Callable

from earmark.admission.call import Call, Grant, Reply
from earmark.errors import CallFailed, EarmarkError
from earmark.heartbeat.controls import Verdict
from earmark.pricing.bound import Bound

#: Says whether the call may be sent; called in a thread of its own.
Look = Callable[[], Verdict]


class Gated:
    """A call that is sent only if *look* says so at that moment; else it costs nothing.

    It may have waited in line for minutes: the switch that was on before may be off by now, and
    another heartbeat may have taken the task back.
    """

    def __init__(self, inner: Call, look: Look) -> None:
        self._inner = inner
        self._look = look
        self.shut: Verdict | None = None
        """Why it was not sent."""

    @property
    def name(self) -> str:
        """The call's own."""
        return self._inner.name

    @property
    def bound(self) -> Bound:
        """The call's own."""
        return self._inner.bound

    @property
    def streams(self) -> bool:
        """The call's own."""
        return self._inner.streams

    async def send(self, grant: Grant) -> Reply:
        """Look, and make the call.

        Raises:
            CallFailed: Of the call; or not billed, where it was not sent.
        """
        try:
            verdict = await asyncio.to_thread(self._look)
        except EarmarkError as error:
            verdict = Verdict(state="error", reason=str(error))
        if not verdict.ok:
            self.shut = verdict
            raise CallFailed(detail=verdict.reason, billed="no", retryable=True)
        return await self._inner.send(grant)
