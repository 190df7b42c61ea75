"""A power cut at any moment: what was acknowledged is kept, what was not is whole or absent."""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.ledger.committer import GroupCommitter
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from earmark.stores.sqlite import SqliteStore
from earmark.testing import ManualClock
from support.ledger_books import STORES, check_kept
from support.ledger_disk import Disk
from support.ledger_workers import in_threads, operations

CUTS = 250 if "EARMARK_FIRE_SECONDS" in os.environ else 100
_NUMBERS = itertools.count()


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A disk that keeps a log."""
    made = Disk(f"earmark-test-{next(_NUMBERS)}")
    yield made
    made.unregister()


def worked(disk: Disk, file: Path) -> None:
    """Do some hundred operations from four threads, with a checkpoint every few commits."""
    clock = ManualClock()
    store = SqliteStore(file, vfs=disk.name)
    store._writer.pragma("wal_autocheckpoint", 25)  # pyright: ignore[reportPrivateUsage]
    ledger = Ledger(store, GroupCommitter(store, clock), clock)
    ledger.set_budget("acme", limits=["60 usd total"])
    ledger.set_budget("acme/tight", limits=["4 usd total"])

    def work(name: str) -> None:
        for _, operation in zip(range(60), operations(name, "acme"), strict=False):
            decision = ledger.committer.submit(operation)
            disk.promise((operation, decision))

    in_threads([lambda n=n: work(f"w{n}") for n in range(4)])
    ledger.close()


def test_a_power_cut_forgets_nothing_acknowledged(disk: Disk, tmp_path: Path) -> None:
    """At many moments the power fails; each time the books open, add up and hold every promise."""
    seed = int(os.environ.get("EARMARK_TEST_SEED", random.randrange(1 << 32)))
    print(f"EARMARK_TEST_SEED={seed}")  # noqa: T201 - pytest shows it when this fails
    dice = random.Random(seed)
    before = tmp_path / "before"
    before.mkdir()
    worked(disk, before / "books.db")
    kinds = [event.kind for event in disk.log]
    assert kinds.count("ack") == 240
    assert any(e.kind == "sync" and e.file == "books.db" for e in disk.log), "no checkpoint"
    for number, cut in enumerate(sorted(dice.sample(range(len(kinds) + 1), CUTS))):
        folder = tmp_path / str(number)
        folder.mkdir()
        disk.after_power_cut(cut, dice, folder)
        check_after_cut(disk, cut, folder)


def test_a_power_cut_while_the_books_are_made_leaves_a_file_that_opens(
    disk: Disk, tmp_path: Path
) -> None:
    """The header may say already that there is a log while the journal of making it still stands.

    At each moment until that journal is gone, with all, some or none of what was not synced.
    """
    before = tmp_path / "before"
    before.mkdir()
    SqliteStore(before / "books.db", vfs=disk.name).close()
    made = next(number for number, event in enumerate(disk.log) if event.kind == "delete") + 1
    halves = 0
    for cut, seed in itertools.product(range(made + 1), range(3)):
        folder = tmp_path / f"{cut}-{seed}"
        folder.mkdir()
        disk.after_power_cut(cut, random.Random(seed), folder)
        file = folder / "books.db"
        with_log = file.exists() and file.read_bytes()[18:20] == b"\x02\x02"
        halves += with_log and Path(f"{file}-journal").exists()
        check_after_cut(disk, cut, folder)
    assert halves, "no moment between the header and the end of the journal"


def check_after_cut(disk: Disk, cut: int, folder: Path) -> None:
    """Assert that the books that are left in *folder* are whole, and go on."""
    clock = ManualClock()
    with open_ledger(STORES["sqlite"](folder), clock=clock) as ledger:
        report = ledger.audit()
        assert report.ok, (cut, report.problems)
        assert report.over == ()
        for operation, decision in disk.promises(cut):
            check_kept(ledger, operation, decision)
        ledger.set_budget("after", limits=["1 usd total"])
        ledger.settle(ledger.reserve("after", 1, key="after").key, 1)
        assert ledger.audit().ok
