"""The quilt: patches with versions, on every store alike."""

import math
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from earmark.errors import InvalidPatch, NotFound, VersionConflict
from earmark.quilt.quilt import LARGEST_DATA, LOCK, Patch, Quilt, put_within
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.tables import Tables
from earmark.testing import ManualClock
from support.ledger_workers import in_threads
from support.shaky_tables import ShakyTables


@pytest.fixture
def tables(url: str, clock: ManualClock) -> Iterator[Tables]:
    """The tables beside empty books."""
    with open_ledger(url, clock=clock) as ledger:
        opened = open_tables(ledger.store)
        yield opened
        opened.close()


@pytest.fixture
def quilt(tables: Tables, clock: ManualClock) -> Quilt:
    """An empty quilt."""
    return Quilt(tables, clock)


def names(patches: list[Patch]) -> list[str]:
    """Return the names of *patches*."""
    return [patch.name for patch in patches]


def test_a_patch_is_read_as_it_was_written(quilt: Quilt, clock: ManualClock) -> None:
    """The first version of a patch has its data, its author and its time."""
    data = {"daily_spend": "0.7", "cycle_count": 10}
    put = quilt.put("budget", "budget_2026-11-22", data, author="Cloud Lu")
    assert put == quilt.get("budget", "budget_2026-11-22")
    assert (put.data, put.version, put.author) == (data, 1, "Cloud Lu")
    assert put.created_at == put.updated_at == clock.instant()


VALUES: dict[str, Any] = {
    "nothing": {},
    "nested": {"a": [1, {"b": [None, True, 1.5]}], "c": {"d": ""}},
    "words of SQL": {"text": "?, %s, {schema}.task, '; DROP TABLE quilt_patches; --"},
    "other scripts": {"größe": "日本 🧵", "zero": "\0", "lines": "a\nb\tc"},
    "numbers": {"big": 2**53 - 1, "small": -(2**53) + 1, "tiny": 5e-324, "huge": 1e308},
    "in order": {"b": 1, "a": 2},
}


@pytest.mark.parametrize("value", VALUES)
def test_any_json_object_is_kept_exactly(quilt: Quilt, value: str) -> None:
    """What goes in comes out, type for type and in order."""
    data = VALUES[value]
    quilt.put("control", value, data, author="a test")
    found = quilt.get("control", value).data
    assert found == data
    assert list(found) == list(data)


def test_each_change_is_a_version(quilt: Quilt, clock: ManualClock) -> None:
    """Versions count from 1; the history has them all, the newest first."""
    for spend in ("0.1", "0.2", "0.3"):
        quilt.put("budget", "today", {"daily_spend": spend}, author=f"agent {spend}")
        clock.advance(timedelta(minutes=30))
    history = quilt.history("budget", "today")
    assert [(patch.version, patch.data["daily_spend"]) for patch in history] == [
        (3, "0.3"),
        (2, "0.2"),
        (1, "0.1"),
    ]
    assert history[0] == quilt.get("budget", "today")
    assert history[2].author == "agent 0.1"
    assert history[2].updated_at == history[0].created_at < history[0].updated_at
    assert quilt.history("budget", "today", most=1) == history[:1]


def test_the_expected_version_has_to_stand(quilt: Quilt) -> None:
    """A put from another version than the one that stands is refused, with both numbers."""
    quilt.put("control", "flag", {"enabled": True}, author="a", expected=0)
    quilt.put("control", "flag", {"enabled": False}, author="b", expected=1)
    with pytest.raises(VersionConflict, match="is at version 2, version 1 was expected") as refused:
        quilt.put("control", "flag", {"enabled": True}, author="c", expected=1)
    assert refused.value.facts() == {"type": "control", "name": "flag", "expected": 1, "stands": 2}
    with pytest.raises(VersionConflict, match="is at version 2, none was expected"):
        quilt.put("control", "flag", {}, author="c", expected=0)
    with pytest.raises(VersionConflict, match="does not exist, version 1 was expected"):
        quilt.put("control", "other", {}, author="c", expected=1)
    assert quilt.get("control", "flag").author == "b"
    assert len(quilt.history("control", "flag")) == 2


def test_one_of_many_writers_wins(quilt: Quilt) -> None:
    """Of eight threads that put from the same version, one is let through."""
    quilt.put("control", "flag", {"by": "nobody"}, author="nobody")
    barrier = threading.Barrier(8)
    outcomes: list[str] = []

    def write() -> None:
        barrier.wait()
        try:
            quilt.put("control", "flag", {"by": "one"}, author="one", expected=1)
            outcomes.append("done")
        except VersionConflict:
            outcomes.append("refused")

    in_threads([write] * 8)
    assert sorted(outcomes) == ["done", *["refused"] * 7]
    assert quilt.get("control", "flag").version == 2


def test_no_write_is_lost(quilt: Quilt) -> None:
    """Eight threads that write over whatever stands make eight versions."""
    in_threads([lambda: quilt.put("budget", "x", {"by": "one"}, author="one")] * 8)
    assert [patch.version for patch in quilt.history("budget", "x")] == [8, 7, 6, 5, 4, 3, 2, 1]


def test_what_is_not_there_is_not_found(quilt: Quilt) -> None:
    """A patch that nobody wrote is not found, and neither is its history."""
    quilt.put("budget", "b", {}, author="a")
    for look in (quilt.get, quilt.history):
        with pytest.raises(NotFound, match="no patch 'control b'"):
            look("control", "b")


REFUSED: dict[str, tuple[Any, str]] = {
    "not a number": ({"spend": math.nan}, "data/spend: nan is not JSON"),
    "infinity": ({"a": [math.inf]}, "data/a/0: inf is not JSON"),
    "an integer no JSON reader keeps": ({"n": 2**53}, "data/n: an integer of more than 53 bits"),
    "no object": (["a"], "data: give a JSON object"),
    "a key that is no text": ({1: "a"}, "1 is no key"),
    "an object of Python": ({"at": object()}, "is not JSON"),
    "half a character": ({"a": "\ud800"}, "half of a surrogate pair"),
    "too large": ({"a": "x" * LARGEST_DATA}, "more than 1,000,000 bytes"),
}


@pytest.mark.parametrize("why", list(REFUSED))
def test_what_is_no_json_is_refused(quilt: Quilt, why: str) -> None:
    """Data that JSON cannot carry exactly is refused with its place, and nothing is written."""
    data, said = REFUSED[why]
    with pytest.raises(InvalidPatch, match=said):
        quilt.put("budget", "b", data, author="a")
    assert quilt.find() == []


@pytest.mark.parametrize(
    ("type_", "name", "author"),
    [("", "n", "a"), ("t", "", "a"), ("t", "n", ""), ("t" * 101, "n", "a"), ("t", "a\nb", "a")],
)
def test_words_are_short_and_printable(quilt: Quilt, type_: str, name: str, author: str) -> None:
    """Type, name and author are printable and not empty."""
    with pytest.raises(InvalidPatch, match="printable characters"):
        quilt.put(type_, name, {}, author=author)


def test_patches_are_listed_by_type_and_name(quilt: Quilt) -> None:
    """A list is by type, then name; a prefix and a type narrow it; its pages meet."""
    for type_, name in [("b", "2"), ("a", "x"), ("b", "1"), ("c", "1"), ("b", "10"), ("b", "%")]:
        quilt.put(type_, name, {}, author="a")
    assert [(patch.type, patch.name) for patch in quilt.find()] == [
        ("a", "x"),
        ("b", "%"),
        ("b", "1"),
        ("b", "10"),
        ("b", "2"),
        ("c", "1"),
    ]
    assert names(quilt.find("b", "1")) == ["1", "10"]
    assert names(quilt.find("b", "%")) == ["%"]
    first = quilt.find(most=4)
    rest = quilt.find(after=(first[-1].type, first[-1].name), most=4)
    assert first + rest == quilt.find()


def test_a_name_is_found_whatever_its_type(quilt: Quilt) -> None:
    """Patches of one name are found in all types, and no others."""
    for type_, name in [("flag", "stop"), ("control", "stop"), ("control", "stopped")]:
        quilt.put(type_, name, {}, author="a")
    assert [(patch.type, patch.name) for patch in quilt.named("stop")] == [
        ("control", "stop"),
        ("flag", "stop"),
    ]


def test_time_in_the_quilt_never_runs_back(quilt: Quilt, clock: ManualClock) -> None:
    """A version is never older than the one before it, whatever the clock does."""
    first = quilt.put("budget", "b", {}, author="a")
    clock.set(clock.now - timedelta(days=1))
    second = quilt.put("budget", "b", {}, author="a")
    assert second.updated_at == first.updated_at


def test_a_lost_answer_makes_no_second_version(tables: Tables, clock: ManualClock) -> None:
    """A write that is done again because its answer was lost finds itself done."""
    line = ShakyTables(tables)
    quilt = Quilt(line, clock)
    quilt.put("budget", "b", {"n": 1}, author="a")
    line.loses_answers = True
    again = quilt.put("budget", "b", {"n": 2}, author="a", expected=1)
    anew = quilt.put("budget", "c", {"n": 1.5, "text": "ü"}, author="a", expected=0)
    over = quilt.put("budget", "c", {"n": 3}, author="a")
    line.loses_answers = False
    assert (again.version, anew.version, over.version) == (2, 1, 2)
    assert quilt.get("budget", "b") == again
    assert quilt.get("budget", "c") == over


def test_a_patch_may_be_part_of_a_larger_write(tables: Tables, clock: ManualClock) -> None:
    """A patch written within another transaction is undone with it."""
    quilt = Quilt(tables, clock)

    def fails() -> None:
        def work(rows: Any) -> None:
            put_within(rows, "budget", "b", {"n": 1}, author="a", now=clock.instant())
            raise KeyError("after it")

        tables.write(LOCK, work)

    with pytest.raises(KeyError):
        fails()
    assert quilt.find() == []
