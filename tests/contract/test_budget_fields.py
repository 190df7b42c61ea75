"""Every declared field of a budget: set alone, kept on each store, read back by every door."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from earmark.budget.budget import Budget
from earmark.budget.fields import PLAIN_FIELDS, show_plain
from earmark.budget.settable import SETTABLE
from earmark.errors import InputError
from earmark.ledger.ledger import Ledger
from earmark.stores.copy import copy_store
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.budget_fields import SAMPLES, Sample, fields_of, given
from support.ledger_books import DURABLE, STORES, check_books
from support.page_house import Visitor
from support.service_house import House, house
from support.shell import Shell, isolated_shell


def test_every_field_has_samples() -> None:
    """But `kind`, which operators do not set."""
    assert set(SAMPLES) == set(SETTABLE) - {"kind"}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_field_is_set_alone(ledger: Ledger, name: str) -> None:
    """Given alone it changes, and the others stay; absent or `None` it stays as it was."""
    assert fields_of(ledger.set_budget("acme")) == fields_of(Budget(path="acme"))
    before = ledger.set_budget("acme", **given())
    ledger.pause("acme", reason="stays too")
    entries = len(ledger.entries())
    assert fields_of(ledger.set_budget("acme")) == fields_of(before)
    nothing: dict[str, Any] = dict.fromkeys(SAMPLES)
    assert fields_of(ledger.set_budget("acme", **nothing)) == fields_of(before)
    assert len(ledger.entries()) == entries

    after = ledger.set_budget("acme", **{**nothing, name: given(1)[name]})
    want = fields_of(ledger.set_budget("other", **given(1)))[name]
    assert fields_of(after) == fields_of(before) | {name: want}
    assert want != getattr(before, name)
    assert after.paused is not None
    assert ledger.budgets("acme") == [after]
    assert len(ledger.entries()) == entries + 2

    default = getattr(Budget(path="acme"), name)
    again: dict[str, Any] = {name: [0.8, 1] if name == "alerts" else default}
    back = ledger.set_budget("acme", **again)
    assert fields_of(back) == fields_of(before) | {name: default}


@pytest.mark.parametrize("field", PLAIN_FIELDS, ids=lambda field: field.name)
@pytest.mark.parametrize("wrong", [[], {}, b"x", 1.5, -1, 1 << 63, "\0", "x" * 5000, "\ud800"])
def test_what_a_plain_field_cannot_be_is_refused(
    edges: list[Ledger], field: Any, wrong: Any
) -> None:
    """A value of another type, out of bounds or not printable, naming the field."""
    for books in edges:
        with pytest.raises(InputError, match=f"is not an? {field.label}"):
            books.set_budget("acme", **{field.name: wrong})


def test_what_no_field_is_called_is_refused(edges: list[Ledger]) -> None:
    """As Python refuses an argument that a function does not have."""
    for books in edges:
        with pytest.raises(TypeError, match="unexpected keyword argument 'ownr'"):
            books.set_budget("acme", ownr="x")  # pyright: ignore[reportCallIssue, reportArgumentType]


@pytest.mark.parametrize("target", DURABLE)
@pytest.mark.parametrize("source", DURABLE)
def test_fields_survive_a_restart_and_a_copy(
    source: str, target: str, tmp_path: Path, clock: ManualClock
) -> None:
    """And the audit of each finds what the entries say, also where a field was set back."""
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()
    urls = STORES[source](tmp_path / "source"), STORES[target](tmp_path / "target")
    with open_ledger(urls[0], clock=clock) as ledger:
        kept = [ledger.set_budget("acme", **given()), ledger.set_budget("back", **given(1))]
        defaults: dict[str, Any] = {each.name: each.default for each in PLAIN_FIELDS}
        kept[1] = ledger.set_budget("back", limits=[], alerts=[0.8, 1], **defaults)
        check_books(ledger)
    assert fields_of(kept[1]) == fields_of(Budget(path="back"))
    copy_store(*urls, with_holds=False, clock=clock, progress=lambda _, __: None)
    for url in urls:
        with open_ledger(url, clock=clock) as ledger:
            assert ledger.budgets() == kept
            check_books(ledger)


# Doors --------------------------------------------------------------------------------------------

Samples = dict[str, Sample]


def by_library(shell: Shell, _: House, change: Samples) -> None:
    """Set fields by `set_budget`."""
    given: dict[str, Any] = {name: each.given for name, each in change.items()}
    with open_ledger(f"sqlite:///{shell.folder}/earmark.db") as ledger:
        ledger.set_budget("acme", **given)


def by_command_line(shell: Shell, _: House, change: Samples) -> None:
    """Set fields by `earmark budget set`."""
    shell.ok("budget", "set", "acme", *(each for one in change.values() for each in one.options))


def by_api(_: Shell, house: House, change: Samples) -> None:
    """Set fields by `PUT /v1/budgets/acme`, the others sent as null."""
    body = dict.fromkeys(SAMPLES) | {name: each.json for name, each in change.items()}
    house.ok("put", "/v1/budgets/acme", json=body)


def by_file(shell: Shell, _: House, change: Samples) -> None:
    """Set fields by `earmark.toml`, twice, and take the file away again."""
    lines = [f"{name} = {each.toml}" for name, each in change.items()]
    shell.configure("[budgets.acme]\n" + "\n".join(lines))
    shell.ok("budget", "show", "acme")
    entries = shell.seq()
    shell.ok("budget", "show", "acme")
    assert shell.seq() == entries
    (shell.folder / "earmark.toml").unlink()


@pytest.mark.parametrize("act", [by_library, by_command_line, by_api, by_file])
def test_every_door_reads_what_any_door_sets(
    act: Callable[[Shell, House, Samples], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All fields at once, then each alone, the others staying as they were."""
    shell = isolated_shell(tmp_path, tmp_path / "state", monkeypatch, capsys)
    with house(f"sqlite:///{tmp_path}/earmark.db") as opened:
        visitor = Visitor(opened.client)
        visitor.log_in(opened.secrets["admin"])
        want: Samples = {}
        for change in (
            {name: first for name, (first, _) in SAMPLES.items()},
            *({name: second} for name, (_, second) in SAMPLES.items()),
        ):
            act(shell, opened, change)
            want |= change
            check_doors(shell, opened, visitor, want)


def check_doors(shell: Shell, house: House, visitor: Visitor, want: Samples) -> None:
    """Assert that library, `--json`, the table, the API and the pages agree on every field."""
    given: dict[str, Any] = {name: each.given for name, each in want.items()}
    with open_ledger(f"sqlite:///{shell.folder}/earmark.db") as ledger:
        (budget,) = ledger.budgets("acme")
        assert fields_of(budget) == fields_of(ledger.set_budget("b", **given))
        check_books(ledger)
    for form in (
        *shell.json("budget", "show", "acme")["budgets"],
        house.ok("get", "/v1/budgets/acme"),
        house.ok("get", "/v1/budgets")["items"][0],
    ):
        assert {name: form[name] for name in want} == {name: x.json for name, x in want.items()}
    texts = (
        shell.ok("budget", "show", "acme").out,
        visitor.read("/budgets/acme").text,
        visitor.read("/budgets").text,
    )
    for field, text in itertools.product(PLAIN_FIELDS, texts):
        value = field.of(budget)
        said = f"{field.label} {show_plain(value)}".lower() in text.lower().replace(":", "")
        assert said or value == field.default, (field.label, text)
