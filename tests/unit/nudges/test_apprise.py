"""Nudges through Apprise, by its own plugin for JSON over HTTP to a real server."""

import asyncio
import logging
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

import earmark
from earmark.errors import InvalidConfig
from earmark.nudges.channels.apprise import AppriseChannel
from earmark.nudges.channels.channel import DeliveryFailed, carry
from earmark.nudges.nudge import Nudge
from support.webhook_receiver import Receiver


@pytest.fixture
def second() -> Iterator[Receiver]:
    """Another receiver."""
    with Receiver() as started:
        yield started


def address(receiver: Receiver) -> str:
    """Return the receiver's address as Apprise writes it, with a password in it."""
    return f"json://ann:s3cret@127.0.0.1:{receiver.port}/T0KEN"


def send(channel: AppriseChannel, nudge: Nudge) -> None:
    """Send *nudge* within the channel's time limit."""
    asyncio.run(carry(channel, nudge))


def test_a_nudge_is_a_notification(receiver: Receiver, nudge: Nudge) -> None:
    """A service gets the title, the facts in lines, and how urgent it is."""
    send(AppriseChannel("chat", [address(receiver)]), nudge)
    (post,) = receiver.posts
    said = post.event
    assert said["title"] == nudge.title
    assert said["type"] == "warning"
    lines = said["message"].splitlines()
    assert lines[0] == "For AG Lu: threshold"
    assert "daily_spend: 8.04" in lines
    assert lines[-1] == f"id: {nudge.id}"


def test_a_refusal_is_a_failure(receiver: Receiver, nudge: Nudge) -> None:
    """A service that refuses leaves the nudge to be tried again."""
    receiver.answers = [(503, {})]
    channel = AppriseChannel("chat", [address(receiver)])
    with pytest.raises(DeliveryFailed, match="1 of 1 services failed"):
        send(channel, nudge)
    send(channel, nudge)
    assert len(receiver.posts) == 2


def test_a_repeat_goes_to_those_that_failed(
    receiver: Receiver, second: Receiver, nudge: Nudge
) -> None:
    """One service that is down does not make the others hear everything again and again."""
    second.answers = [(503, {}), (503, {})]
    channel = AppriseChannel("chat", [address(receiver), address(second)])
    for _ in range(2):
        with pytest.raises(DeliveryFailed, match="1 of 2 services failed"):
            send(channel, nudge)
    send(channel, nudge)
    assert (len(receiver.posts), len(second.posts)) == (1, 3)


def test_an_address_is_in_no_log_and_no_error(
    receiver: Receiver, nudge: Nudge, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither Apprise's own logs nor errors show the addresses, which hold passwords."""
    caplog.set_level(logging.DEBUG)
    receiver.answers = [(503, {})]
    channel = AppriseChannel("chat", [address(receiver)])
    with pytest.raises(DeliveryFailed) as failed:
        send(channel, nudge)
    with pytest.raises(InvalidConfig) as refused:
        AppriseChannel("chat", [address(receiver), "nosuch://ann:s3cret@T0KEN"])
    assert str(refused.value) == (
        "configuration refused at nudges.chat.urls_env: number 2 of its URLs is none that Apprise"
        " knows"
    )
    said = caplog.text + str(failed.value) + str(refused.value) + repr(channel)
    assert "s3cret" not in said
    assert "T0KEN" not in said


def test_an_address_that_follows_redirects_is_refused(receiver: Receiver) -> None:
    """No server decides who else gets a nudge, not even where its address asks for it."""
    with pytest.raises(InvalidConfig) as refused:
        AppriseChannel("chat", [f"{address(receiver)}?redirect=yes"])
    assert str(refused.value) == (
        "configuration refused at nudges.chat.urls_env: number 1 of its URLs follows redirects:"
        " leave 'redirect' out of it"
    )


TRIES = """
from earmark.errors import InvalidConfig
from earmark.nudges.channels.apprise import AppriseChannel
try:
    AppriseChannel("chat", ["json://127.0.0.1/s3cret"])
except InvalidConfig as error:
    print(error)
"""


def test_without_apprise_the_extra_is_named(tmp_path: Path) -> None:
    """Where Apprise is not installed, the sentence says which extra brings it."""
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if not package.name.startswith("apprise"):
            (tmp_path / package.name).symlink_to(package)
    source = Path(earmark.__file__).parents[1]
    found = subprocess.run(
        [sys.executable, "-S", "-c", TRIES],
        env={"PYTHONPATH": f"{source}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == (
        "configuration refused at nudges.chat: nudges by Apprise need the extra 'service':"
        " pip install 'earmark[service]'\n"
    )
