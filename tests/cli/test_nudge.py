"""`earmark nudge`: list, acknowledge, and really send a test."""

import base64
import json
import sys
from collections.abc import Iterator
from getpass import getuser

import pytest

from earmark.nudges.collect import collect
from earmark.nudges.nudges import Nudges
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from support.shell import Shell
from support.webhook_receiver import SECRET, Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that accepts everything."""
    with Receiver() as started:
        yield started


@pytest.fixture
def nudged(books: Shell) -> Shell:
    """A shell with two nudges: a pause, and a threshold that waits for two channels."""
    with open_ledger("sqlite:///earmark.db") as ledger:
        nudges = Nudges(open_tables(ledger.store), ledger.clock)
        ledger.pause("acme", actor="ann", reason="lunch")
        collect(ledger, nudges)
        ledger.resume("acme")
        ledger.settle(ledger.reserve("acme", "8.5").key, "8.5")
        collect(ledger, nudges, ["chat", "hook"])
    return books


def test_nudges_are_listed_until_they_are_acknowledged(nudged: Shell) -> None:
    """The list has what nobody acknowledged; `--all` has everything."""
    found = nudged.json("nudge", "list")["nudges"]
    assert [row["kind"] for row in found] == ["paused", "resumed", "threshold"]
    assert [row["channel"] for row in found[2]["deliveries"]] == ["chat", "hook"]
    lines = nudged.ok("nudge", "list").out.splitlines()
    assert "acme is paused by ann: lunch" in lines[1]
    assert "chat at 20" in lines[3]
    first = nudged.json("nudge", "ack", "1")["nudges"][0]
    assert (first["id"], first["acked_by"]) == (found[0]["id"], getuser())
    second = nudged.json("nudge", "ack", found[2]["id"], "--actor", "AG Lu")["nudges"][0]
    assert second["acked_by"] == "AG Lu"
    assert [row["number"] for row in nudged.json("nudge", "list")["nudges"]] == [2]
    assert len(nudged.json("nudge", "list", "--all")["nudges"]) == 3
    assert "AG Lu, 20" in nudged.ok("nudge", "list", "--all").out


def test_the_latest_are_listed(nudged: Shell) -> None:
    """With a limit, the list has the latest, in the order they were raised."""
    found = nudged.json("nudge", "list", "--limit", "2")["nudges"]
    assert [row["number"] for row in found] == [2, 3]


@pytest.mark.parametrize("which", ["4", "acme/none", "0"])
def test_only_what_is_there_is_acknowledged(nudged: Shell, which: str) -> None:
    """An id or a number that no nudge has is not found."""
    answer = nudged("nudge", "ack", which)
    assert answer.code == 1
    assert f"no nudge '{which}'" in answer.err


CONFIG = """
[heartbeat]
sibling = "VS Lu"

[nudges.hook]
kind = "webhook"
url = "{url}"
secret_env = "HOOK_SECRET"

[nudges.chat]
kind = "apprise"
urls_env = "CHAT_URLS"

[nudges.file]
kind = "command"
argv = {argv}
timeout = "30s"
"""

KEEPS = "import sys; open('event.json', 'wb').write(sys.stdin.buffer.read())"


@pytest.fixture
def channels(shell: Shell, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell with a channel of each kind."""
    argv = json.dumps([sys.executable, "-c", KEEPS])
    shell.configure(CONFIG.format(url=receiver.url, argv=argv))
    monkeypatch.setenv("HOOK_SECRET", "whsec_" + base64.b64encode(SECRET).decode())
    monkeypatch.setenv("CHAT_URLS", f"json://ann:s3cret@127.0.0.1:{receiver.port}/chat")
    return shell


def test_a_test_is_really_sent(channels: Shell, receiver: Receiver) -> None:
    """Every channel carries the nudge of kind `test`, and says so; no books are needed."""
    answer = channels.json("nudge", "test")
    assert answer["channels"] == [
        {"channel": name, "ok": True, "error": None} for name in ("hook", "chat", "file")
    ]
    hook = next(post for post in receiver.posts if post.path == "/hooks/T0KEN")
    assert hook.signed
    assert hook.event["id"] == answer["nudge"]
    assert hook.event["type"] == "earmark.nudge.test"
    assert hook.event["data"]["recipient"] == "VS Lu"
    assert {post.path for post in receiver.posts} == {"/hooks/T0KEN", "/chat"}
    kept = json.loads((channels.folder / "event.json").read_bytes())
    assert kept["id"] == answer["nudge"]
    assert not (channels.folder / "earmark.db").exists()


def test_one_channel_can_be_tested(channels: Shell, receiver: Receiver) -> None:
    """With a name, only that channel is used."""
    said = channels.ok("nudge", "test", "file").out
    assert [line.split() for line in said.splitlines()] == [["channel", "outcome"], ["file", "ok"]]
    assert receiver.posts == []


def test_a_failed_test_says_which(channels: Shell, receiver: Receiver) -> None:
    """Where a channel fails, the others are told all the same, and the exit code is 3."""
    receiver.stop()
    answer = channels("nudge", "test", "--json")
    assert answer.code == 3
    errors = {each["channel"]: each["error"] for each in answer.json["channels"]}
    assert errors == {"hook": "cannot connect", "chat": "1 of 1 services failed", "file": None}
    assert "failed: cannot connect" in channels("nudge", "test", "hook").out
    receiver.start()
    assert "s3cret" not in answer.out + answer.err


BAD: dict[str, tuple[dict[str, str], str]] = {
    "no secret": ({"HOOK_SECRET": ""}, "nudges.hook.secret_env: the variable HOOK_SECRET is empty"),
    "a broken secret": ({"HOOK_SECRET": "whsec_s3cret"}, "goes on with no base64"),
    "no URLs": ({"CHAT_URLS": " "}, "nudges.chat.urls_env: the variable CHAT_URLS is empty"),
    "no URL": ({"CHAT_URLS": "s3cret"}, "number 1 of its URLs is none that Apprise knows"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_missing_secret_is_named_by_its_variable(
    channels: Shell, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A secret that is missing or broken is bad input that names the variable, never its value."""
    variables, said = BAD[what]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    answer = channels("nudge", "test")
    assert answer.code == 1
    assert said in answer.err
    assert "s3cret" not in answer.err.replace("HOOK_SECRET", "")


def test_a_channel_has_to_be_configured(channels: Shell) -> None:
    """A name that no channel has is not found; without any channel, that is said."""
    answer = channels("nudge", "test", "mail")
    assert answer.code == 1
    assert "no channel 'mail': there is hook, chat, file" in answer.err
    channels.configure("")
    assert "no channel is configured" in channels("nudge", "test").err
