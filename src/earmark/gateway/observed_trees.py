"""Whether the tree that pays is observed, so that no limit of it binds; asked once a second."""

import asyncio
from typing import Final

from earmark.admission.ticket import AsyncTicket
from earmark.budget.limit import describe_limit, present
from earmark.clock import NANOS_PER_SECOND
from earmark.errors import EarmarkError
from earmark.gateway.access import Holder
from earmark.gateway.denied import Denied
from earmark.ledger.async_ledger import AsyncLedger

_KEPT_NS: Final = NANOS_PER_SECOND
_MOST_KEPT: Final = 10_000

OBSERVED: Final = "x-earmark-observed"
WOULD_REFUSE: Final = "x-earmark-would-refuse"


class ObservedTrees:
    """Asks the books; its methods belong to the event loop's thread."""

    def __init__(self, ledger: AsyncLedger) -> None:
        self._ledger = ledger
        # By root, with when it was asked.
        self._known: dict[str, tuple[bool, int]] = {}

    async def headers(self, holder: Holder) -> dict[str, str]:
        """Return what an answer to *holder* says of its tree: that it is observed, or is not.

        The latter to a token that observes alone, which its limits bind then as any other.

        Raises:
            Denied: It is, and the token of *holder* is for limits that bind.
        """
        root = holder.access.root
        now = self._ledger.clock.elapsed()
        is_observed, asked_at = self._known.get(root, (False, 0))
        if root not in self._known or now - asked_at > _KEPT_NS:
            budget = await asyncio.to_thread(self._ledger.sync.store.budget, root)
            is_observed = budget is not None and budget.observed
            if len(self._known) >= _MOST_KEPT:
                self._known.clear()
            self._known[root] = (is_observed, now)
        if not is_observed:
            return {} if holder.access.mode == "enforce" else {OBSERVED: "false"}
        if holder.access.mode == "enforce":
            raise _unbound(root)
        return {OBSERVED: "true"}


async def check_binds(holder: Holder, ticket: AsyncTicket) -> None:
    """Release *ticket* and refuse it if an observed tree let it over a limit that should bind.

    Raises:
        Denied: Its tree is observed since it was last asked about.
    """
    reservation = ticket.reservation
    if holder.access.mode == "enforce" and reservation.would_refuse is not None:
        unbound = _unbound(reservation.budget.partition("/")[0])
        try:
            await ticket.release()
        except EarmarkError as error:
            raise unbound from error
        raise unbound


def observed_headers(ticket: AsyncTicket) -> dict[str, str]:
    """Return what an answer says of a hold that did not fit: which limit would have refused it."""
    mark = ticket.reservation.would_refuse
    if mark is None:
        return {}
    limit = describe_limit(present(mark.unit, mark.limit), mark.unit, mark.window)
    return {OBSERVED: "true", WOULD_REFUSE: f"{mark.reason}, {mark.budget}, {limit}"}


def _unbound(root: str) -> Denied:
    words = (
        f"the tree '{root}' is observed, so that no limit of this token's budget binds:"
        f" `earmark budget set {root} --no-observed` makes them bind, and a token made with"
        " --mode observe spends there all the same"
    )
    return Denied(403, "observed_tree", words)
