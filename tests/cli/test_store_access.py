"""The books from the command line: budgets, holds, entries, audit."""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false

import shlex
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

from earmark.errors import BudgetExceeded
from earmark.ledger.details import details_of_call
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.shell import Shell

SOON = datetime.now(UTC) + timedelta(hours=2)


def test_a_budget_is_set_and_shown(shell: Shell) -> None:
    """`budget set` makes a budget; `budget show` says how each of its limits stands."""
    shell.ok(
        "budget", "set", "acme", "--limit", "10.50 usd per day", "--limit", "3 calls per 30min"
    )
    (budget,) = shell.json("budget", "show", "acme")["budgets"]
    assert budget["limits"] == ["10.5 usd per day", "3 calls per 30min"]
    assert budget["alerts"] == ["0.8", "1"]
    assert [(b["unit"], b["limit"], b["available"]) for b in budget["balances"]] == [
        ("usd", "10.5", "10.5"),
        ("calls", 3, 3),
    ]
    assert "10.5 usd per day" in shell.ok("budget", "show").out


def test_limits_are_taken_away(shell: Shell) -> None:
    """By an option of its own: no `--limit` at all leaves them as they are."""
    shell.ok("budget", "set", "acme", "--limit", "10 usd per day")
    (budget,) = shell.json("budget", "set", "acme", "--no-limits")["budgets"]
    assert budget["limits"] == []


def test_an_extension_of_no_limit_of_the_budget_is_refused(shell: Shell) -> None:
    """It fails and names the limits there are; nothing is written."""
    shell.ok("budget", "set", "acme", "--limit", "10 usd per day")
    answer = shell("budget", "extend", "acme", "5 usd per week", "--until", SOON.isoformat())
    assert answer.code == 1
    assert "10 usd per day" in answer.err
    assert shell.seq() == 1


@pytest.mark.parametrize("limit", ["1 usd per day", "1 usd per 30min", "1 usd total"])
def test_the_command_that_a_refusal_names_adds_to_its_limit(shell: Shell, limit: str) -> None:
    """As it stands there, with an amount and a moment; only what resets is worth waiting for."""
    shell.ok("budget", "set", "acme", "--limit", limit)
    with open_ledger("sqlite:///earmark.db") as ledger:
        ledger.settle(ledger.reserve("acme", "1").key, "1")
        with pytest.raises(BudgetExceeded) as refused:
            ledger.reserve("acme", "1")
    said = str(refused.value)
    assert (", or wait" in said) == ("total" not in limit)
    command = said.split("`")[1].replace("AMOUNT", "1").replace("WHEN", SOON.isoformat())
    shell.ok(*shlex.split(command)[1:])
    (budget,) = shell.json("budget", "show", "acme")["budgets"]
    assert budget["balances"][0]["available"] == "1"


def test_show_means_one_budget_all_of_them_or_a_tree(shell: Shell) -> None:
    """PATH alone is that budget, with --tree what is below it too; runs' own only in a tree."""
    run = "acme/run-0123456789abcdef"
    for path in ("acme", "acme/a", "other"):
        shell.ok("budget", "set", path, "--limit", "1 usd total")
    with open_ledger("sqlite:///earmark.db") as ledger:
        ledger.set_budget(run, limits=["1 usd total"], kind="run")

    def paths(*arguments: str) -> list[str]:
        return [each["path"] for each in shell.json("budget", "show", *arguments)["budgets"]]

    assert paths() == ["acme", "acme/a", "other"]
    assert paths("acme") == ["acme"]
    assert paths("acme", "--tree") == ["acme", "acme/a", run]
    assert paths(run) == [run]


def test_a_pause_and_an_extension_are_shown_with_who_and_why(books: Shell) -> None:
    """Pause, resume and extend take an actor, a reason and an end, and show them."""
    (paused,) = books.json(
        *("budget", "pause", "acme", "--until", "2h", "--actor", "ann", "--reason", "tea"),
    )["budgets"]
    assert (paused["paused"]["actor"], paused["paused"]["reason"]) == ("ann", "tea")
    assert paused["paused"]["until"] is not None
    assert "paused by ann until" in books.ok("budget", "show").out
    (resumed,) = books.json("budget", "resume", "acme")["budgets"]
    assert resumed["paused"] is None
    (more,) = books.json(
        *("budget", "extend", "acme", "2 usd per day", "--until", SOON.isoformat()),
        *("--reason", "a launch"),
    )["budgets"]
    assert more["extensions"][0]["limit"] == "2 usd per day"
    assert more["extensions"][0]["reason"] == "a launch"
    assert more["balances"][0]["limit"] == "12.5"


def test_a_hold_is_listed_and_settled_truly(books: Shell) -> None:
    """An unresolved hold is listed with its labels; settling it books what it really cost."""
    (hold,) = books.json("holds")["holds"]
    assert (hold["key"], hold["state"], hold["amount"]) == ("call-1", "open", "1")
    assert hold["labels"] == {"stage": "draft"}
    (settled,) = books.json("holds", "settle", "call-1", "1.25")["holds"]
    assert (settled["state"], settled["settled"], settled["overrun"]) == ("settled", "1.25", "0.25")
    assert books.json("holds")["holds"] == []
    (again,) = books.json("holds", "--state", "settled")["holds"]
    assert again["key"] == "call-1"
    assert books.json("budget", "show", "acme")["budgets"][0]["balances"][0]["settled"] == "1.25"


def test_a_hold_nobody_heard_back_from_is_presumed_and_corrected(shell: Shell) -> None:
    """Past its deadline a hold counts as spent, is still unresolved, and can be released later."""
    shell.ok("budget", "set", "acme", "--limit", "10 usd total")
    past = ManualClock(datetime.now(UTC) - timedelta(days=1))
    with open_ledger("sqlite:///old.db", clock=past) as ledger:
        ledger.set_budget("acme", limits=["10 usd total"])
        ledger.reserve("acme", 1, key="lost", deadline="10min")
    old = ("--store", "sqlite:///old.db")
    (hold,) = shell.json("holds", *old)["holds"]
    assert (hold["state"], hold["settled"]) == ("presumed", "1")
    (released,) = shell.json("holds", "release", "lost", *old)["holds"]
    assert (released["state"], released["settled"]) == ("released", "0")
    assert shell.json("holds", *old)["holds"] == []


def test_several_holds_are_released_at_once_or_none_is(books: Shell) -> None:
    """A key that is not there or was settled leaves the others as they were."""
    with open_ledger("sqlite:///earmark.db") as ledger:
        for key in ("call-2", "paid"):
            ledger.reserve("acme", "0.1", key=key)
        ledger.settle("paid", "0.1")
    for spoilt in ("nowhere", "paid"):
        answer = books("holds", "release", "call-2", "call-1", spoilt)
        assert answer.code != 0
        assert spoilt in answer.err
        assert [each["state"] for each in books.json("holds")["holds"]] == ["open", "open"]
    released = books.json("holds", "release", "call-2", "call-1", "call-2")["holds"]
    assert [(each["key"], each["state"]) for each in released] == [
        ("call-2", "released"),
        ("call-1", "released"),
    ]


def test_holds_are_filtered(books: Shell) -> None:
    """By budget, key, state and time; at most so many."""

    def keys(*arguments: str) -> list[str]:
        return [each["key"] for each in books.json("holds", *arguments)["holds"]]

    assert keys("--budget", "acme") == ["call-1"]
    assert keys("--budget", "other") == []
    assert keys("--key", "call-2") == []
    assert keys("--state", "presumed") == []
    assert keys("--state", "all", "--limit", "1") == ["call-1"]
    assert keys("--since", "1h") == ["call-1"]
    assert keys("--until", "1h") == []


@pytest.mark.parametrize("words", [("settle", "call-1", "0.2"), ("release", "call-1")])
def test_who_closes_an_open_hold_is_warned_of_its_call(
    books: Shell, words: tuple[str, ...]
) -> None:
    """A hold before its deadline may be a call under way; one that was presumed is not."""
    said = books.ok("holds", *words).err
    assert "'call-1' was open, with a deadline at " in said
    assert "its call may be under way" in said
    with open_ledger("sqlite:///earmark.db") as ledger:
        ledger.reserve("acme", "1.00", key="call-2")
        ledger.presume("call-2")
    assert books.ok("holds", words[0], "call-2", *words[2:]).err == ""


def test_a_settlement_far_above_its_hold_is_asked_about(books: Shell) -> None:
    """Ten times the hold books nothing without --yes; once settled, the amount is final."""
    assert "say --yes" in books("holds", "settle", "call-1", "10").err
    assert books.json("holds")["holds"][0]["state"] == "open"
    (settled,) = books.json("holds", "settle", "call-1", "10", "--yes")["holds"]
    assert (settled["settled"], settled["overrun"]) == ("10", "9")
    again = books("holds", "settle", "call-1", "0.10", "--yes").err
    assert "already settled to 10 usd; a settlement is final: to give back" in again
    assert "`earmark budget extend`" in again
    assert books.ok("holds", "settle", "call-1", "10").err == ""


def test_a_cut_list_of_holds_says_where_it_goes_on(books: Shell) -> None:
    """Page by page each hold comes once, in the order of opening, whichever its state."""
    with open_ledger("sqlite:///earmark.db") as ledger:
        for number in range(2, 6):
            ledger.reserve("acme", "0.1", key=f"call-{number}")
        ledger.presume("call-2")
        ledger.presume("call-5")
        seqs = [each.seq for each in ledger.holds(state=None)]
        assert [each.seq for each in ledger.holds(state=None, after=seqs[2])] == seqs[3:]
    found, page = list[str](), {"after": 0, "more": True}
    while page["more"]:
        page = books.json("holds", "--limit", "2", "--after", str(page["after"]))
        found += [each["key"] for each in page["holds"]]
    assert found == [f"call-{number}" for number in range(1, 6)]
    said = books.ok("holds", "--limit", "2").err
    assert said == f"earmark: there may be more: go on with --after {seqs[1]}\n"
    assert books.ok("holds").err == ""


def test_entries_are_paged_and_filtered(books: Shell) -> None:
    """Entries come in the order of commits; `after` is where the next page goes on."""
    page = books.json("entries", "--limit", "1")
    assert [each["kind"] for each in page["entries"]] == ["limit"]
    assert page["entries"][0]["data"]["reason"] == "a start"
    rest = books.json("entries", "--after", str(page["after"]))
    assert [(each["kind"], each["amount"]) for each in rest["entries"]] == [("reserve", "1")]
    assert books.json("entries", "--key", "call-1")["entries"] == rest["entries"]
    assert books.json("entries", "--budget", "other")["entries"] == []
    told = books.ok("entries", "--limit", "1")
    assert "go on with --after 1" in told.err
    assert told.out.splitlines()[1].split()[3] == "limit"


def test_an_extended_hold_is_among_the_entries(books: Shell) -> None:
    """The entry of an extension names the operation that made it."""
    with open_ledger("sqlite:///earmark.db") as ledger:
        ledger.extend("call-1", "0.5", operation="call-1/more")
    entry = books.json("entries", "--key", "call-1")["entries"][-1]
    assert (entry["kind"], entry["amount"]) == ("extend", "0.5")
    assert entry["data"] == {"operation": "call-1/more"}
    assert "extend" in books.ok("entries").out


def test_a_hold_gets_more_money_and_more_time(books: Shell) -> None:
    """`holds extend` adds to the hold and moves its deadline; the entry tells where to."""
    (before,) = books.json("holds")["holds"]
    (after,) = books.json("holds", "extend", "call-1", "0.5", "--deadline", "2h")["holds"]
    assert (after["amount"], after["deadline"] > before["deadline"]) == ("1.5", True)
    (longer,) = books.json("holds", "extend", "call-1", "--deadline", "3h")["holds"]
    assert (longer["amount"], longer["deadline"] > after["deadline"]) == ("1.5", True)
    entry = books.json("entries", "--key", "call-1")["entries"][-1]
    assert entry["data"]["deadline"] == longer["deadline"]
    assert f"until {longer['deadline']}" in books.ok("entries").out


def test_a_cost_that_is_not_fully_known_is_marked(books: Shell) -> None:
    """`holds` and `entries` name the counter, the reason, the model and the request, until then."""
    with open_ledger("sqlite:///earmark.db") as ledger:
        details = details_of_call(
            model="gpt-5", request_id="req_1", unknown=["usage.thoughts = 7"], note="cable cut"
        )
        ledger.presume("call-1", details={**details, "limits": 5, "timezone": 7, "labels": "x"})
    mark = "cost not fully known: usage.thoughts = 7; cable cut; gpt-5; request req_1"
    assert mark in books.ok("holds").out
    assert mark in books.ok("entries").out
    (raised,) = books.json("holds", "presume", "call-1", "--known", "1.25")["holds"]
    assert (raised["state"], raised["settled"]) == ("presumed", "1.25")
    told = raised["details"]
    assert (told["unknown"], told["note"]) == (["usage.thoughts = 7"], "cable cut")
    books.ok("holds", "settle", "call-1", "1.5")
    settled = books.ok("holds", "--state", "settled").out
    assert "usage.thoughts" not in settled
    assert "cable cut" not in settled


def test_an_audit_finds_healthy_books_healthy(books: Shell) -> None:
    """Books that agree with their entries: exit code 0, and what was counted."""
    report = books.json("audit")
    assert report["ok"] is True
    assert (report["entries"], report["unresolved"], report["held"]) == (2, 1, "1")
    assert "every balance equals its entries" in books.ok("audit").out


def test_an_audit_lists_what_is_wrong(books: Shell) -> None:
    """Books somebody changed by hand: exit code 1, each problem named, in both forms."""
    _spoil(books.folder / "earmark.db")
    answer = books("audit")
    assert answer.code == 1
    assert "wrong: " in answer.out
    assert answer.err.startswith("earmark: the books are wrong in ")
    machine = books("audit", "--json")
    assert machine.code == 1
    assert machine.json["ok"] is False
    assert machine.json["problems"]


def _spoil(file: Path) -> None:
    connection = apsw.Connection(str(file))
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema")]
    assert "account" in tables
    connection.execute("UPDATE account SET held = held + 1")
    connection.close()


@pytest.mark.parametrize(
    "command", [["holds"], ["entries"], ["audit"], ["trace"], ["budget", "show"]]
)
def test_looking_makes_no_books(shell: Shell, command: list[str]) -> None:
    """A mistyped store is told, not made: nothing appears in the folder."""
    answer = shell(*command, "--store", "sqlite:///typo.db")
    assert answer.code == 1
    assert answer.err.startswith("earmark: no store 'sqlite:///typo.db': ")
    assert answer.err.count("\n") == 1
    assert str(shell.folder / "typo.db") in answer.err, "it says where it looked"
    assert list(shell.folder.iterdir()) == []


@pytest.mark.parametrize("tables", [None, 0], ids=["no bytes", "no tables"])
@pytest.mark.parametrize(
    "command",
    [
        *(["holds"], ["entries"], ["audit"], ["trace"], ["budget", "show"], ["task", "list"]),
        *(["quilt", "list"], ["nudge", "list"], ["token", "list"], ["backup", "copy.db"]),
        *(["store", "status"], ["store", "copy", "sqlite:///earmark.db", "sqlite:///new.db"]),
    ],
    ids=" ".join,
)
def test_an_empty_file_is_no_store(shell: Shell, command: list[str], tables: int | None) -> None:
    """It is told and stays as it is; a file whose books were lost must not pass for good ones."""
    file = shell.folder / "earmark.db"
    file.touch()
    if tables == 0:
        with closing(apsw.Connection(str(file))) as connection:
            connection.execute("CREATE TABLE t (a); DROP TABLE t")
    before = file.read_bytes()
    answer = shell(*command)
    assert answer.code == 1
    assert answer.err.startswith("earmark: no store 'sqlite:///earmark.db'")
    assert file.read_bytes() == before
    assert {each.name for each in shell.folder.iterdir()} == {"earmark.db"}
    shell.ok("budget", "set", "acme", "--limit", "1 usd total")


@pytest.mark.parametrize("named", [[], ["--store", "sqlite:///some where.db"]], ids=str)
def test_the_advice_for_a_store_that_is_not_there_works_as_typed(
    shell: Shell, named: list[str]
) -> None:
    """The command it names makes the books that were missed."""
    said = shell("holds", *named).err
    assert all(how in said for how in ("--store", "EARMARK_STORE", "[store] url"))
    command = shlex.split(said[said.rindex("`earmark ") + 1 : said.rindex("`")])
    assert command[0] == "earmark"
    shell.ok(*command[1:])
    shell.ok("holds", *named)


def test_a_folder_that_is_not_there_is_named(shell: Shell) -> None:
    """No command makes books in it."""
    said = shell("holds", "--store", f"sqlite:///{shell.folder}/nope/books.db").err
    assert f"there is no folder {shell.folder}/nope" in said
    assert "budget set" not in said


def test_the_configured_budgets_are_in_the_books(shell: Shell) -> None:
    """`[budgets]` of earmark.toml are set once in the books; a change of the file changes them."""
    shell.configure('[budgets."c8"]\nlimits = ["10 usd per day"]\n')
    (budget,) = shell.json("budget", "show")["budgets"]
    assert (budget["path"], budget["limits"]) == ("c8", ["10 usd per day"])
    shell.ok("budget", "show")
    assert shell.seq() == 1
    shell.configure('[budgets."c8"]\nlimits = ["20 usd per day"]\n')
    assert shell.json("budget", "show", "c8")["budgets"][0]["limits"] == ["20 usd per day"]
    assert shell.seq() == 2


def test_a_configured_budget_is_changed_in_the_file(shell: Shell) -> None:
    """`budget set` of a budget the file sets is refused: the file would undo it."""
    shell.configure('[budgets."c8"]\nlimits = ["10 usd per day"]\n')
    answer = shell("budget", "set", "c8", "--limit", "99 usd per day")
    assert answer.code == 1
    assert "change it there" in answer.err
    assert not (shell.folder / "earmark.db").exists()


def test_the_store_is_named_by_option_variable_or_file(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--store` comes before EARMARK_STORE, which comes before earmark.toml."""
    limit = ("--limit", "1 usd total")
    shell.configure('[store]\nurl = "sqlite:///file.db"\n')
    shell.ok("budget", "set", "a", *limit)
    monkeypatch.setenv("EARMARK_STORE", "sqlite:///variable.db")
    shell.ok("budget", "set", "a", *limit)
    shell.ok("--store", "sqlite:///first.db", "budget", "set", "a", *limit)
    shell.ok("budget", "set", "a", *limit, "--store", "sqlite:///last.db")
    names = {each.name for each in shell.folder.glob("*.db")}
    assert names == {"file.db", "variable.db", "first.db", "last.db"}


def test_a_change_of_the_time_zone_can_be_read(shell: Shell) -> None:
    """`entries` says from which zone to which, once; `budget show` names the zone."""
    shell.ok("budget", "set", "c8", "--limit", "10 usd per day", "--timezone", "Europe/Berlin")
    shell.ok("budget", "set", "c8", "--alert", "0.5")
    shell.ok("budget", "set", "c8", "--timezone", "America/New_York")
    said = shell.ok("entries").out
    assert said.count("time zone") == 2
    assert "time zone Europe/Berlin → America/New_York" in said
    assert "c8: time zone America/New_York" in shell.ok("budget", "show").out
