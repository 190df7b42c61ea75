"""Who is measured side by side: Earmark's own ways, and the packages that guard spending too."""

from dataclasses import dataclass
from typing import Final, Literal

Ground = Literal["files", "postgres", "redis", "forgetful redis"]

FILES: Final = "Earmark, SQLite"
SERVER: Final = "Earmark, PostgreSQL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Somebody who is measured."""

    name: str
    script: str
    """The module `benchmarks.peer_…` that drives it."""
    mode: str = ""
    ground: Ground
    packages: tuple[str, ...] = ()
    """What its environment has; none: Earmark, in the Python that runs."""
    least: tuple[int, int] = (3, 11)
    """The oldest Python it runs on."""
    against: str = ""
    """Which Earmark its rates are set against."""
    used: str
    """Which of its calls, and what they promise."""


_STORES: Final[tuple[tuple[str, Ground], ...]] = ((FILES, "files"), (SERVER, "postgres"))

OURS: Final = tuple(
    Subject(name=f"{store}, {mode}", script="earmark", mode=mode, ground=ground, used=used)
    for store, ground in _STORES
    for mode, used in (("threads", "ledger.spend, durable"), ("tasks", "async spend, durable"))
)

PEERS: Final = (
    Subject(
        name="tokencap, SQLite, client",
        script="tokencap",
        mode="client",
        ground="files",
        packages=("tokencap==0.2.0", "openai==3.54.0"),
        against=FILES,
        used="Guard.wrap_openai, threads, durable; before a call it counts its prompt alone, here"
        " half of the call",
    ),
    Subject(
        name="tokencap, SQLite, back end",
        script="tokencap",
        mode="backend",
        ground="files",
        packages=("tokencap==0.2.0", "openai==3.54.0"),
        against=FILES,
        used="check_and_increment of the whole call, threads, durable; one commit a call, as"
        " nothing is settled",
    ),
    Subject(
        name="deltav, PostgreSQL",
        script="deltav",
        ground="postgres",
        packages=("deltav==0.0.0",),
        against=SERVER,
        used="PostgresBudgetStore try_reserve, settle; tasks, durable; gives up on 25 conflicts",
    ),
    Subject(
        name="escrowmint, Redis",
        script="escrowmint",
        ground="redis",
        packages=("escrowmint==0.5.0",),
        against=SERVER,
        used="reserve, commit; threads, durable (appendfsync always); commits the whole hold",
    ),
    Subject(
        name="escrowmint, Redis in memory",
        script="escrowmint",
        ground="forgetful redis",
        packages=("escrowmint==0.5.0",),
        against=SERVER,
        used="the same, not durable: a restart forgets all",
    ),
    Subject(
        name="budgetgate, Redis",
        script="budgetgate",
        ground="redis",
        packages=("budgetgate==0.3.1", "redis==8.1.0"),
        least=(3, 12),
        against=SERVER,
        used="Engine.guard_bounded; threads, durable (appendfsync always); each call adds up all"
        " calls of its window",
    ),
)

SUBJECTS: Final = OURS + PEERS
