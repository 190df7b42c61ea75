"""What may stop a heartbeat from dispatching: read anew before each task, and closed in doubt."""

import logging
from typing import Final

from msgspec import Struct

from earmark.budget.path import ancestors
from earmark.clock import Clock, iso
from earmark.errors import EarmarkError
from earmark.heartbeat.quiet_hours import Hours, quiet_until
from earmark.workspace.agent_state import HeartbeatState
from earmark.workspace.daily_spend import timezone_of
from earmark.workspace.kill_switch import is_enabled, kill_switch_name
from earmark.workspace.workspace import Workspace

_log = logging.getLogger("earmark.heartbeat")


class Verdict(Struct, frozen=True, kw_only=True):
    """Whether tasks may be dispatched now, and if not, why and until when."""

    state: HeartbeatState = ""
    """Empty: they may."""
    reason: str = ""
    resets_at: int = 0
    """When that ends by itself; 0 where it takes somebody."""

    @property
    def ok(self) -> bool:
        """Whether tasks may be dispatched."""
        return not self.state


GO: Final = Verdict()


class Controls:
    """The kill switch, the pause of a budget and the quiet hours of one agent."""

    def __init__(
        self,
        workspace: Workspace,
        clock: Clock,
        *,
        agent: str,
        budget: str,
        quiet_hours: Hours | None,
    ) -> None:
        self._workspace = workspace
        self._clock = clock
        self._budget = budget
        self._quiet_hours = quiet_hours
        self.switch = kill_switch_name(agent)

    def read(self) -> Verdict:
        """Return what the controls say now; what cannot be read says no."""
        try:
            return self._killed() or self._paused() or self._quiet() or GO
        except (EarmarkError, ValueError) as error:
            detail = str(error) if isinstance(error, EarmarkError) else type(error).__name__
            _log.warning("controls cannot be read: %s", detail)
            reason = f"the controls cannot be read, so nothing is dispatched: {detail}"
            return Verdict(state="error", reason=reason)

    def _killed(self) -> Verdict | None:
        for patch in self._workspace.quilt.named(self.switch):
            if not is_enabled(patch.data, self.switch):
                when = iso(patch.updated_at)
                cause = (
                    f"kill switch: patch {patch.type} '{patch.name}' by {patch.author} at {when}"
                )
                return Verdict(state="killed", reason=f"{cause}; set it to true to go on")
        return None

    def _paused(self) -> Verdict | None:
        now = self._clock.instant()
        for path in ancestors(self._budget):
            budget = self._workspace.ledger.store.budget(path)
            pause = budget.is_paused(now) if budget else None
            if pause is not None:
                by = f" by {pause.actor}" if pause.actor else ""
                why = f": {pause.reason}" if pause.reason else ""
                reason = (
                    f"budget '{path}' is paused{by}{why}; `earmark budget resume {path}` ends it"
                )
                return Verdict(state="paused", reason=reason, resets_at=pause.until or 0)
        return None

    def _quiet(self) -> Verdict | None:
        if self._quiet_hours is None:
            return None
        zone = timezone_of(self._workspace.ledger, self._budget)
        until = quiet_until(self._quiet_hours, self._clock.instant(), zone)
        if until is None:
            return None
        begin, end = (f"{each:%H:%M}" for each in self._quiet_hours)
        reason = f"quiet hours {begin}-{end} {zone}, until {iso(until)}"
        return Verdict(state="quiet", reason=reason, resets_at=until)
