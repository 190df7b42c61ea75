"""The first seed's budget tracker, line for line as it behaves: what its defects are shown on.

Only what a test must hold in its hands differs: the clock is given, the quilt is a stub whose
failures can be switched on, and the cap and a cycle's cost are arguments instead of constants.
"""

import copy
from contextlib import suppress
from typing import Any

from earmark.testing import ManualClock


class StubQuilt:
    """The quilt that the seed writes to: absolute writes, the last one wins."""

    def __init__(self) -> None:
        self.patches: dict[tuple[str, str], dict[str, Any]] = {}
        self.writes: list[tuple[str, str]] = []
        """The type and name of each write, in order."""
        self.down = False
        """While set, the store cannot be reached."""

    def get_patch(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return a patch's data, None if there is none."""
        if self.down:
            raise ConnectionError("store down")
        return copy.deepcopy(self.patches.get((kind, name)))

    def store_patch(self, kind: str, name: str, data: dict[str, Any]) -> None:
        """Write a patch over whatever stands."""
        if self.down:
            raise ConnectionError("store down")
        self.writes.append((kind, name))
        self.patches[kind, name] = copy.deepcopy(data)

    def named(self, kind: str) -> list[dict[str, Any]]:
        """Return the data of all patches of a type."""
        return [data for (each, _), data in self.patches.items() if each == kind]


class SeedTracker:
    """The seed's `CloudLuHeartbeat`."""

    PERSIST_INTERVAL = 10

    def __init__(
        self, quilt: StubQuilt, clock: ManualClock, *, cap: float = 1.0, cycle_cost: float = 0.001
    ) -> None:
        self.quilt = quilt
        self.clock = clock
        self.cap = cap
        self.cycle_cost = cycle_cost
        self.is_running = False
        self.cycle_count = 0
        self.last_heartbeat: str | None = None
        self.daily_spend = 0.0
        self.last_budget_date: str | None = None
        self.alert_sent = False
        self.restore()

    def today(self) -> str:
        """Return the date in UTC, whatever zone the budget is in."""
        return self.clock.now.strftime("%Y-%m-%d")

    def restore(self) -> None:
        """Take today's patch; a failure starts at nothing."""
        date = self.today()
        try:
            patch = self.quilt.get_patch("budget", f"budget_{date}")
            found = patch is not None and "daily_spend" in patch
            self.daily_spend = float(patch["daily_spend"]) if patch and found else 0.0
            self.last_budget_date = date
        except Exception:  # noqa: BLE001 - as the seed has it
            self.daily_spend = 0.0
            self.last_budget_date = date

    def check_date_rollover(self) -> None:
        """Forget the spend as soon as the date is another one."""
        date = self.today()
        if self.last_budget_date != date:
            self.daily_spend = 0.0
            self.last_budget_date = date
            self.alert_sent = False

    def accumulate_cost(self, cost: float) -> None:
        """Add to the day's spend; nothing is refused."""
        self.check_date_rollover()
        self.daily_spend += cost
        self.check_budget_alert()

    def check_budget_alert(self) -> None:
        """Alert at 80 % of the cap, as far as the flag knows."""
        if self.alert_sent:
            return
        if self.daily_spend >= self.cap * 0.8:
            self.send_budget_alert()
            self.alert_sent = True

    def send_budget_alert(self) -> None:
        """Store the alert for the sibling; a failure is logged and forgotten."""
        data = {
            "type": "budget_alert",
            "daily_spend": self.daily_spend,
            "daily_cap": self.cap,
            "threshold_percent": 80,
            "date": self.today(),
            "timestamp": self.clock.now.isoformat(),
        }
        name = f"budget_alert_{self.today()}_{int(self.clock.now.timestamp())}"
        self._store("sibling_nudge", name, data)

    def persist_budget(self) -> None:
        """Write the day's spend under today's name; a failure is logged and forgotten."""
        date = self.today()
        data = {
            "daily_spend": self.daily_spend,
            "date": date,
            "last_updated": self.clock.now.isoformat(),
            "cycle_count": self.cycle_count,
        }
        self._store("budget", f"budget_{date}", data)

    def _store(self, kind: str, name: str, data: dict[str, Any]) -> None:
        # As the seed has it: it logs the failure, and goes on.
        with suppress(Exception):
            self.quilt.store_patch(kind, name, data)

    async def dispatch_cycle(self) -> dict[str, Any]:
        """Run one cycle: a made-up cost, a patch every tenth time."""
        self.cycle_count += 1
        try:
            self.accumulate_cost(self.cycle_cost)
            if self.cycle_count % self.PERSIST_INTERVAL == 0:
                self.persist_budget()
            self.last_heartbeat = self.clock.now.isoformat()
            return {
                "status": "healthy",
                "cycle": self.cycle_count,
                "timestamp": self.last_heartbeat,
                "daily_spend": round(self.daily_spend, 4),
                "budget_utilization": round((self.daily_spend / self.cap) * 100, 2),
            }
        except Exception as error:  # noqa: BLE001 - as the seed has it
            return {
                "status": "error",
                "cycle": self.cycle_count,
                "error": str(error),
                "timestamp": self.clock.now.isoformat(),
            }

    async def start(self) -> None:
        """Run a cycle each second until stopped."""
        if self.is_running:
            return
        self.is_running = True
        try:
            while self.is_running:
                await self.dispatch_cycle()
                await self.clock.sleep(1.0)
        finally:
            self.is_running = False
            self.persist_budget()

    def stop(self) -> None:
        """Ask the loop to end."""
        if self.is_running:
            self.is_running = False
            self.persist_budget()

    def get_health_status(self) -> dict[str, Any]:
        """Return the blocks `heartbeat`, `budget` and `persistence`."""
        used = (self.daily_spend / self.cap) * 100 if self.cap > 0 else 0
        left = self.PERSIST_INTERVAL - (self.cycle_count % self.PERSIST_INTERVAL)
        return {
            "heartbeat": {
                "running": self.is_running,
                "cycle_count": self.cycle_count,
                "last_heartbeat": self.last_heartbeat,
            },
            "budget": {
                "date": self.today(),
                "daily_spend": round(self.daily_spend, 4),
                "daily_cap": self.cap,
                "utilization_percent": round(used, 2),
                "alert_sent": self.alert_sent,
                "remaining": round(self.cap - self.daily_spend, 4),
            },
            "persistence": {
                "last_budget_date": self.last_budget_date,
                "persist_interval": self.PERSIST_INTERVAL,
                "cycles_until_persist": left,
            },
        }
