"""Planning, running and looking back, from the command line."""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from support.last_resort import LAST_RESORT_S
from support.shell import Shell, graph, stage
from support.stub_server import Scene, StubServer

WITH = ("--stages", "stages.py")
HI = ("--input", '"hi"')


def test_a_plan_prices_every_stage(workshop: Shell) -> None:
    """A line for each stage, the total as [min, max], nothing run and no books made."""
    plan = workshop.json("plan", "graph.json", *WITH)
    assert (plan["min"], plan["max"]) == ("0", "0.09")
    assert [line["stage"] for line in plan["lines"]] == ["draft", "critic", "critic"]
    said = workshop.ok("plan", "graph.json", *WITH).out
    assert "[0, 0.09] USD" in said
    assert not (workshop.folder / "earmark.db").exists()


def test_a_run_answers_with_its_statement(workshop: Shell) -> None:
    """The output, every attempt and the totals; the same again from `trace`."""
    workshop.ok("budget", "set", "acme", "--limit", "10 usd per day")
    run = workshop.json("run", "graph.json", *WITH, *HI, "--budget", "1", "--under", "acme")
    assert run["status"] == "ok"
    assert run["output"] == {"a": "about hi!", "b": "about hi!"}
    assert (run["spent"], run["limit"], run["unaccounted"]) == ("0.09", "1", "0")
    assert run["budget"] == f"acme/run-{run['run_id']}"
    assert len(run["lines"]) == 3
    assert workshop.json("trace", run["run_id"]) == run
    (listed,) = workshop.json("trace")["runs"]
    assert (listed["run_id"], listed["status"]) == (run["run_id"], "ok")
    assert workshop.json("budget", "show", "acme")["budgets"][0]["balances"][0]["settled"] == "0.09"


def test_a_run_for_people(workshop: Shell) -> None:
    """The answer is on standard output, what happens meanwhile on standard error, line by line."""
    answer = workshop.ok("run", "graph.json", *WITH, *HI, "--budget", "1")
    assert '"a": "about hi!"' in answer.out
    assert "0.09 of 1 USD spent on 'runs/run-" in answer.out
    assert "a stage may print" in answer.err
    assert "a stage may print" not in answer.out
    assert "plan [0, 0.09] USD" in answer.err
    assert "/stages/0 draft: ok 0.05 USD in " in answer.err
    (run,) = workshop.json("trace")["runs"]
    assert workshop.ok("trace", run["run_id"]).out == answer.out


@pytest.mark.parametrize(("more", "attempts"), [((), 4), (("--max-repeats", "1"), 2)])
def test_the_settings_and_the_command_say_how_many_attempts_are_repeated(
    workshop: Shell, more: tuple[str, ...], attempts: int
) -> None:
    """The option comes before `run.max_repeats`."""
    root: dict[str, object] = stage("missing-model")
    for _ in range(4):
        root = {"op": "Retry", "stage": root, "max_attempts": 4}
    workshop.write("again.json", graph(root))
    workshop.write(
        "earmark.toml",
        '[run]\nmax_repeats = 3\n[stages.missing-model]\nkind = "process"\nargv = ["false"]\n',
    )
    given = ("--config", "earmark.toml", *HI, "--budget", "1", "--json")
    answer = workshop("run", "again.json", *given, *more)
    assert answer.code == 2
    error = answer.json["error"]
    assert (error["code"], error["most"]) == ("too_many_repeats", attempts - 1)


def test_a_run_that_does_not_fit_is_refused_with_its_statement(workshop: Shell) -> None:
    """Exit code 2; the statement has the refusal's numbers; nothing was spent."""
    answer = workshop("run", "graph.json", *WITH, *HI, "--budget", "0.01", "--json")
    assert answer.code == 2
    assert answer.json["status"] == "refused"
    assert answer.json["spent"] == "0"
    assert answer.json["error"]["code"] == "budget_exceeded"
    assert answer.json["error"]["reason"] == "too_large"
    assert answer.json["error"]["requested"] == "0.05"
    people = workshop("run", "graph.json", *WITH, *HI, "--budget", "0.01")
    assert people.code == 2
    assert people.err.startswith("earmark: budget 'runs/run-")
    assert "refused: 0 of 0.01 USD spent" in people.out


def test_a_stage_that_fails_ends_the_run_with_what_it_cost(workshop: Shell) -> None:
    """Exit code 3; what was spent until then is in the statement and in the books."""
    answer = workshop("run", "failing.json", *WITH, *HI, "--budget", "1", "--json")
    assert answer.code == 3
    assert (answer.json["status"], answer.json["spent"]) == ("failed", "0.06")
    assert answer.json["error"]["stage"] == "fails"
    assert "ValueError: no luck" in answer.err
    assert "Traceback" not in answer.err


def test_the_entries_and_holds_of_a_run(workshop: Shell) -> None:
    """`--run` finds what one run did among all others."""
    run = workshop.json("run", "graph.json", *WITH, *HI, "--budget", "1")
    workshop.ok("run", "graph.json", *WITH, *HI, "--budget", "1")
    holds = workshop.json("holds", "--run", run["run_id"], "--state", "all")["holds"]
    assert {each["labels"]["run"] for each in holds} == {run["run_id"]}
    assert len(holds) == 3
    entries = workshop.json("entries", "--run", run["run_id"])["entries"]
    assert {each["budget"] for each in entries} == {run["budget"]}
    assert len(entries) == 1 + 2 * 3


def test_a_run_whose_lease_ran_out_was_interrupted(workshop: Shell) -> None:
    """Both in the list and by itself; one that began a moment ago may go on."""
    run = workshop.json("run", "graph.json", *WITH, *HI, "--budget", "1")["run_id"]
    for end, status, says in (
        (1 << 62, "running", "it runs, or was killed less than ten minutes ago"),
        (1, "interrupted", "it was interrupted"),
    ):
        with closing(apsw.Connection("earmark.db")) as connection:
            connection.execute("UPDATE run SET status = 'running', statement = NULL")
            connection.execute(f"UPDATE run SET alive_until = {end}")  # noqa: S608 - a number
        assert [each["status"] for each in workshop.json("trace")["runs"]] == [status]
        assert workshop.json("trace", run)["status"] == status
        assert says in workshop.ok("trace", run).out


def test_input_from_a_file_and_graph_from_a_pipe(workshop: Shell) -> None:
    """`--input @FILE` and GRAPH `-` are read from where they are."""
    workshop.write("input.json", '"from a file"')
    done = subprocess.run(
        [*EARMARK, "run", "-", *WITH, "--input", "@input.json", "--budget", "1", "--json"],
        cwd=workshop.folder,
        input=(workshop.folder / "graph.json").read_bytes(),
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["output"]["a"] == "about from a file!"


@pytest.mark.parametrize(
    ("under", "says"),
    [
        ("new", "no limit stands at 'new' or above it: only the run's own 1 USD holds"),
        (
            "acme/new",
            "no budget stands at 'acme/new': the limits of the run and of those above bind",
        ),
    ],
)
def test_a_payer_nobody_set_is_told_before_the_run(workshop: Shell, under: str, says: str) -> None:
    """A run below it has its own limit and those above: it says so first, and in its statement."""
    workshop.ok("budget", "set", "acme", "--limit", "10 usd per day")
    new = ("run", "graph.json", *WITH, *HI, "--budget", "1", "--under", under)
    answer = workshop.ok(*new)
    assert f"warning: {says}" in answer.out
    told = answer.err.splitlines()
    assert told.index(f"WARNING: {says}") < min(
        at for at, line in enumerate(told) if "USD spent" in line
    )
    assert workshop.json(*new)["warnings"] == [says]


@pytest.mark.parametrize("typo", ["acem", "acme/reserach", "acme/agent-8"])
def test_a_mistyped_payer_is_refused(workshop: Shell, typo: str) -> None:
    """Nearly the path of a limited budget: the run would spend beside that limit."""
    for path in ("acme", "acme/research", "acme/agent-7"):
        workshop.ok("budget", "set", path, "--limit", "10 usd per day")
    run = ("run", "graph.json", *WITH, *HI, "--budget", "1", "--under", typo)
    answer = workshop(*run)
    assert answer.code == 1
    assert f"no budget '{typo}': did you mean 'acme" in answer.err
    assert workshop.json("trace")["runs"] == []
    workshop.ok("budget", "set", typo)
    assert workshop.ok(*run).code == 0


CONFIG = """
[prices."stub/m"]
input_mtok = "1"
output_mtok = "2"

[providers.stub]
api = "openai"
base_url = "{url}/v1"
api_key_env = "STUB_KEY"

[stages.draft]
kind = "model"
model = "stub/m"
prompt = "Write about {{topic}}."
max_tokens = 100
"""

REPLY: dict[str, Any] = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Tea."}}
    ],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}


def test_a_configured_model_is_called_and_paid(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """earmark.toml alone says the price, the server, the key's variable and the prompt."""
    shell.write("graph.json", graph(stage("draft")))
    with StubServer() as server:
        server.play(Scene(body=json.dumps(REPLY).encode()))
        shell.configure(CONFIG.format(url=server.url))
        ask = ("run", "graph.json", "--input", '{"topic": "tea"}', "--budget", "1")
        plan = shell.json("plan", "graph.json")
        assert plan["lines"][0]["kind"] == "model"
        missing = shell(*ask)
        assert missing.code == 1
        assert "the variable STUB_KEY holds no key" in missing.err
        assert server.requests == []
        monkeypatch.setenv("STUB_KEY", "secret-123")
        run = shell.json(*ask)
        assert run["output"] == "Tea."
        assert run["spent"] == "0.00002"
        (received,) = server.requests
    assert received.headers["authorization"] == "Bearer secret-123"
    assert received.body["messages"] == [{"role": "user", "content": "Write about tea."}]
    assert "secret-123" not in json.dumps(run)


EARMARK = [sys.executable, "-m", "earmark.cli.main"]
SLOW = """
import asyncio, sys
from earmark.stages.kinds.python import stage

@stage(cost="0.05")
async def slow(value):
    print("begun", file=sys.stderr, flush=True)
    await asyncio.sleep(9999)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_is_booked_and_stated(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Ctrl-C or SIGTERM: what was under way is presumed spent, and the statement is printed."""
    (tmp_path / "stages.py").write_text(SLOW)
    (tmp_path / "graph.json").write_text(graph(stage("slow")))
    with subprocess.Popen(
        [*EARMARK, "run", "graph.json", *WITH, "--budget", "1", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "EARMARK_STORE": ""},
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line == "begun\n":
                break
        process.send_signal(number)
        out, err = process.communicate(timeout=LAST_RESORT_S)
    assert process.returncode == code
    statement = json.loads(out)
    assert (statement["status"], statement["presumed"]) == ("cancelled", "0.05")
    assert "Traceback" not in err
    assert "interrupted: what was under way is booked" in err


def test_a_run_that_was_killed_is_traced_by_what_it_wrote(workshop: Shell) -> None:
    """SIGKILL in the middle of a call: the run has no statement, its hold is unresolved."""
    workshop.write("stages.py", SLOW)
    workshop.write("graph.json", graph(stage("slow")))
    with subprocess.Popen(
        [*EARMARK, "run", "graph.json", *WITH, "--budget", "1"],
        cwd=workshop.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line == "begun\n":
                break
        process.kill()
        process.communicate()
    (run,) = workshop.json("trace")["runs"]
    assert run["status"] == "running"
    said = workshop.ok("trace", run["run_id"]).out
    assert "has no statement" in said
    assert "starts anew and pays anew" in said
    (hold,) = workshop.json("holds", "--run", run["run_id"])["holds"]
    assert (hold["state"], hold["amount"]) == ("open", "0.05")
    workshop.ok("holds", "settle", hold["key"], "0.03")
    assert workshop.json("holds", "--run", run["run_id"])["holds"] == []
