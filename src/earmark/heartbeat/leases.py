"""Leases renewed while their holder lives: of the agent's name, and of the tasks under way."""

import asyncio
import logging
from contextlib import suppress
from typing import Final, Self

from earmark.clock import NANOS_PER_SECOND, Clock
from earmark.errors import AgentBusy, StoreError
from earmark.workspace.workspace import Workspace

_log = logging.getLogger("earmark.heartbeat")

#: A lease is renewed so many times before it would run out.
RENEWALS: Final = 3


class Leases:
    """Renews in the background, within `async with`; nested blocks share one task."""

    def __init__(
        self, workspace: Workspace, clock: Clock, *, agent: str, holder: str, lease_ns: int
    ) -> None:
        self._workspace = workspace
        self._clock = clock
        self._agent = agent
        self._holder = holder
        self.lease_ns = lease_ns
        self.tasks: set[str] = set()
        """The ids of those under way."""
        self.lost: AgentBusy | None = None
        """Set once another heartbeat has taken the name."""
        self.gone = asyncio.Event()
        """Set when `lost` is."""
        self._depth = 0
        self._keeper: asyncio.Task[None] | None = None

    async def renew(self) -> None:
        """Renew all of them now.

        Raises:
            AgentBusy: Another heartbeat has the name.
            StoreUnavailable: They could not be renewed.
        """
        try:
            await asyncio.to_thread(self._renew_name)
        except AgentBusy as busy:
            self.lost = busy
            self.gone.set()
            raise
        if self.tasks:
            await asyncio.to_thread(self._renew_tasks)

    def holds(self, task_id: str) -> bool:
        """Return whether the name and one task are still this heartbeat's, for half a lease.

        They are renewed where less is left, which the background does in time as a rule.

        Raises:
            AgentBusy, StoreUnavailable: As `renew`.
        """
        name, task = self._workspace.agents.get(self._agent), self._workspace.board.get(task_id)
        until = self._clock.instant() + self.lease_ns // 2
        if (
            name is not None
            and (name.holder, task.agent) == (self._holder, self._agent)
            and min(name.lease_until, task.lease_until) >= until
        ):
            return True
        self._renew_name()
        held = self._workspace.board.renew(self._agent, [task_id], lease_ns=self.lease_ns)
        return task_id in held

    def _renew_name(self) -> None:
        self._workspace.agents.renew(self._agent, self._holder, self.lease_ns)

    def _renew_tasks(self) -> None:
        # One that is not held any more has just ended, or finds out before it sends or ends.
        self._workspace.board.renew(self._agent, frozenset(self.tasks), lease_ns=self.lease_ns)

    async def _keep(self) -> None:
        while self.lost is None:
            await self._clock.sleep(self.lease_ns / RENEWALS / NANOS_PER_SECOND)
            try:
                await self.renew()
            except AgentBusy as busy:
                _log.error("%s", busy)
            except StoreError as error:
                _log.warning("leases could not be renewed: %s", error)

    async def __aenter__(self) -> Self:
        self._depth += 1
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name="earmark leases")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth or self._keeper is None:
            return
        keeper, self._keeper = self._keeper, None
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper
