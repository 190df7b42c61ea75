"""What the ledger counts, is asked and answers: frozen values, whole numbers inside.

Amounts are whole nano-USD and counts; instants are nanoseconds since the epoch. The structs
are msgspec's because a hot ledger makes several of them per operation.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from msgspec import Struct
from msgspec.structs import astuple

from earmark.budget.budget import Budget, Extension, Pause
from earmark.clock import END_OF_TIME, Instant, to_datetime
from earmark.errors import Reason
from earmark.ledger.would_refuse import WouldRefuse
from earmark.money import Money

State = Literal["open", "settled", "released", "presumed"]
Kind = Literal[
    "reserve", "extend", "settle", "release", "presume", "limit", "pause", "resume", "extension"
]


#: The kinds of entries that say what a reservation came to.
CLOSING: Final[frozenset[Kind]] = frozenset({"settle", "release", "presume"})
#: In a settlement: as many calls as were held. Of another unit that is so, no count is stated.
AS_HELD: Final = -1


class Amounts(Struct, frozen=True, gc=False):
    """How much of each unit of `earmark.budget.units`."""

    usd: int = 0
    calls: int = 1
    tokens: int | None = None
    """`None` where nobody counted them."""
    counts: tuple[tuple[str, int], ...] = ()
    """Of every other unit that was stated its name and count, in the order of the names."""


class LimitWindow(Struct, frozen=True, gc=False):
    """What an account is about: one limit in one interval."""

    id: int
    budget: str
    unit: str
    window: str
    start: int
    end: int
    limit: int
    """The limit's amount now, live extensions included."""
    thresholds: tuple[int, ...] = ()
    """Where to alert, ascending, in parts per million of the limit."""


class Account(Struct, gc=False):
    """One limit in one interval and its sums: the only thing the arithmetic knows.

    Only `Books` changes accounts, and only its own: a store's rows and whoever asks have copies.
    """

    line: LimitWindow
    settled: int = 0
    held: int = 0
    alerted: int = 0
    """The highest threshold told so far, in parts per million of the amount `alerted_of`."""
    alerted_of: int = 0
    """The limit's amount when that was told: under another one nothing has been told yet."""
    alert_at: int = END_OF_TIME
    """What must be settled for the next alert; follows from the line and what was told."""

    @property
    def id(self) -> int:
        """The number of the account in its store."""
        return self.line.id

    @property
    def available(self) -> int:
        """What the next reservation may take; negative after an overrun or a lowered limit."""
        return self.line.limit - self.settled - self.held


class Part(Struct, frozen=True, gc=False):
    """An account that counts a reservation by what was added to it since its limit was set."""

    index: int
    """Its place among the reservation's accounts."""
    before: Amounts
    """What was held already, and is not counted there."""


class Reservation(Struct, frozen=True, gc=False):
    """Amounts set aside on every account above a budget, and what became of them."""

    key: str
    budget: str
    asked: Amounts
    """What it was opened with."""
    hold: Amounts
    """What it holds, or held: *asked* and its extensions."""
    state: State
    accounts: tuple[int, ...]
    """What it counts on: those it was opened on, then those that were added since."""
    opened: int
    expires: int
    closed: int
    actual: Amounts | None
    labels: str
    seq: int
    """The number of the entry that opened it; entries are numbered in the order of commits."""
    last: int
    """The number of its latest entry."""
    parts: tuple[Part, ...] = ()
    """Those of its accounts that do not count all of it; nearly always none."""
    details: str = ""
    """What was kept with its settlement, as JSON; see `earmark.ledger.details`."""
    repeated: bool = False
    """Whether this answers a request whose key was used before, so that it opened nothing.

    It says how the answer came about and is no part of the reservation: it is not stored, and two
    answers about one reservation are equal.
    """
    would_refuse: WouldRefuse | None = None
    """Which limit the operation that this answers did not fit on, in an observed tree.

    It is no part of the reservation either: the entry keeps it.
    """

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reservation):
            return NotImplemented
        return astuple(self)[:-2] == astuple(other)[:-2]

    def __hash__(self) -> int:
        return hash(astuple(self)[:-2])

    @property
    def amount(self) -> Money:
        """The hold."""
        return Money.nanos(self.hold.usd)

    @property
    def settled(self) -> Money | None:
        """The actual cost; the whole hold or more where it is presumed; `None` while open."""
        return None if self.actual is None else Money.nanos(self.actual.usd)

    @property
    def overrun(self) -> Money:
        """How much the actual cost exceeds the hold."""
        return Money.nanos(max(0, (self.actual.usd if self.actual else 0) - self.hold.usd))

    @property
    def opened_at(self) -> datetime:
        """When it was reserved, UTC."""
        return to_datetime(self.opened)

    @property
    def deadline(self) -> datetime:
        """When it is presumed spent if nobody settled it, UTC."""
        return to_datetime(self.expires)


# Operations: what the ledger is asked -------------------------------------------------------------


class TableRows(Protocol):
    """The tables beside the ledger's, within one transaction."""

    def run(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows: those a query found, or those it `RETURNING`s."""
        ...


#: Writes rows of other tables in the transaction of what is done to a reservation, given as it is
#: then.
#: It may be called again, also after that was committed, and must then change nothing; if it
#: raises, the operation fails alone and nothing of it is kept.
AlsoWrite = Callable[[TableRows, Reservation], None]


class Reserve(Struct, frozen=True, gc=False):
    """Open a reservation of *amounts* for *ttl* nanoseconds on every account above *budget*."""

    key: str
    budget: str
    amounts: Amounts
    ttl: int
    labels: str = ""
    operation: str = ""
    """Names this one request, and is kept in its entry unless it is *key*.

    Applied again after a lost connection, it is known by this as the request that opened the
    reservation, where another one with the same key is a repeat. Empty: any second one is a repeat.
    """
    also: AlsoWrite | None = None


class Extend(Struct, frozen=True, gc=False):
    """Add *amounts* to an open reservation, and give it time until *ttl* nanoseconds from now."""

    key: str
    amounts: Amounts
    operation: str
    ttl: int = 0
    """Its deadline moves there if that is later; 0 leaves it where it is."""
    also: AlsoWrite | None = None


class Settle(Struct, frozen=True, gc=False):
    """Replace a reservation by what it really cost; counts that are not stated are those held."""

    key: str
    amounts: Amounts
    also: AlsoWrite | None = None
    details: str = ""
    """JSON that is kept with the settlement; a repeat's is not."""


class Release(Struct, frozen=True, gc=False):
    """Give all of a reservation back: nothing was spent."""

    key: str
    opened_by: str = ""
    """Only if the `Reserve` of this `operation` opened it; else nothing is found to release."""
    also: AlsoWrite | None = None


class Presume(Struct, frozen=True, gc=False):
    """Count the whole hold as spent because nobody knows; correctable by a settle."""

    key: str
    also: AlsoWrite | None = None
    known: Amounts | None = None
    """What it cost at least: the larger of that and of what is counted already is counted."""
    details: str = ""
    """As of a `Settle`; where there are none yet, also where nothing is raised."""


class SetLimits(Struct, frozen=True, gc=False):
    """Make or change a budget; what is not given stays as it is when the operation is decided."""

    budget: str
    given: Mapping[str, Any] = {}
    """Fields of a budget by their names, read as `budget.settable.read_given` does."""
    actor: str = ""
    reason: str = ""
    operation: str = ""
    count_back: bool = False
    """Whether limits of a window that the budget did not have count their interval so far."""


class PauseBudget(Struct, frozen=True, gc=False):
    """Refuse every later reservation at or below *budget* until resumed or *pause.until*."""

    budget: str
    pause: Pause
    operation: str


class ResumeBudget(Struct, frozen=True, gc=False):
    """End a pause."""

    budget: str
    actor: str
    reason: str
    operation: str


class ExtendBudget(Struct, frozen=True, gc=False):
    """Add to a limit for a while."""

    budget: str
    extension: Extension
    operation: str


OnReservation = Reserve | Extend | Settle | Release | Presume
OnBudget = SetLimits | PauseBudget | ResumeBudget | ExtendBudget
Operation = OnReservation | OnBudget


# What deciding needs to know ----------------------------------------------------------------------


class Scope(Struct, frozen=True, gc=False):
    """The accounts above a path, leaf first, as they stand during `[since, until)`."""

    accounts: tuple[Account, ...]
    numbers: tuple[int, ...]
    """Those of the accounts."""
    paused: str = ""
    """The paused budget nearest the root, if any."""
    pause: Pause | None = None
    since: int = 0
    until: int = END_OF_TIME
    observed: bool = False
    """Whether what does not fit is accepted all the same, and marked in its entry."""


# Decisions: what the ledger answers ---------------------------------------------------------------


class Added(Struct, frozen=True, gc=False):
    """What an account counts of what was before: how much, and of how many reservations."""

    settled: int
    held: int
    reservations: int


class Opened(Struct, frozen=True, gc=False):
    """The accounts that a change of a budget begins with what was before, and of whom."""

    accounts: tuple[Account, ...] = ()
    """As they stand, without it."""
    joined: tuple[Reservation, ...] = ()
    added: tuple[Added, ...] = ()
    """For each account."""


class Entry(Struct, frozen=True, gc=False):
    """One accepted operation, kept for ever; *amounts* are the operation's own."""

    seq: int
    at: Instant
    kind: Kind
    key: str
    budget: str
    amounts: Amounts
    prior: int
    """The entry before this one on the same reservation; 0 for the first."""
    data: str
    """Of a `reserve` or `extend`, in lines: the name of the request, if it is not the key; where an
    `extend` moved the deadline to; which limit it did not fit on, in an observed tree.
    Of a settlement its details and of a change of a budget what was changed, as JSON."""

    @property
    def operation(self) -> str:
        """The name of the request, of a `reserve` or `extend`."""
        return self.data.partition("\n")[0]

    @property
    def expires(self) -> int | None:
        """Where an `extend` moved the deadline of its reservation to, if it did."""
        _, moved, _ = f"{self.data}\n\n".split("\n", 2)
        return int(moved) if moved and self.kind == "extend" else None

    @property
    def would_refuse(self) -> WouldRefuse | None:
        """Which limit it did not fit on, of a `reserve` or `extend` in an observed tree.

        Raises:
            msgspec.DecodeError: The entry was tampered with.
        """
        lines = self.data.split("\n", 2) if self.kind in {"reserve", "extend"} else []
        return WouldRefuse.from_line(lines[2]) if len(lines) > 2 else None  # noqa: PLR2004

    @property
    def moment(self) -> datetime:
        """When it was committed, UTC."""
        return to_datetime(self.at)


class Alert(Struct, frozen=True, gc=False):
    """A threshold that was crossed: an outbox row, one per account, threshold and limit amount."""

    account: int
    threshold: int
    """Parts per million of the limit."""
    budget: str
    unit: str
    window: str
    start: int
    end: int
    limit: int
    settled: int
    at: Instant
    seq: int

    @property
    def id(self) -> str:
        """The same for every delivery, so that a receiver can tell a repeat."""
        account_key = f"{self.budget}/{self.unit}/{self.window}/{self.start}"
        return f"{account_key}/{self.threshold}/{self.limit}"


class Accepted(Struct, frozen=True, gc=False):
    """The operation is done: the sums of its accounts, the changed rows, the one new entry."""

    settled: tuple[int, ...]
    """What is settled on each account from now on; empty where that does not change."""
    held: tuple[int, ...]
    """What is held on each from now on; empty where it touches no account."""
    reservation: Reservation | None
    budget: Budget | None
    entry: Entry
    alerts: tuple[Alert, ...] = ()
    """The thresholds this operation crossed."""
    joined: tuple[Reservation, ...] = ()
    """Reservations that count on one of the accounts from now on; else nothing of them changed."""
    would_refuse: WouldRefuse | None = None
    """Which limit it did not fit on: its tree is observed. Else it fits on every account."""


class Repeated(Struct, frozen=True, gc=False):
    """It was done before: the first answer, nothing changed."""

    reservation: Reservation | None
    budget: Budget | None
    retried: bool = False
    """Done by this very request, which was applied again because its answer was lost."""


class Refused(Struct, frozen=True, gc=False):
    """A decided no: nothing changed, nothing stored."""

    why: Literal[
        "exceeded",
        "no_budget",
        "key_reused",
        "closed",
        "not_found",
        "full",
        "no_limit",
        "other_kind",
        "past",
        "too_late",
        "uncountable",
    ]
    key: str = ""
    budget: str = ""
    reason: Reason | None = None
    account: Account | None = None
    requested: int = 0
    hold: int | None = None
    """What the reservation that was to grow by `requested` holds on *account* already."""
    pause: Pause | None = None
    field: str = ""
    """What differs from, or what stands in, the first answer: with `first` and `now`."""
    first: str = ""
    now: str = ""
    closed: Reservation | None = None
    """For `closed`: the reservation as it is."""
    seen: int = 0
    """The number of the last entry this decision had seen."""


Decision = Accepted | Repeated | Refused
