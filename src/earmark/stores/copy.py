"""Copies a store into an empty one, of the same kind or another, row by row, and checks both."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from earmark.clock import Clock
from earmark.errors import InvalidConfig, NotFound, StoreCorrupt, StoreError
from earmark.ledger.audit import AuditReport, Progress, audit_snapshot
from earmark.ledger.store import Snapshot
from earmark.stores.open import open_ledger
from earmark.stores.open_upkeep import open_upkeep
from earmark.stores.tables import Row
from earmark.stores.upkeep import TABLES, Load

_TOLD_EVERY: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyReport:
    """What was copied."""

    source: str
    target: str
    rows: Mapping[str, int]
    audit: AuditReport
    """Of both: they are equal."""
    missed: bool
    """Whether the source was written to meanwhile: the copy does not have that."""


def copy_store(
    source: str, target: str, *, with_holds: bool, clock: Clock, progress: Progress
) -> CopyReport:
    """Copy everything that stands in *source* as of one commit to *target*, which is empty.

    The copy is one transaction, checked before it is committed: an audit of both sides must find
    the same, and every table have as many rows. Rows are streamed; what an audit keeps in memory
    grows with the accounts and with what was in flight at one time.

    Args:
        source: The URL of the store to copy.
        target: The URL of the store to fill; made if there is none.
        with_holds: Copy open holds too. They are open on both sides then, and each side waits for
            its own settlement.
        clock: Where time comes from.
        progress: Told what is read or written and how many rows so far, now and then.

    Raises:
        StoreError: Holds are open, the target is not empty, or the copy is not the source's equal;
            the target has nothing of it.
        StoreCorrupt: The source's books are wrong.
        NotFound: There is no source.
        InvalidConfig: A URL is none of a store that lasts, or both are the same.
    """
    origin, goal = open_upkeep(source, clock), open_upkeep(target, clock)
    if origin.name == goal.name:
        raise InvalidConfig(place="store URL", detail="both are the same store")
    if not origin.exists():
        raise NotFound(kind="store", name=origin.name)
    with open_ledger(source, clock=clock) as ledger:
        store = ledger.store
        with closing(store.snapshot()) as snapshot:
            if not with_holds:
                _check_settled(store.name, snapshot)
            with goal.loading() as load:
                report = _audited(store.name, snapshot, progress)
                rows = _copied(snapshot, load, progress)
                load.complete()
                _check_equal(goal.name, load, rows, report, progress)
        # Whatever is booked adds a row to some table.
        missed = dict(origin.status().rows) != rows
    return CopyReport(source=origin.name, target=goal.name, rows=rows, audit=report, missed=missed)


def _check_settled(name: str, snapshot: Snapshot) -> None:
    """Refuse open holds."""
    held = sum(state == "open" for (state,) in snapshot.table("reservation", "state"))
    if held:
        holds = "1 hold is" if held == 1 else f"{held:,} holds are"
        how = "settle or release (`earmark holds`), or copy as open by --with-holds"
        raise StoreError(store=name, detail=f"{holds} open: {how}")


def _audited(name: str, snapshot: Snapshot, progress: Progress) -> AuditReport:
    report = audit_snapshot(snapshot, progress)
    if not report.ok:
        detail = f"the books are wrong ({report.problems[0]}): `earmark audit` tells more"
        raise StoreCorrupt(store=name, detail=detail)
    return report


def _copied(snapshot: Snapshot, load: Load, progress: Progress) -> dict[str, int]:
    """Copy all rows and return how many each table had."""
    counts = dict.fromkeys(TABLES, 0)

    def counted(table: str, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            counts[table] += 1
            if counts[table] % _TOLD_EVERY == 0:
                progress(f"rows of {table} copied", counts[table])
            yield row

    for table, columns in TABLES.items():
        load.put(table, columns, counted(table, snapshot.table(table, columns)))
    return counts


def _check_equal(
    name: str, load: Load, rows: Mapping[str, int], report: AuditReport, progress: Progress
) -> None:
    """Refuse a copy that is not its source's equal, before it is committed."""
    short = [table for table, count in rows.items() if load.count(table) != count]
    if short:
        raise StoreError(store=name, detail=f"rows of {short[0]} are missing: nothing was kept")
    with closing(load.snapshot()) as loaded:
        found = audit_snapshot(loaded, progress)
    if found != report:
        problem = (found.problems or ("its totals are others",))[0]
        raise StoreError(store=name, detail=f"the copy is wrong ({problem}): nothing was kept")
