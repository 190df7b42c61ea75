"""Bad input: one clear sentence, exit code 1 or 2, an error as JSON too, and nothing is changed."""

import apsw
import pytest

from earmark.stores.open import open_ledger
from support.shell import LEAVES, Shell

RUN = ("run", "graph.json", "--stages", "stages.py", "--input", '"hi"')
SET = ("budget", "set", "acme", "--limit")

#: What is typed, the exit code, the error's code, and a part of the sentence.
BAD = [
    # The command line itself.
    (["nosuch"], 1, "input_error", "No such command 'nosuch'"),
    (["budgte", "show"], 1, "input_error", "Did you mean 'budget'"),
    (["budget", "set"], 1, "input_error", "Missing argument 'PATH'"),
    (["audit", "extra"], 1, "input_error", "unexpected extra argument(s) (extra)"),
    (["audit", "--nosuch"], 1, "input_error", "No such option: --nosuch"),
    (["holds", "--state", "odd"], 1, "input_error", "'odd' is not one of 'unresolved', 'open'"),
    (["holds", "--limit", "0"], 1, "input_error", "greater than or equal to 1"),
    (["entries", "--after", "x"], 1, "input_error", "'--after'"),
    # Budgets.
    (
        [*SET[:2], "a//b", "--limit", "1 usd total"],
        1,
        "invalid_path",
        "'a//b' is not a budget path",
    ),
    ([*SET, "1 eur per day"], 1, "invalid_limit", "'eur' is not a"),
    ([*SET, "1 usd per fortnight"], 1, "invalid_limit", "'fortnight' is not a window"),
    ([*SET, "nan usd per day"], 1, "invalid_amount", "nan is not an amount"),
    ([*SET, "-1 usd per day"], 1, "invalid_amount", "-1 is not an amount"),
    ([*SET, "1e400 usd per day"], 1, "invalid_amount", "1e400 is not an amount"),
    ([*SET, "1.5 calls per day"], 1, "invalid_amount", "whole number"),
    ([*SET, "lots"], 1, "invalid_limit", "'lots' is not a limit"),
    ([*SET, "1 usd total", "--limit", "2 usd total"], 1, "invalid_limit", "one limit per unit"),
    ([*SET, "1 usd total", "--timezone", "Mars/X"], 1, "invalid_limit", "not a time zone"),
    ([*SET, "1 usd total", "--alert", "0"], 1, "invalid_limit", "alert threshold"),
    ([*SET, "1 usd total", "--no-limits"], 1, "input_error", "give limits or take them away"),
    (["budget", "show", "nope"], 1, "not_found", "no budget 'nope'"),
    (["budget", "pause", "nope"], 1, "not_found", "no budget 'nope'"),
    (
        ["budget", "pause", "acme", "--until", "soon"],
        1,
        "invalid_duration",
        "'soon' is not a moment",
    ),
    (
        ["budget", "pause", "acme", "--until", "2999-01-01T10:00"],
        *(1, "invalid_duration", "a time zone too"),
    ),
    (
        ["budget", "extend", "acme", "1 usd per day", "--until", "2020-01-01"],
        *(1, "invalid_duration", "one that is not past"),
    ),
    # Holds.
    (["holds", "settle", "nope", "1"], 1, "not_found", "no reservation 'nope'"),
    (["holds", "settle", "call-1", "0.1.2"], 1, "invalid_amount", "'0.1.2' is not an amount"),
    (["holds", "settle", "call-1", "nan"], 1, "invalid_amount", "nan is not an amount"),
    (["holds", "release", "done"], 2, "reservation_closed", "'done' is already settled"),
    (["holds", "settle", "done", "0.9"], 2, "key_reused", "`earmark budget extend`"),
    (["holds", "settle", "call-1", "10"], 1, "input_error", "10 times what 'call-1' counts"),
    (["holds", "--run", "nope"], 1, "not_found", "no run 'nope'"),
    (["holds", "--budget", "a b"], 1, "invalid_path", "'a b' is not a budget path"),
    (["trace", "nope"], 1, "not_found", "no run 'nope'"),
    # Prices.
    (["price", "nosuch"], 2, "budget_exceeded", "no price for model 'nosuch'"),
    (["price", "gpt-4o", "--tier", "gold"], 2, "budget_exceeded", "service tier 'gold'"),
    (["price", "gpt-4o", "--usage", "foo=1"], 1, "invalid_usage", "'foo=1' is no count"),
    (["price", "gpt-4o", "--usage", "cache_read_tokens=2.5"], 1, "invalid_usage", "is no count"),
    (["price", "gpt-4o", "--at", "3000-01-01"], 1, "invalid_duration", "a year from 1970"),
    # Compositions and runs.
    (["plan", "missing.json"], 1, "invalid_file", "'missing.json': there is no such file"),
    (["plan", "."], 1, "invalid_file", "'.': it is a folder"),
    (["plan", "not-utf8.json"], 1, "invalid_composition", "not UTF-8"),
    (["plan", "not-json.json"], 1, "invalid_composition", "not JSON"),
    (["plan", "twice.json"], 1, "invalid_composition", "the key 'root' appears twice"),
    (["plan", "deep.json"], 1, "invalid_composition", "nest"),
    (["plan", "operator.json"], 1, "invalid_composition", "/root"),
    (["plan", "graph.json"], 2, "check_failed", "at /stages/0: no stage 'draft'"),
    ([*RUN], 1, "input_error", "Missing option '--budget'"),
    ([*RUN, "--budget", "NaN"], 1, "invalid_amount", "NaN is not an amount"),
    ([*RUN, "--budget", "-1"], 1, "invalid_amount", "-1 is not an amount"),
    ([*RUN, "--budget", "1", "--under", "/"], 1, "invalid_path", "is not a budget path"),
    ([*RUN[:4], "--budget", "1", "--input", '{"a":1,"a":2}'], 1, "invalid_file", "appears twice"),
    ([*RUN[:4], "--budget", "1", "--input", "NaN"], 1, "invalid_file", "NaN is not JSON"),
    ([*RUN[:4], "--budget", "1", "--input", "@nope"], 1, "invalid_file", "'nope'"),
    ([*RUN, "--budget", "1", "--allow", "evil"], 1, "invalid_config", "'evil' is no effect"),
    ([*RUN, "--budget", "1", "--wait", "soon"], 1, "invalid_duration", "'soon' is not a duration"),
    ([*RUN, "--budget", "1", "--concurrency", "9999"], 1, "invalid_config", "it takes 1 to 1,024"),
    # Stores and settings.
    (["audit", "--store", "redis://x"], 1, "invalid_config", "'redis:' is no store"),
    (["audit", "--store", "sqlite:///nope.db"], 1, "not_found", "no store 'sqlite:///nope.db'"),
    (["audit", "--store", "sqlite:///newer.db"], 1, "schema_mismatch", "newer"),
    (["audit", "--store", "sqlite:///garbage.db"], 1, "store_corrupt", "garbage.db"),
    (["--config", "nope.toml", "audit"], 1, "invalid_config", "nope.toml: cannot be read"),
    (["--config", "broken.toml", "audit"], 1, "invalid_config", "it is not TOML"),
]


@pytest.fixture
def messy(workshop: Shell, books: Shell) -> Shell:
    """A shell with books, stages, and files that are not what they should be."""
    assert workshop is books
    books.ok("budget", "set", "spent", "--limit", "5 usd total")
    _settle_one()
    (books.folder / "not-utf8.json").write_bytes(b'{"description": "\xff"}')
    books.write("not-json.json", "{")
    books.write("twice.json", '{"description": "", "version": "", "root": 1, "root": 2}')
    head = '{"description": "d", "version": "1", "root": '
    retry = '{"op": "Retry", "max_attempts": 2, "stage": '
    books.write("deep.json", head + retry * 10_000 + "1" + "}" * 10_001)
    books.write("operator.json", head + '{"op": "Explode"}}')
    books.write("broken.toml", "[store\n")
    books.write("garbage.db", "this is no database, and it never was one\n" * 100)
    connection = apsw.Connection(str(books.folder / "newer.db"))
    connection.execute("CREATE TABLE t (x)")
    connection.execute("PRAGMA application_id = 0x4541524D; PRAGMA user_version = 999")
    connection.close()
    return books


def _settle_one() -> None:
    with open_ledger("sqlite:///earmark.db") as ledger:
        ledger.reserve("spent", "1.00", key="done")
        ledger.settle("done", "0.5")


@pytest.mark.parametrize(
    ("typed", "code", "error", "part"), BAD, ids=[" ".join(typed) for typed, *_ in BAD]
)
def test_bad_input(messy: Shell, typed: list[str], code: int, error: str, part: str) -> None:
    """One sentence on standard error, the same as JSON on request, and the books as before."""
    before = messy.seq()
    answer = messy(*typed)
    assert answer.code == code
    assert answer.out == ""
    assert answer.err.startswith("earmark: ")
    assert answer.err.count("\n") == 1
    assert part in answer.err
    for machine in (messy(*typed, "--json"), messy("--json", *typed)):
        assert machine.code == code
        assert machine.json["error"]["code"] == error
        assert part in machine.json["error"]["message"]
        assert machine.err == answer.err
    assert messy.seq() == before


@pytest.mark.parametrize("leaf", [*LEAVES, ["budget"], ["nope"], []], ids=" ".join)
def test_a_usage_error_of_any_command_is_json_where_that_is_asked_for(
    shell: Shell, leaf: list[str]
) -> None:
    """One document on standard output with exit code 1, wherever `--json` is typed."""
    for typed in (["--json", *leaf, "--no-such"], [*leaf, "--no-such", "--json"]):
        answer = shell(*typed)
        assert answer.code == 1
        assert answer.json["error"]["code"] == "input_error"
        assert answer.err == f"earmark: {answer.json['error']['message']}\n"


def test_an_error_of_the_system_is_json_where_that_is_asked_for(books: Shell) -> None:
    """Also one that no command foresaw: a folder that is not there any more."""
    books.write("blocked", "a file where a folder is wanted")
    answer = books("--json", "--config", "blocked/earmark.toml", "budget", "show")
    assert answer.code == 1
    assert answer.json["error"]["message"] in answer.err


def test_a_graph_of_a_hundred_megabytes(workshop: Shell) -> None:
    """A file that is far too large is refused after a part of it was read."""
    with (workshop.folder / "huge.json").open("wb") as huge:
        huge.truncate(100 << 20)
    answer = workshop("plan", "huge.json")
    assert answer.code == 1
    assert answer.err == "earmark: cannot read 'huge.json': it has more than 16,777,216 bytes\n"


def test_a_composition_with_an_input_it_does_not_take(workshop: Shell) -> None:
    """Refused before anything runs, with exit code 2; the run is kept with its statement."""
    answer = workshop(*RUN[:4], "--input", "5", "--budget", "1", "--json")
    assert answer.code == 2
    assert answer.json["error"]["code"] == "check_failed"
    assert answer.json["spent"] == "0"


def test_a_file_that_cannot_be_written(books: Shell) -> None:
    """Books in a folder where nothing can be made: one sentence, exit code 1."""
    answer = books(
        "budget", "set", "a", "--limit", "1 usd total", "--store", "sqlite:////proc/x.db"
    )
    assert answer.code == 1
    assert answer.err.startswith("earmark: store sqlite:////proc/x.db: ")
    assert answer.err.count("\n") == 1
