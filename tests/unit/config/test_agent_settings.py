"""`[heartbeat]`, `[nudges]` and `[service]`: what an always-on agent is configured with."""

from datetime import time, timedelta
from pathlib import Path

import pytest

from earmark.config.load import load_settings
from earmark.config.settings import HeartbeatSettings, ServiceSettings
from earmark.nudges.channels.apprise import AppriseSettings
from earmark.nudges.channels.command import CommandSettings
from earmark.nudges.channels.webhook import WebhookSettings


def test_the_heartbeat_has_its_owners_numbers() -> None:
    """Half a dollar and three dispatches each half hour, ten dollars a day, patches of ten."""
    beat = HeartbeatSettings()
    assert [str(limit) for limit in beat.limits] == [
        "0.5 usd per 30min",
        "3 calls per 30min",
        "10 usd per day",
    ]
    assert (beat.agent, beat.sibling, beat.budget) == ("Cloud Lu", "AG Lu", "c8/cloud-lu")
    assert (beat.interval, beat.max_dispatches) == (timedelta(minutes=30), 3)
    assert (beat.persist_every, beat.model) == (10, "anthropic/claude-sonnet-4-20250514")
    assert (beat.accept, beat.approve, beat.grade) == ("person", ("destructive",), None)


def test_the_heartbeat_nudges_and_service_read(tmp_path: Path) -> None:
    """Quiet hours, a grader, every kind of nudge and the service's address."""
    file = tmp_path / "earmark.toml"
    file.write_text(
        """
        [heartbeat]
        quiet_hours = "22:00-07:00"
        approve = ["destructive", "deploy", "P0"]
        accept = "pass"
        grade = {command = ["grade", "--strict"], timeout = "5s"}
        limits = ["1 usd per day"]
        [nudges.chat]
        kind = "apprise"
        urls_env = "CHAT_URLS"
        [nudges.hook]
        kind = "webhook"
        url = "https://hooks.example/earmark"
        secret_env = "HOOK_SECRET"
        [nudges.pager]
        kind = "command"
        argv = ["page", "me"]
        [service]
        host = "0.0.0.0"
        port = 0
        allowed_hosts = ["earmark.example"]
        """,
    )
    settings = load_settings(file, {})
    beat = settings.heartbeat
    assert beat.quiet_hours == (time(22), time(7))
    assert beat.approve == ("destructive", "deploy", "P0")
    assert beat.grade is not None
    assert (beat.grade.command, beat.grade.timeout) == (("grade", "--strict"), timedelta(seconds=5))
    chat, hook, pager = settings.nudges.values()
    assert isinstance(chat, AppriseSettings)
    assert chat.urls_env == "CHAT_URLS"
    assert isinstance(hook, WebhookSettings)
    assert hook.url == "https://hooks.example/earmark"
    assert hook.secret_env == "HOOK_SECRET"  # noqa: S105 - a variable's name
    assert isinstance(pager, CommandSettings)
    assert pager.argv == ("page", "me")
    assert (settings.service.port, settings.service.allowed_hosts) == (0, ("earmark.example",))


def test_the_service_is_for_this_machine_unless_told() -> None:
    """It listens at the machine's own address, and reading takes a token there, too."""
    assert not ServiceSettings().reads_are_open
    assert (ServiceSettings().host, ServiceSettings().loopback) == ("127.0.0.1", True)


@pytest.mark.parametrize(
    ("host", "is_open"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("db", False)],  # noqa: S104
)
def test_reads_are_open_on_the_machines_own_address_only(host: str, is_open: bool) -> None:  # noqa: FBT001
    """Whoever binds elsewhere needs tokens, whatever the setting says."""
    assert ServiceSettings(host=host, open_reads=True).reads_are_open is is_open
    assert not ServiceSettings(host=host, open_reads=False).reads_are_open
