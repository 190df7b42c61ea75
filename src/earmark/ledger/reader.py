"""What a ledger is asked without a change: balances, lists, previews, the time of the books."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from earmark.budget.budget import Budget
from earmark.budget.fields import BudgetKind
from earmark.budget.path import parse_path
from earmark.budget.settable import read_kind
from earmark.clock import Clock
from earmark.errors import NotFound
from earmark.ledger import requests
from earmark.ledger.answers import Balance, balance
from earmark.ledger.audit import AuditReport, audit
from earmark.ledger.commit_time import LARGEST_STEP_NS
from earmark.ledger.committer import Committer
from earmark.ledger.store import Store
from earmark.ledger.values import Alert, Entry, Refused, Reservation, State
from earmark.money import AmountLike


class LedgerReader:
    """What `Ledger` reads of its store; what is past its deadline is presumed first."""

    def __init__(self, store: Store, committer: Committer, clock: Clock) -> None:
        self.store = store
        self.committer = committer
        self.clock = clock

    def preview(
        self,
        budget: str,
        amount: AmountLike = 0,
        *,
        units: Mapping[str, int] | None = None,
        enforced: bool = False,
    ) -> Refused | None:
        """Return why `reserve` would refuse *amount* on *budget* now; `None` if it would not.

        Decided by the rules that decide a `reserve`, on what is read; nothing is written, and no
        writer is waited for. Another process may reserve in between: only `reserve` holds.

        Args:
            budget: The path that would spend.
            amount: The most it can cost, in USD.
            units: Other units, as of `reserve`.
            enforced: Whether to decide as if its tree were not observed: then it says what an
                observed tree would have refused, where without it that is let in.
        """
        amounts = requests.amounts(amount, units)
        (refused,) = self.store.preview(
            parse_path(budget), (amounts,), self.instant(), enforced=enforced
        )
        return refused

    def balances(self, path: str, *, tree: bool = False) -> list[Balance]:
        """Return each limit of the budget at *path* in its current interval.

        With *tree* also those of the budgets below it.

        Raises:
            NotFound: No budget stands at *path*.
        """
        parse_path(path)
        self.sweep()
        now = self.instant()
        # Below a budget there may be thousands: each run has one.
        budgets = self.store.budgets(path) if tree else [self.store.budget(path)]
        found = [each for each in budgets if each is not None]
        if not found:
            raise NotFound(kind="budget", name=path, hint=f"`earmark budget set {path}` makes it")
        root = self.store.budget(path.partition("/")[0])
        observed = root is not None and root.observed
        return [
            balance(account, paused=budget.is_paused(now) is not None, observed=observed)
            for budget in found
            for account in self.store.accounts(budget.path, now)
            if account.line.budget == budget.path
        ]

    def budgets(self, prefix: str | None = None, *, kind: BudgetKind | None = None) -> list[Budget]:
        """Return the budgets at or below *prefix*, by path; all of them without one.

        With *kind* only those: there may be thousands that runs opened for themselves.

        Raises:
            InvalidKey: There is no such kind.
        """
        wanted = None if kind is None else read_kind(kind)
        return self.store.budgets(None if prefix is None else parse_path(prefix), wanted)

    def reservation(self, key: str) -> Reservation:
        """Return what *key* opened.

        Raises:
            NotFound: It never opened a reservation.
        """
        checked = requests.check_key(key)
        self.sweep()
        found = self.store.reservation(checked)
        if found is None:
            raise NotFound(kind="reservation", name=key)
        return found

    def holds(
        self,
        budget: str | None = None,
        *,
        state: State | None = "open",
        key: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: int = 0,
        most: int = 1000,
    ) -> list[Reservation]:
        """Return matching reservations in the order they were opened, and *most* of them at most.

        *state* is `open`, `presumed`, `settled` or `released`; `None` for all. *after* is the `seq`
        of a reservation to go on from: where as many came as were asked for, there may be more.
        """
        self.sweep()
        query = requests.listing(
            budget=budget, key=key, state=state, since=since, until=until, after=after, most=most
        )
        return self.store.reservations(query)

    def entries(
        self,
        budget: str | None = None,
        *,
        key: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: int = 0,
        most: int = 1000,
    ) -> list[Entry]:
        """Return matching entries in the order of commits; *after* is the number to go on from.

        Who goes on after the last one it was given misses none and gets none twice, on every store
        and over any number of budgets: the list ends before a number that a commit under way may
        still have. On PostgreSQL such a commit is waited for, unless *budget* or *key* is given.

        Raises:
            StoreUnavailable: Somebody writes to the books and does not finish.
        """
        self.sweep()
        return self.store.entries(
            requests.listing(
                budget=budget,
                key=key,
                since=since,
                until=until,
                after=after,
                most=most,
                complete=True,
            )
        )

    def alerts(self, budget: str | None = None, *, most: int = 1000) -> list[Alert]:
        """Return the alerts of the budgets at or below *budget*, in the order of commits."""
        return self.store.alerts(requests.listing(budget=budget, most=most))

    def sweep(self) -> None:
        """Presume the reservations whose deadline has passed; every commit does so too.

        Nothing is done while the clock is off: what has passed is not known then.
        """
        now = self.committer.time.now_or_none()
        if now is not None:
            self.store.apply((), now)

    def instant(self) -> int:
        """Return what time it is for the books: the last entry's while the clock is off."""
        now = self.committer.time.now_or_none()
        return self.store.latest() if now is None else now

    def check_clock(self) -> None:
        """Refuse if the clock was set wrong while the books are open.

        Raises:
            ClockStepped: It was; settlements and releases are booked at the last entry's instant,
                and nothing else is committed.
        """
        self.committer.time.now()

    def ahead(self) -> timedelta:
        """Return by how much the last entry is later than the clock; none within five minutes.

        Commits happen at the later of the two: until the clock gets there, no window turns.
        """
        late = self.store.latest() - self.clock.instant()
        return timedelta(microseconds=late // 1000 if late > LARGEST_STEP_NS else 0)

    def audit(self) -> AuditReport:
        """Recompute every balance from the entries and compare; mends nothing."""
        self.sweep()
        return audit(self.store)
