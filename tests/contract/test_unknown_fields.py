"""A new field of a budget is one declaration; who does not know it refuses it and loses nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from earmark.errors import UnknownField
from earmark.stores.copy import copy_store
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.ledger_books import DURABLE, STORES
from support.newer_program import make_newer_program, run_newer

_SET = """
import sys
from earmark.stores.open import open_ledger
with open_ledger(sys.argv[1]) as ledger:
    ledger.set_budget("acme", next_text=sys.argv[2])
    report = ledger.audit()
    print([(each.path, each.next_text) for each in ledger.budgets()], report.problems)
"""
_READ = """
import sys
from earmark.stores.open import open_ledger
with open_ledger(sys.argv[1]) as ledger:
    print([(each.path, each.next_text) for each in ledger.budgets()], ledger.audit().problems)
"""


@pytest.mark.slow
def test_a_new_field_is_one_declaration(tmp_path: Path) -> None:
    """Three are declared in one file: what `test_budget_fields` claims holds for them as it is."""
    newer = make_newer_program(tmp_path / "newer")
    claims = str(Path(__file__).with_name("test_budget_fields.py"))
    options = ("-q", "-rA", "-n0", "-p", "no:cacheprovider", "-k", "not postgres")
    said = run_newer(newer, "-m", "pytest", *options, claims, folder=Path(__file__).parents[2])
    for name in ("next_text", "next_number", "next_flag"):
        assert f"PASSED tests/contract/test_budget_fields.py::test_a_field_is_set_alone[{name}" in (
            said.replace("[threads-memory-", "[").replace("[memory-threads-", "[")
        ), said


@pytest.mark.parametrize("store", DURABLE)
def test_an_older_program_refuses_a_field_that_it_does_not_know(
    store: str, tmp_path: Path, clock: ManualClock
) -> None:
    """At work, opening, auditing or copying: by name, until the field has its default again."""
    url, newer = STORES[store](tmp_path), make_newer_program(tmp_path / "newer")

    def run(text: str, *arguments: str) -> str:
        return run_newer(newer, "-c", text, url, *arguments, folder=tmp_path).strip()

    def refused(act: Callable[[], object]) -> None:
        with pytest.raises(UnknownField, match=r"'acme' has the field 'next_text'.* newer Earmark"):
            act()

    with open_ledger(url) as ledger:
        for path in ("acme", "globex"):
            ledger.set_budget(path, limits=["10 usd per day"])
            ledger.reserve(path, 1)
        assert run(_READ) == "[('acme', ''), ('globex', '')] ()"
        assert ledger.reserve("acme/team", 1).state == "open"

        assert run(_SET, "Ana") == "[('acme', 'Ana'), ('globex', '')] ()"
        entries = len(ledger.entries())
        refused(lambda: ledger.reserve("acme/team", 1))
        refused(lambda: ledger.set_budget("acme", limits=[]))
        refused(lambda: ledger.pause("acme"))
        refused(ledger.budgets)
        refused(ledger.audit)
        assert len(ledger.entries()) == entries
        assert ledger.reserve("globex", 1).state == "open"
    target = f"sqlite:///{tmp_path}/copy.db"
    refused(lambda: copy_store(url, target, with_holds=True, clock=clock, progress=print))
    with open_ledger(url) as ledger:
        refused(lambda: ledger.reserve("acme", 1))

        assert run(_READ) == "[('acme', 'Ana'), ('globex', '')] ()"
        assert run(_SET, "") == "[('acme', ''), ('globex', '')] ()"
        assert ledger.reserve("acme", 1).state == "open"
        assert ledger.audit().ok
