"""A folder with books and a board, in which real heartbeats ask a provider with a till."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from earmark.board.listing import TaskFilter
from earmark.board.task import ModelWork, Task, TaskDraft, TaskStatus
from earmark.ledger.answers import Balance
from earmark.money import Money
from earmark.stores.open import open_ledger
from earmark.workspace.workspace import Workspace, open_workspace
from support.beat_zygote import Zygote
from support.fire_till import Till
from support.last_resort import LAST_RESORT_S

BUDGET: Final = "c8/cloud-lu"

#: Books in the folder itself.
BESIDE: Final = "sqlite:///books.db"

SETTINGS: Final = """
[store]
url = "{store}"
[prices."till/m"]
input_mtok = "1"
output_mtok = "2"
[providers.till]
api = "openai"
base_url = "{url}/v1"
max_tokens = 100
[heartbeat]
budget = "c8/cloud-lu"
model = "till/m"
interval = "{interval}"
lease = "{lease}"
task_timeout = "20s"
grace = "10s"
persist_every = 3
{more}
"""


@dataclass(slots=True)
class BeatPlace:
    """Books, a board and a till, which is looked at with every call that comes."""

    folder: Path
    workspace: Workspace
    till: Till
    faults: list[str] = field(default_factory=list[str])
    """What was seen that must not be."""
    highest: int = 0
    """The most that the day's account ever had settled and held, in nano-USD."""
    _seen: threading.Lock = field(default_factory=threading.Lock)

    def fill(self, count: int, **fields: Any) -> list[Task]:
        """Put so many tasks on the board; each asks for something of its own."""
        first = len(self.tasks())
        return [
            self.workspace.board.add(
                TaskDraft(
                    title=f"task {first + number}",
                    work=ModelWork(prompt=f"Write about {first + number}."),
                    max_attempts=100,
                    **fields,
                ),
                actor="ann",
            )
            for number in range(count)
        ]

    def tasks(self) -> list[Task]:
        """Return every task."""
        return self.workspace.board.find(TaskFilter(most=1000))

    def count(self, status: TaskStatus) -> int:
        """Return how many tasks are in that state."""
        return self.workspace.board.counts()[status]

    def day(self) -> Balance:
        """Return the money of the day's account."""
        balances = self.workspace.ledger.balances("c8")
        return next(each for each in balances if (each.unit, each.window) == ("usd", "day"))

    def booked(self) -> int:
        """Return what is settled and held today; notes it where it is beyond the cap."""
        day = self.day()
        assert isinstance(day.settled, Money)
        assert isinstance(day.held, Money)
        assert isinstance(day.limit, Money)
        booked = day.settled + day.held
        with self._seen:
            self.highest = max(self.highest, booked.in_nanos)
            if booked > day.limit:
                self.faults.append(f"{booked} of {day.limit} are booked")
        return booked.in_nanos

    def started(self, beats: Zygote) -> int:
        """Start a heartbeat once the lease of the one before is over; return its process id."""

        def is_free() -> bool:
            row = self.workspace.agents.get("Cloud Lu")
            return row is None or not row.held_at(self.workspace.ledger.clock.instant())

        assert with_patience(is_free)
        return beats.start()

    def asked(self, prompt: str) -> int:
        """Return how often the provider was asked this."""
        # A heartbeat that was killed may have sent half a request.
        asked = (request.body.get("messages") for request in self.till.requests)
        return sum(bool(messages) and messages[-1]["content"] == prompt for messages in asked)

    def check_quiet(self) -> None:
        """Assert that nothing forbidden was seen, and that the books cover every bill."""
        self.till.quiet()
        self.till.look()
        assert self.till.short == []
        assert self.faults == []
        assert self.workspace.ledger.audit().ok

    def mend(self) -> None:
        """Settle what nobody knew by the provider's own bill; then both are equal."""
        for task in self.tasks():
            assert isinstance(task.work, ModelWork)
            owed = self.till.owed_for.get(task.work.prompt, 0)
            holds = [
                self.workspace.ledger.reservation(attempt.key)
                for attempt in self.workspace.board.attempts(task.id)
                if self.workspace.ledger.store.reservation(attempt.key) is not None
            ]
            owed -= sum(
                each.actual.usd for each in holds if each.state == "settled" and each.actual
            )
            for hold in holds:
                if hold.state in {"open", "presumed"}:
                    paid = min(owed, hold.hold.usd)
                    self.workspace.ledger.settle(hold.key, Money.nanos(paid))
                    owed -= paid
            assert not owed, f"{task.title} was billed {owed} nano-USD more than was held"
        assert self.booked() == self.till.owed


def with_patience(done: Callable[[], object], seconds: float = LAST_RESORT_S) -> bool:
    """Look again and again whether something is *done*; return whether it was in time."""
    tick = threading.Event()
    for _ in range(round(seconds / 0.02)):
        if done():
            return True
        tick.wait(0.02)
    return bool(done())


@contextmanager
def beat_place(
    folder: Path,
    till: Till,
    *limits: str,
    store: str = BESIDE,
    interval: str = "50ms",
    lease: str = "300ms",
    more: str = "",
) -> Generator[BeatPlace]:
    """Make books with *limits* on `c8`, and open them here too, to look at them."""
    (folder / "earmark.toml").write_text(
        SETTINGS.format(store=store, url=till.url, interval=interval, lease=lease, more=more)
    )
    url = f"sqlite:///{folder}/books.db" if store == BESIDE else store
    with open_ledger(url) as ledger, open_workspace(ledger) as workspace:
        ledger.set_budget("c8", limits=limits)
        place = BeatPlace(folder, workspace, till)
        till.watch = place.booked
        yield place
        till.watch = None
