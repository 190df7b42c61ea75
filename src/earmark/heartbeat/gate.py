"""The last look before a call is sent: its budget is held, and nothing else may be in the way.

It may have waited in line for minutes, or be one of many that a composition makes: the switch that
was on before may be off by now, and another heartbeat may have taken the task back.
"""

import asyncio
from collections.abc import Callable

from earmark.admission.call import Call, CountInput, Grant, Reply, counting_inside
from earmark.errors import CallFailed, EarmarkError
from earmark.heartbeat.controls import Verdict
from earmark.pricing.bound import Bound

#: Says whether a call may be sent; called in a thread of its own.
Look = Callable[[], Verdict]


class Gate:
    """Lets the calls of one try through as long as *look* says so; once shut it stays shut."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.shut: Verdict | None = None
        """Why a call was not sent."""

    def __call__(self, call: Call) -> Call:
        """Return *call*, to be sent only if it is let through; else it costs nothing."""
        return Gated(call, self)

    async def send(self, call: Call, grant: Grant) -> Reply:
        """Look, and make the call.

        Raises:
            CallFailed: Of the call; or not billed, where it was not sent.
        """
        await self._pass()
        self._under_way += 1
        self._idle.clear()
        try:
            return await call.send(grant)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _pass(self) -> None:
        if self.shut is None:
            verdict = await self._verdict()
            if self.shut is None:
                if verdict.ok:
                    return
                self.shut = verdict
        # Its failure cuts short what runs beside it, of which nobody would know the cost.
        await self._idle.wait()
        raise CallFailed(detail=self.shut.reason, billed="no", retryable=False)

    async def _verdict(self) -> Verdict:
        try:
            return await asyncio.to_thread(self._look)
        except EarmarkError as error:
            return Verdict(state="error", reason=str(error))


class Gated:
    """A call behind a gate."""

    def __init__(self, inner: Call, gate: Gate) -> None:
        self._inner = inner
        self._gate = gate

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

    @property
    def count_input(self) -> CountInput | None:
        """The call's own; what is only counted is not held back."""
        return counting_inside(self._inner, lambda counted: Gated(counted, self._gate))

    async def send(self, grant: Grant) -> Reply:
        """Make the call if the gate lets it through; see `Gate.send`."""
        return await self._gate.send(self._inner, grant)
