"""The lease of a run: while it goes on it says so, so that one whose process is gone is known."""

import asyncio
import logging
from types import TracebackType
from typing import Final, Self

from earmark.admission.cancellation import run_to_completion
from earmark.clock import NANOS_PER_SECOND, Clock
from earmark.errors import StoreError
from earmark.runs.journal import LEASE_NS, Journal

#: A renewal may fail four times before the lease runs out.
RENEW_EVERY_S: Final = LEASE_NS / NANOS_PER_SECOND / 5

_log = logging.getLogger(__name__)


class RunLease:
    """Renews the lease of a run while the block lasts; a short run never comes to it."""

    def __init__(self, journal: Journal, run_id: str, clock: Clock) -> None:
        """Renew that of the run *run_id* in *journal*."""
        self._journal = journal
        self._run_id = run_id
        self._clock = clock

    async def __aenter__(self) -> Self:
        self._renewing = asyncio.create_task(self._renew(), name=f"lease of run {self._run_id}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._renewing.cancel()
        # A renewal under way ends before the journal is closed.
        _, cancelled = await run_to_completion(_end_of(self._renewing))
        if cancelled is not None:
            raise cancelled

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep(RENEW_EVERY_S)
            until = self._clock.instant() + LEASE_NS
            _, cancelled = await run_to_completion(self._renewed(until))
            if cancelled is not None:
                raise cancelled

    async def _renewed(self, until: int) -> None:
        try:
            await self._journal.renew(self._run_id, until)
        except StoreError as error:
            _log.warning("the lease of run %s could not be renewed: %s", self._run_id, error)


async def _end_of(task: "asyncio.Task[None]") -> None:
    await asyncio.wait((task,))
