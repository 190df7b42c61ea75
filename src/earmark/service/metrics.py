"""`/metrics`: what the books say, in Prometheus' words; the ledger is asked, nothing is counted.

Every sample belongs to a budget, never to a call; budgets that runs open for themselves count in
those above them. Counters come from all that was ever booked, so no restart sets them back; only
refusals, which leave nothing in the books, are counted by this process.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from earmark.budget.budget import Budget
from earmark.budget.units import CALLS, UNITS, USD
from earmark.clock import NANOS_PER_SECOND, Clock
from earmark.ledger.answers import Balance
from earmark.money import NANOS_PER_USD, Money
from earmark.service.cached_value import CachedValue
from earmark.service.own_reader import OwnReader
from earmark.stores.totals import Totals, read_totals
from earmark.workspace.workspace import Workspace

#: How old an answer may be, in seconds; and how long it may take.
FRESH_S: Final = 1.0
PATIENCE_S: Final = 30.0
#: The totals over a large ledger take a while: they are made at most a tenth of the time.
REST: Final = 10

#: The units whose counters are there before anything is limited by them.
_ALWAYS: Final = (USD, CALLS)
_PLACE: Final = ("budget", "unit", "window")
_BUDGET: Final = ("budget",)


class Metrics:
    """The metrics of one service, read beside its requests by a connection of their own."""

    def __init__(
        self,
        workspace: Workspace,
        clock: Clock,
        refusals: Counter[str],
        more: Callable[[], list[Metric]] = list,
    ) -> None:
        """Tell of *workspace*'s books; *refusals* is counted by the routes.

        *more* is asked at each scrape for what is counted elsewhere in this process.
        """
        self._more = more
        self._ledger = workspace.ledger
        self._clock = clock
        self._refusals = refusals
        self._reader = OwnReader(workspace)
        self._families: CachedValue[list[Metric]] = CachedValue(
            self._collect, clock, fresh_s=FRESH_S, rest=REST
        )

    async def written(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics in the format that *accept* asks for, and its media type.

        Raises:
            StoreUnavailable: The books cannot be read now.
            TimeoutError: They took too long.
        """
        families = await self._families.get(PATIENCE_S)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Families([*families, self._denied(), *self._more()]))
        encode, media_type = choose_encoder(accept)
        return encode(registry), media_type

    def close(self) -> None:
        """Let go of the thread and the connections."""
        self._families.close()
        self._reader.close()

    def _collect(self) -> list[Metric]:
        self._ledger.sweep()
        workspace = self._reader.workspace()
        totals = read_totals(workspace.ledger.store, workspace.tables)
        budgets = workspace.budgets.find()
        balances = [
            each for of_one in workspace.budgets.balances_of_all(budgets) for each in of_one
        ]
        paths = [budget.path for budget in budgets]
        return [
            *_balance_metrics(balances),
            *_spent(balances, totals),
            *_observed(budgets, totals),
            *_by_budget(paths, totals, self._clock.instant()),
            _plain("budget_alerts_pending", "Nudges on their way", workspace.nudges.pending()),
        ]

    def _denied(self) -> Metric:
        family = CounterMetricFamily(
            "budget_requests_denied",
            "Amounts that this process refused since its start, by reason",
            labels=("reason",),
        )
        for reason, count in sorted(self._refusals.items()):
            family.add_metric((reason,), count)
        return family


class _Families(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Yield what was collected before."""
        yield from self._families


def _balance_metrics(balances: list[Balance]) -> Iterator[Metric]:
    """Yield how each limit stands in its current interval."""
    parts: tuple[tuple[str, str, Callable[[Balance], Money | int]], ...] = (
        ("limit", "The limit, its extensions included", lambda each: each.limit),
        ("settled", "Spent in this interval, presumed cost included", lambda each: each.settled),
        ("reserved", "Held for what is in flight", lambda each: each.held),
        ("remaining", "What may still be reserved; negative above it", lambda e: e.available),
    )
    for name, documentation, part in parts:
        for unit in UNITS:
            family = GaugeMetricFamily(f"budget_{name}_{unit}", documentation, labels=_PLACE)
            for each in balances:
                if each.unit == unit:
                    family.add_metric(_labels(each), _number(part(each)))
            if family.samples or unit == USD:
                yield family
    resets = GaugeMetricFamily(
        "budget_window_reset_timestamp_seconds", "When the interval ends", labels=_PLACE
    )
    for each in balances:
        if each.resets_at is not None:
            resets.add_metric(_labels(each), each.resets_at.timestamp())
    yield resets


def _spent(balances: list[Balance], totals: Totals) -> Iterator[Metric]:
    """Yield what is known to be spent since the limit was set, over all its intervals."""
    documentation = "Spent over all intervals; a call of unknown cost counts once its cost is known"
    for unit in UNITS:
        family = CounterMetricFamily(f"budget_spent_{unit}", documentation, labels=_PLACE)
        for each in balances:
            if each.unit == unit:
                known = totals.known((each.budget, each.unit, each.window))
                family.add_metric(_labels(each), known / NANOS_PER_USD if unit == USD else known)
        if family.samples or unit in _ALWAYS:
            yield family


def _observed(budgets: list[Budget], totals: Totals) -> Iterator[Metric]:
    """Yield which roots' trees are observed, and what their limits would have refused."""
    observed = GaugeMetricFamily(
        "budget_observed", "1 where the limits of the tree do not bind", labels=_BUDGET
    )
    operations = CounterMetricFamily(
        "budget_would_refuse_operations",
        "Operations that a limit would have refused, accepted as their tree was observed",
        labels=_BUDGET,
    )
    usd = CounterMetricFamily(
        "budget_would_refuse_usd", "What those operations asked for", labels=_BUDGET
    )
    for each in budgets:
        is_root = "/" not in each.path
        if is_root:
            observed.add_metric((each.path,), int(each.observed))
        if is_root or totals.would_refuse[each.path]:
            operations.add_metric((each.path,), totals.would_refuse[each.path])
            usd.add_metric((each.path,), totals.would_refuse_usd[each.path] / NANOS_PER_USD)
    yield from (observed, operations, usd)


def _by_budget(paths: list[str], totals: Totals, now: int) -> Iterator[Metric]:
    over = CounterMetricFamily("budget_overdraft_usd", "Settled above the holds", labels=_BUDGET)
    expired = CounterMetricFamily(
        "budget_reservations_expired", "Reservations nobody settled in time", labels=_BUDGET
    )
    lag = GaugeMetricFamily(
        "budget_settle_lag_seconds", "Age of the oldest reservation that is open", labels=_BUDGET
    )
    for path in paths:
        over.add_metric((path,), totals.overrun[path] / NANOS_PER_USD)
        expired.add_metric((path,), totals.expired[path])
        age = now - totals.oldest.get(path, now)
        lag.add_metric((path,), max(age, 0) / NANOS_PER_SECOND)
    yield from (over, expired, lag)


def _plain(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)


def _labels(balance: Balance) -> tuple[str, str, str]:
    return balance.budget, balance.unit, balance.window


def _number(amount: Money | int) -> float:
    return amount.in_nanos / NANOS_PER_USD if isinstance(amount, Money) else amount
