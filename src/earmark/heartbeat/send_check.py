"""The last check before a call is sent: its budget is held, and nothing else may be in the way.

It may have waited in line for minutes, or be one of many that a composition makes: the switch that
was on before may be off by now, and another heartbeat may have taken the task back.
"""

import asyncio
from collections.abc import Callable

from earmark.admission.call import Call, Grant, Reply, WrappedCall
from earmark.errors import CallFailed, EarmarkError
from earmark.heartbeat.controls import Verdict

#: Says whether a call may be sent; called in a thread of its own.
Permission = Callable[[], Verdict]


class SendCheck:
    """Lets one attempt's calls through while *permission* allows; once blocked it stays so."""

    def __init__(self, permission: Permission) -> None:
        self._permission = permission
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.blocked_by: Verdict | None = None
        """Why a call was not sent."""

    def __call__(self, call: Call) -> Call:
        """Return *call*, sent only if it is permitted; else it costs nothing."""
        return CheckedCall(call, self)

    async def send(self, call: Call, grant: Grant) -> Reply:
        """Check, and make the call.

        Raises:
            CallFailed: Of the call; or not billed, where it was not sent.
        """
        await self._check()
        self._under_way += 1
        self._idle.clear()
        try:
            return await call.send(grant)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _check(self) -> None:
        if self.blocked_by is None:
            verdict = await self._verdict()
            if self.blocked_by is None:
                if verdict.ok:
                    return
                self.blocked_by = verdict
        # Its failure cancels calls that run beside it, whose cost would then be unknown.
        await self._idle.wait()
        raise CallFailed(detail=self.blocked_by.reason, billed="no", retryable=False)

    async def _verdict(self) -> Verdict:
        try:
            return await asyncio.to_thread(self._permission)
        except EarmarkError as error:
            return Verdict(state="error", reason=str(error))


class CheckedCall(WrappedCall):
    """A call that is checked before it is sent; counting its input is not checked."""

    __slots__ = ("_send_check",)

    def __init__(self, inner: Call, send_check: SendCheck) -> None:
        super().__init__(inner)
        self._send_check = send_check

    def rewrap(self, inner: Call) -> "CheckedCall":
        """Return *inner* under the same check."""
        return CheckedCall(inner, self._send_check)

    async def send(self, grant: Grant) -> Reply:
        """Make the call if it is permitted; see `SendCheck.send`."""
        return await self._send_check.send(self.inner, grant)
