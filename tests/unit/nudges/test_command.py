"""Nudges handed to real programs."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from earmark.nudges.channels.channel import DeliveryFailed, carry
from earmark.nudges.channels.command import CommandChannel
from earmark.nudges.nudge import Nudge
from support.last_resort import until

KEEPS = "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())"


def program(text: str, *arguments: object) -> list[str]:
    """Return the argument list that runs *text*."""
    return [sys.executable, "-c", text, *map(str, arguments)]


def failure(channel: CommandChannel, nudge: Nudge) -> str:
    """Send *nudge* and return why it did not get through."""
    with pytest.raises(DeliveryFailed) as failed:
        asyncio.run(carry(channel, nudge))
    return failed.value.detail


def test_a_program_reads_the_event(tmp_path: Path, nudge: Nudge) -> None:
    """The program finds the CloudEvent on its input."""
    file = tmp_path / "event.json"
    asyncio.run(carry(CommandChannel("sh", program(KEEPS, file)), nudge))
    event = json.loads(file.read_bytes())
    assert (event["id"], event["type"]) == (nudge.id, "earmark.nudge.threshold")
    assert event["data"]["daily_spend"] == "8.04"


def test_no_shell_reads_the_arguments(tmp_path: Path, nudge: Nudge) -> None:
    """An argument is passed on as it is, whatever a shell would make of it."""
    name = "$(touch hacked); `id` > x"
    channel = CommandChannel("sh", program(KEEPS, name), directory=tmp_path)
    asyncio.run(carry(channel, nudge))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_exit_code_is_a_failure(nudge: Nudge) -> None:
    """A program that ends otherwise than well has not delivered; what it printed is kept secret."""
    noisy = program("import sys; print('hush'); sys.exit('sk-secret')")
    assert failure(CommandChannel("sh", noisy), nudge) == "exit code 1"
    killed = program("import os; os.kill(os.getpid(), 9)")
    assert failure(CommandChannel("sh", killed), nudge) == "killed by signal 9"


def test_a_program_that_is_not_there(nudge: Nudge) -> None:
    """What cannot be started says so in a word."""
    found = failure(CommandChannel("sh", ["/no/such/program"]), nudge)
    assert found == "cannot start it (FileNotFoundError)"


def test_a_program_need_not_read(nudge: Nudge) -> None:
    """A program that ends well without a look at its input has delivered."""
    asyncio.run(carry(CommandChannel("sh", program("")), nudge))


def test_a_program_that_hangs_is_killed_with_its_children(tmp_path: Path, nudge: Nudge) -> None:
    """At its time limit the program and whatever it started are gone."""
    pid = tmp_path / "pid"
    # A shell is there at once: it has started its child long before its time is up.
    hangs = ["/bin/sh", "-c", f"sleep 9999 & echo $! > '{pid}'; sleep 9999"]
    channel = CommandChannel("sh", hangs, timeout_s=2.0)
    assert failure(channel, nudge) == "no answer within 2 s"
    until(lambda: has_ended(int(pid.read_text())))


def has_ended(number: int) -> bool:
    """Return whether the process *number* is no more."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"
