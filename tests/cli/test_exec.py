"""`earmark exec`: a command that knows nothing of budgets, under one."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from earmark.stores.open import open_ledger
from support.exec_house import ASK, COST, HOLD, KEY, REPLY, ExecHouse, exec_house
from support.gateway_house import gateway_house
from support.last_resort import LAST_RESORT_S
from support.upstream_stub import Answer

SESSION = ("--budget", "acme", "--up-to", "0.001", "--statement", "statement.json")
#: The environment, as JSON.
SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[ExecHouse]:
    """A folder to run commands in, and a provider."""
    with exec_house(tmp_path) as opened:
        yield opened


def adds_up(house: ExecHouse) -> None:
    """Assert that the statement, the books and the provider's bill are of one sum."""
    statement = house.statement()
    settled, held = Decimal(statement["settled"]), Decimal(statement["held"])
    assert settled + held == house.spent()
    assert settled + held + Decimal(statement["left"]) == Decimal(statement["limit"])
    assert settled - Decimal(statement["presumed"]) + held <= house.stub.bill
    models = statement["models"].values()
    for name in ("settled", "held", "presumed"):
        assert sum(Decimal(each[name]) for each in models) == Decimal(statement[name])
    assert sum(each["calls"] for each in models) == statement["calls"]


def test_a_command_spends_on_its_own_budget(house: ExecHouse) -> None:
    """Its calls are answered and paid for; its output is its own, and the statement adds up."""
    done = house.run(house.asking(*SESSION, calls=3))
    assert (done.returncode, done.stdout) == (0, "Mars.\n" * 3)
    statement = house.statement()
    assert statement["budget"].startswith("acme/exec-")
    assert statement["store"] == f"sqlite:///{house.folder}/books.db"
    assert f"earmark: {statement['budget']} in {statement['store']}\n" in done.stderr
    assert statement["notices"] == []
    assert Decimal(statement["settled"]) == 3 * COST == house.stub.bill == house.spent()
    assert (statement["calls"], statement["refused"], statement["exit_code"]) == (3, 0, 0)
    assert set(statement["models"]) == {"openai/gpt-4o-mini"}
    assert f"3 calls: {3 * COST} of 0.001 USD settled, 0 held" in done.stderr
    adds_up(house)


def test_where_up_to_alone_binds_it_says_so(house: ExecHouse) -> None:
    """A budget without limits, as one in books of another folder is: the books are named."""
    options = ("--budget", "other", "--up-to", "2", "--statement", "statement.json")
    options = (*options, "--store", "sqlite:///books.db")
    done = house.run(house.command(*options, "sh", "-c", "echo started >&2"))
    first, second, *_ = done.stderr.splitlines()
    said = f"no limit stands on 'other' or above it in sqlite:///{house.folder}/books.db"
    assert said in first
    assert (second, done.returncode) == ("started", 0)
    (notice,) = house.statement()["notices"]
    assert first == f"earmark: {notice}"


def test_the_sessions_of_a_command_are_in_its_statement(house: ExecHouse) -> None:
    """A client that names its session, as Claude Code does, spends below the command's budget."""
    named = 'openai.OpenAI(default_headers={"X-Claude-Code-Session-Id": sys.argv[1]})'
    script = ASK.replace("openai.OpenAI()", named).replace("int(sys.argv[1])", "2")
    (house.folder / "ask.py").write_text(script, "utf-8")
    done = house.run(house.asking(*SESSION, calls=7))
    assert (done.returncode, done.stdout) == (0, "Mars.\n" * 2)
    statement = house.statement()
    assert statement["calls"] == 2
    assert Decimal(statement["settled"]) == 2 * COST == house.stub.bill == house.spent()
    with open_ledger(f"sqlite:///{house.folder}/books.db") as ledger:
        (hold, _) = ledger.holds("acme", state=None)
    assert hold.budget == statement["budget"] + "/session-7"
    adds_up(house)


def test_at_the_cap_it_is_refused(house: ExecHouse) -> None:
    """What does not fit is not sent, the command reads why, and the statement says so."""
    done = house.run(house.asking(*SESSION, calls=1000))
    assert done.returncode == 9
    *answers, refusal = done.stdout.splitlines()
    assert set(answers) == {"Mars."}
    assert "402" in refusal
    assert "acme/exec-" in refusal
    statement = house.statement()
    assert len(answers) == len(house.stub.requests) == statement["calls"]
    assert Decimal(statement["settled"]) <= Decimal("0.001")
    assert statement["refusals"] == {"exhausted": 1}
    assert statement["last_refusal"] in refusal
    assert "refused: 1 exhausted" in done.stderr
    adds_up(house)


def test_two_commands_at_once_share_what_is_above_them(house: ExecHouse) -> None:
    """Both together pass no limit of the budget above theirs."""
    most = str(10 * HOLD)
    with open_ledger(f"sqlite:///{house.folder}/books.db") as ledger:
        ledger.set_budget("acme/team", limits=[f"{most} usd total"])
    line = house.asking("--budget", "acme/team", calls=1000)
    running = [house.start(line) for _ in range(2)]
    for each in running:
        each.communicate(timeout=LAST_RESORT_S)
        assert each.returncode == 9
    assert 0 < house.spent() == house.stub.bill <= Decimal(most)


@pytest.mark.parametrize(
    ("asked", "script_ends_with", "code"),
    [("POST /v1/batches", 0, 2), ("POST /v1/batches", 7, 7), ("HEAD /", 0, 0)],
)
def test_a_refusal_ends_it_with_2_if_that_was_asked_for(
    house: ExecHouse, asked: str, script_ends_with: int, code: int
) -> None:
    """Where the command itself ended well; whether anybody is there is no refusal."""
    method, path = asked.split()
    script = (
        "import http.client, os, sys\n"
        "host = os.environ['ANTHROPIC_BASE_URL'].removeprefix('http://')\n"
        "asked = http.client.HTTPConnection(host)\n"
        f"asked.request('{method}', '{path}')\n"
        "asked.getresponse().read()\n"
        f"sys.exit({script_ends_with})\n"
    )
    options = ("--budget", "acme", "--statement", "statement.json", "--fail-if-refused")
    done = house.run(house.command(*options, "--", sys.executable, "-c", script))
    assert done.returncode == code, done.stderr
    statement = house.statement()
    assert (statement["exit_code"], statement["refused"]) == (
        script_ends_with,
        int(method == "POST"),
    )


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -KILL $$", 137)])
def test_its_exit_code_is_the_command_s(house: ExecHouse, script: str, code: int) -> None:
    """And what it read and wrote is its own."""
    done = house.run(house.command("--budget", "acme", "sh", "-c", f"echo out; {script}"))
    assert (done.returncode, done.stdout) == (code, "out\n")
    assert "no call came: 'sh' asked no model, or does not read its API's address" in done.stderr


def test_a_statement_stays_until_there_is_another_one(house: ExecHouse) -> None:
    """A command line that is refused, or whose program is not there, does not empty its file."""
    file = house.folder / "statement.json"
    file.write_text("{}")
    for options in (("--budget", "acme", "--up-to", "x"), ()):
        done = house.run(house.command(*options, "--statement", file.name, "--", "true"))
        assert (done.returncode, file.read_text()) == (1, "{}"), done.stderr
    house.run(house.command("--budget", "acme", "--statement", file.name, "--", "true"))
    assert house.statement()["exit_code"] == 0


def test_no_key_reaches_it(house: ExecHouse) -> None:
    """Its environment has the gateway's address and a token; the provider gets the key."""
    line = house.command("--budget", "acme", "--", sys.executable, "-c", SHOW)
    seen = json.loads(house.run(line, EARMARK_STORE="sqlite:///books.db").stdout)
    assert KEY not in seen.values()
    assert seen["OPENAI_API_KEY"].startswith("emk_")
    assert seen["OPENAI_BASE_URL"].startswith("http://127.0.0.1:")
    assert [name for name in seen if name.startswith("EARMARK_")] == []
    house.run(house.asking("--budget", "acme"))
    assert house.stub.requests[-1].header("authorization") == f"Bearer {KEY}"


def test_its_token_ends_with_it(house: ExecHouse) -> None:
    """It is not among the store's, so that nothing opens by it afterwards."""
    house.run(house.asking("--budget", "acme"))
    done = house.run([*house.command()[:-1], "token", "list", "--json"])
    assert json.loads(done.stdout) == {"tokens": []}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--budget", "acme", "nosuch"), 127, "there is no program 'nosuch' on the PATH"),
        (("--budget", "acme", "./ask.py"), 126, "'./ask.py' is no program that may be started"),
        (("true",), 1, "--budget PATH"),
        (("--budget", "acme"), 1, "Missing argument"),
        (("--budget", "/", "true"), 1, "budget path"),
        (("--budget", "acme", "--up-to", "nan", "true"), 1, "nan is not an amount"),
        (("--budget", "acme", "--statement", "no/such/file", "true"), 1, "make the folder"),
        (("--budget", "acmee", "true"), 1, "did you mean 'acme'?"),
        (("--budget", "other", "true"), 2, "no limit on 'other' or above it"),
        (("--gateway", "http://127.0.0.1:9", "true"), 1, "EARMARK_GATEWAY_TOKEN"),
        (("--gateway", "http://127.0.0.1:9", "--up-to", "1", "true"), 1, "give no --budget"),
        (("--gateway", "http://127.0.0.1:9", "--fail-if-refused", "true"), 1, "give no --fail-if"),
    ],
)
def test_what_cannot_be_begins_nothing(
    house: ExecHouse, arguments: tuple[str, ...], code: int, said: str
) -> None:
    """One sentence; no command has run, and no budget was opened for it."""
    done = house.run(house.command(*arguments))
    assert done.returncode == code, done.stderr
    (sentence,) = done.stderr.splitlines()
    assert said in sentence
    assert done.stdout == ""
    if (house.folder / "books.db").exists():
        with open_ledger(f"sqlite:///{house.folder}/books.db") as ledger:
            assert [each.path for each in ledger.budgets() if "exec-" in each.path] == []


def test_a_refusal_in_json_is_the_only_document(house: ExecHouse) -> None:
    """Before the command starts `--json` is of `exec`; after `--` it is the command's own."""
    options = ("--budget", "other")
    refused = house.run(house.command(*options, "--json", "--", "true"))
    assert json.loads(refused.stdout)["error"]["code"] == "no_budget"
    assert house.run(house.command(*options, "--", "true", "--json")).stdout == ""


@pytest.mark.parametrize("program", ["claude", "codex", "other"])
def test_without_a_key_no_command_starts(house: ExecHouse, program: str) -> None:
    """It says which variable to set: for a known program that of its API, else any that would."""
    (house.folder / "house.toml").write_text('[store]\nurl = "sqlite:///books.db"\n', "utf-8")
    folder = house.folder / "bin"
    folder.mkdir()
    (folder / program).write_text("#!/bin/sh\necho started\n")
    (folder / program).chmod(0o755)
    line = house.command("--budget", "acme", "--up-to", "1", str(folder / program))
    done = house.run(line, OPENAI_API_KEY="", CLAUDE_CODE_OAUTH_TOKEN="a login")  # noqa: S106
    assert (done.returncode, done.stdout) == (1, "")
    named = {
        each
        for each in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY")
        if each in done.stderr
    }
    own = {"claude": {"ANTHROPIC_API_KEY"}, "codex": {"OPENAI_API_KEY"}}
    assert named == own.get(program, {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"})
    assert not (house.folder / "books.db").exists()
    assert house.run(line, **dict.fromkeys(named, "sk-some")).stdout == "started\n"


def test_the_statement_as_json(house: ExecHouse) -> None:
    """With `--json` it is the one document on standard error; standard output is the command's."""
    done = house.run(house.asking("--json", *SESSION))
    assert done.stdout == "Mars.\n"
    assert json.loads(done.stderr) == house.statement()


def asked_and_waiting(
    house: ExecHouse, *options: str
) -> "tuple[subprocess.Popen[str], threading.Event]":
    """Start a command whose call is under way at the provider until the event is set."""
    gate = threading.Event()
    house.stub.answer(Answer(body=REPLY, cost=COST, waits={-1: gate}))
    running = house.start(house.asking(*options, calls=2))
    house.stub.wait_for_request()
    return running, gate


def test_sigterm_ends_the_command_and_its_call_is_paid_for(house: ExecHouse) -> None:
    """It is passed on; a call that is under way is waited for, and booked as it is billed."""
    running, gate = asked_and_waiting(house, *SESSION)
    running.send_signal(signal.SIGTERM)
    assert running.stderr is not None
    assert "calls under way are waited for" in running.stderr.readline()
    gate.set()
    _, said = running.communicate(timeout=LAST_RESORT_S)
    assert running.returncode == 128 + signal.SIGTERM
    assert f"1 call: {COST} of 0.001 USD settled, 0 held" in said
    assert house.statement()["exit_code"] == 143
    adds_up(house)


def test_ctrl_c_twice_ends_nothing_but_the_command(house: ExecHouse) -> None:
    """However often it comes, as a terminal sends it to the whole group: the books are closed."""
    gate = threading.Event()
    house.stub.answer(Answer(body=REPLY, cost=COST, waits={-1: gate}))
    running = house.start(house.asking(*SESSION, calls=2), own_group=True)
    house.stub.wait_for_request()
    os.killpg(running.pid, signal.SIGINT)
    assert running.stderr is not None
    lines = iter(running.stderr.readline, "")
    assert any("calls under way" in line for line in lines), "after the client's own words"
    os.killpg(running.pid, signal.SIGINT)
    gate.set()
    _, said = running.communicate(timeout=LAST_RESORT_S)
    assert running.returncode == 128 + signal.SIGINT
    assert f"1 call: {COST} of 0.001 USD settled, 0 held" in said
    adds_up(house)


def test_what_is_killed_leaves_its_hold_and_no_way_to_spend(house: ExecHouse) -> None:
    """After `kill -9` the call counts in full, and the command that lives on reaches nobody."""
    running, gate = asked_and_waiting(house, "--budget", "acme")
    running.kill()
    running.wait(LAST_RESORT_S)
    assert HOLD / 2 < house.spent() < 2 * HOLD
    gate.set()
    out, _ = running.communicate(timeout=LAST_RESORT_S)
    assert "error: APIConnectionError" in out
    assert len(house.stub.requests) == 1, "it asked once, whatever it tried afterwards"
    with open_ledger(f"sqlite:///{house.folder}/books.db") as ledger:
        (hold,) = ledger.holds("acme", state="open")
        assert hold.expires > hold.opened, "at its deadline it is presumed"
    assert house.spent() >= house.stub.bill


def test_a_provider_that_is_not_there_costs_nothing(house: ExecHouse) -> None:
    """The call failed, and was neither billed nor refused; the log comes after the command."""
    text = (house.folder / "house.toml").read_text("utf-8")
    (house.folder / "house.toml").write_text(text.replace(house.stub.url, "http://127.0.0.1:9"))
    script = "import sys, subprocess; subprocess.run(sys.argv[1:]); print('ended', file=sys.stderr)"
    line = house.command(*SESSION, "--", sys.executable, "-c", script)
    done = house.run([*line, sys.executable, "ask.py", "1"])
    statement = house.statement()
    assert (statement["calls"], statement["released"], statement["refused"]) == (0, 3, 0)
    assert statement["settled"] == "0"
    ended, *said = done.stderr.splitlines()
    assert ended == "ended"
    assert "cannot be reached" in said[0]
    assert said[0].endswith("(3 times)")
    assert "3 more failed and were not billed" in done.stderr
    adds_up(house)


# A team's gateway --------------------------------------------------------------------------------


def test_a_team_s_gateway_is_used_with_its_token(house: ExecHouse) -> None:
    """The calls are on its budget; the statement has those of this command alone."""
    with gateway_house() as team:
        team.stub.answer(Answer(body=REPLY, cost=COST))
        through = {"EARMARK_GATEWAY_TOKEN": team.token}
        line = house.asking("--gateway", team.url, "--statement", "statement.json", calls=2)
        for url in (team.url, f"{team.url}/v1/"):
            line[line.index("--gateway") + 1] = url
            done = house.run(line, **through)
            assert (done.returncode, done.stdout) == (0, "Mars.\n" * 2)
            statement = house.statement()
            assert (statement["budget"], statement["calls"]) == ("acme/agent", 2)
            assert Decimal(statement["settled"]) == 2 * COST
        assert team.spent == team.stub.bill == 4 * COST
        assert Decimal(statement["left"]) == 100 - team.spent
    assert not (house.folder / "books.db").exists(), "the books are the team's"
    assert house.stub.requests == []


def test_the_statement_of_a_long_used_token_begins_with_the_command(house: ExecHouse) -> None:
    """However many pages of calls came before it."""
    with gateway_house() as team:
        token_id = team.tokens.all()[0].id
        for number in range(2001):
            key = f"before-{number}"
            team.ledger.reserve("acme/agent", "0.01", key=key, labels={"token": token_id})
            team.ledger.settle(key, "0")
        team.stub.answer(Answer(body=REPLY, cost=COST))
        line = house.asking("--gateway", team.url, "--statement", "statement.json")
        house.run(line, EARMARK_GATEWAY_TOKEN=team.token)
    assert house.statement()["calls"] == 1
    assert Decimal(house.statement()["settled"]) == COST


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:9", "it cannot be asked (ConnectError)"),
        ("ftp://127.0.0.1", "give a URL such as"),
        ("http://[::1", "give a URL such as"),
        ('http://127.0.0.1:9/"', "give a URL such as"),
        ("http://me:secret@127.0.0.1:9", "give its address alone"),
    ],
)
def test_a_gateway_that_is_none(house: ExecHouse, url: str, said: str) -> None:
    """One sentence, and no command has run; no secret is in it."""
    line = house.command("--gateway", url, "sh", "-c", "echo started")
    done = house.run(line, EARMARK_GATEWAY_TOKEN="emk_secret")  # noqa: S106 - nobody's
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "secret" not in done.stderr


def test_a_token_that_opens_nothing_starts_nothing(house: ExecHouse) -> None:
    """A team's gateway is asked first."""
    with gateway_house() as team:
        line = house.command("--gateway", team.url, "sh", "-c", "echo started")
        done = house.run(line, EARMARK_GATEWAY_TOKEN="emk_wrong")  # noqa: S106 - nobody's
    assert (done.returncode, done.stdout) == (1, "")
    assert "it does not take the token" in done.stderr
