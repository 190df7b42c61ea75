"""`earmark heartbeat`: the seed's task replayed, what it would do, how it does, how it stops."""

import re
import signal
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from support.fire_place import ended, started
from support.last_resort import LAST_RESORT_S
from support.shell import Shell
from support.stub_server import Scene, StubServer, message

#: What the seed's own page says: 163 tokens in at 3 USD a million, 3,025 out at 15.
GOLDEN = "0.045864"
MODEL = "claude-sonnet-4-20250514"

SETTINGS = """
[store]
url = "sqlite:///earmark.db"
[providers.anthropic]
api = "anthropic"
base_url = "{url}"
api_key_env = "ANTHROPIC_API_KEY"
max_tokens = 8192
"""


@pytest.fixture
def stub() -> Iterator[StubServer]:
    """A server that answers as the seed's model did."""
    body = message(
        {"input_tokens": 163, "output_tokens": 3025},
        model=MODEL,
        text="<bom>\nheartbeat.py\n</bom>",
    )
    with StubServer() as server:
        yield server.play(Scene(body=body))


@pytest.fixture
def beats(shell: Shell, stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell whose provider is the stub."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-made-up")
    shell.configure(SETTINGS.format(url=stub.url))
    return shell


def add(shell: Shell, title: str = "[SELF-10] Persistent budget tracker", *more: str) -> Any:
    """Put a task on the board."""
    return shell.json("task", "add", title, "--type", "code_gen", "--priority", "P0", *more)


def test_the_seeds_task_costs_what_it_cost_everywhere(beats: Shell, stub: StubServer) -> None:
    """0.045864 USD on the task, in the ledger, in health, in the patch and on the command line."""
    task = add(beats)
    report = beats.json("heartbeat", "--once")["cycle"]
    assert [each["cost_usd"] for each in report["dispatched"]] == [GOLDEN]
    (sent,) = stub.requests
    assert (sent.path, sent.body["model"]) == ("/v1/messages", MODEL)
    shown = beats.json("task", "show", task["id"])
    result = shown["result"]
    assert result | {"latency_ms": 0} == {
        "cost": {"input_tokens": 163, "output_tokens": 3025},
        "model": MODEL,
        "status": "success",
        "transport": "anthropic_api",
        "latency_ms": 0,
        "response_text": "<bom>\nheartbeat.py\n</bom>",
    }
    assert shown["cost"]["settled"] == GOLDEN
    assert shown["claimed_by"] == f"Cloud Lu → {MODEL}"
    assert shown["quality"] is None
    for path in ("c8", "c8/cloud-lu"):
        (budget,) = beats.json("budget", "show", path)["budgets"]
        money = [each["settled"] for each in budget["balances"] if each["unit"] == "usd"]
        assert money == [GOLDEN]
    health = beats.json("heartbeat", "--status")
    assert health["budget"]["daily_spend"] == GOLDEN
    assert health["budget"]["daily_cap"] == "10"
    (patch,) = beats.json("quilt", "list", "--type", "budget")["patches"]
    assert patch["data"]["daily_spend"] == GOLDEN
    assert beats.json("audit")["ok"]


def test_a_small_cost_is_written_out(beats: Shell, stub: StubServer) -> None:
    """What costs a fraction of a cent is shown as people write it, as JSON and as text."""
    stub.play(Scene(body=message({"input_tokens": 4, "output_tokens": 5}, model=MODEL, text="e-")))
    add(beats)
    beats.ok("heartbeat", "--once")
    assert re.search(r"usd +0\.000087\n", beats.ok("task", "show", "1").out)
    assert beats.json("task", "show", "1")["cost"]["settled"] == "0.000087"


def test_no_key_is_ever_said(beats: Shell) -> None:
    """Neither the answer nor what people are told holds the provider's key."""
    add(beats)
    done = beats.ok("heartbeat", "--once", "--json")
    assert "sk-ant-made-up" not in done.out + done.err
    assert "completed [SELF-10] Persistent budget tracker" in done.err


def test_a_missing_key_holds_tasks_up_and_says_which(
    beats: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the configuration, not of the task: it waits, and the report names the variable."""
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    task = add(beats)
    ended = beats("heartbeat", "--once", "--json")
    assert ended.code == 1, "a cycle that went wrong is no success"
    report = ended.json["cycle"]
    assert report["state"] == "error"
    assert "the variable ANTHROPIC_API_KEY holds no key" in report["reason"]
    assert beats.json("task", "show", task["id"])["status"] == "pending"


def test_simulating_dispatches_nothing(beats: Shell, stub: StubServer) -> None:
    """The next tasks with their bounds; no key is needed, nothing is sent, nothing changes."""
    beats.ok("budget", "set", "c8", "--limit", "0.20 usd per day")
    add(beats, "one")
    add(beats, "two")
    told = beats.json("heartbeat", "--simulate")
    assert (told["may_dispatch"], told["state"]) == (True, "idle")
    assert [(each["title"], each["fits"]) for each in told["tasks"]] == [
        ("one", True),
        ("two", False),
    ]
    assert told["tasks"][0]["bound_usd"].startswith("0.12")
    assert "one" in beats.ok("heartbeat", "--simulate").out
    assert stub.requests == []
    assert [each["status"] for each in beats.json("task", "list")["tasks"]] == ["pending"] * 2
    beats.ok("quilt", "put", "control", "cloud_lu_autonomous", '{"enabled": false}')
    assert "nothing would be dispatched: kill switch" in beats.ok("heartbeat", "--simulate").out


def test_status_is_an_exit_code_too(beats: Shell) -> None:
    """After a cycle health can be read by people; a stopped heartbeat is no failure."""
    add(beats)
    beats.ok("heartbeat", "--once")
    told = beats.ok("heartbeat", "--status").out
    assert told.startswith("warn: the heartbeat of 'Cloud Lu' was stopped")
    assert f"budget.daily_spend: {GOLDEN}" in told


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--interval", "0s"), "a duration above 0"),
        (("--interval", "soon"), "is not a duration"),
        (("--budget", "a//b"), "is not a budget path"),
        (("--agent", "x" * 101), "is no agent: give 1 to 100 printable characters"),
    ],
)
def test_a_wrong_option_is_refused(beats: Shell, options: tuple[str, ...], says: str) -> None:
    """Bad input ends with 1 before anything is touched."""
    done = beats("heartbeat", "--once", *options)
    assert (done.code, says in done.err) == (1, True)


def test_it_runs_until_it_is_told_to_stop(beats: Shell, stub: StubServer) -> None:
    """The real program: SIGTERM ends it with 0, its patch written and its name free."""
    add(beats)
    config = str(beats.folder / "earmark.toml")
    arguments = ("-m", "earmark.cli.main", "heartbeat", "--json", "--config", config)
    with started(*arguments, folder=beats.folder, ANTHROPIC_API_KEY="x") as process:
        assert stub.arrived.wait(LAST_RESORT_S)
        second = beats("heartbeat", "--once")
        assert second.code == 2
        assert re.search(rf"'Cloud Lu' is run by \S+:{process.pid}:\w+ until", second.err)
        process.send_signal(signal.SIGTERM)
        done = ended(process)
    assert done.code == 0, done.err
    assert done.json["heartbeat"]["state"] == "stopped"
    patch = done.json["heartbeat"]["patch_name"]
    assert patch.startswith("budget_")
    assert done.json["stopped"] == {
        "agent": "Cloud Lu",
        "why": "SIGTERM",
        "cycles": 1,
        "patch": patch,
    }
    said = f"earmark: 'Cloud Lu' stopped (SIGTERM) after 1 cycle; patch '{patch}' is written"
    assert done.err.splitlines()[-1] == said
    assert "stopped (--once) after 1 cycle; patch 'budget_" in beats.ok("heartbeat", "--once").err


def test_a_change_of_its_file_is_seen_by_the_next_cycle(beats: Shell, stub: StubServer) -> None:
    """A model written while it runs is its model; the command line stays above the file."""
    arguments = ("-m", "earmark.cli.main", "heartbeat", "--interval", "100ms", "--agent", "Lu")
    add(beats, "b", "--assignee", "nobody")
    with started(*arguments, folder=beats.folder, ANTHROPIC_API_KEY="x") as process:
        until_model(beats, f"anthropic/{MODEL}")
        settings = SETTINGS.format(url=stub.url)
        more = '[heartbeat]\nagent = "No"\nmodel = "anthropic/other"\ninterval = "1h"\n'
        beats.configure(f"{settings}{more}")
        assert until_model(beats, "anthropic/other")["interval_s"] == 0.1
        process.send_signal(signal.SIGINT)
        done = ended(process)
    assert done.code == 0, done.err
    assert "'Lu' stopped (SIGINT) after" in done.err.splitlines()[-1]


def until_model(beats: Shell, model: str) -> Any:
    """Return what status says of the heartbeat once that is its model; half a minute at most."""
    due = monotonic() + LAST_RESORT_S
    while monotonic() < due:
        told = beats.json("heartbeat", "--status")["heartbeat"]
        if told.get("model") == model:
            return told
    raise AssertionError(f"its model is not {model} in time: {told}")


def test_one_cycle_is_stopped_by_a_signal_too(beats: Shell, stub: StubServer) -> None:
    """SIGTERM to `--once`: what is under way has its grace and is booked, as without it."""
    settings = SETTINGS.format(url=stub.url)
    beats.configure(f'{settings}[heartbeat]\ngrace = "0s"\n')
    task, never = add(beats), threading.Event()
    stub.play(Scene(waits=never))
    arguments = ("-m", "earmark.cli.main", "heartbeat", "--once", "--json")
    with started(*arguments, folder=beats.folder, ANTHROPIC_API_KEY="x") as process:
        assert stub.arrived.wait(LAST_RESORT_S)
        process.send_signal(signal.SIGTERM)
        done = ended(process)
    never.set()
    assert (done.code, done.json["stopped"]["why"]) == (0, "SIGTERM"), done.err
    assert [each["outcome"] for each in done.json["cycle"]["dispatched"]] == ["parked"]
    assert beats.json("task", "show", task["id"])["status"] == "pending"
    assert [each["state"] for each in beats.json("holds")["holds"]] == ["presumed"]
