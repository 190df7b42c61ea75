"""Every registered kind of channel: configured, refused, kept secret, delivered, repeated."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from earmark.cli.exec import secret_variables
from earmark.config.channels import channels_of
from earmark.config.load import load_settings
from earmark.config.summary import summary
from earmark.errors import ConfigNotAllowed, InvalidConfig
from earmark.nudges.channels.channel import Channel, DeliveryFailed, carry
from earmark.nudges.channels.channel_settings import ChannelSettings
from earmark.nudges.channels.registry import CHANNEL_KINDS
from earmark.nudges.courier import Courier, Delivered
from earmark.nudges.nudge import Nudge
from earmark.setting_types.table import SettingEffect, effect_of
from earmark.testing import ManualClock
from support.channel_cases import CASES, HIDDEN, Values, as_toml, as_variables
from support.nudge_books import open_outbox
from support.webhook_receiver import Receiver

every_kind = pytest.mark.parametrize("kind", CHANNEL_KINDS)
#: What a person who allows a file reads first.
GRAVE = (SettingEffect.RUNS, SettingEffect.SENDS_TO, SettingEffect.READS_VARIABLE)


@pytest.fixture
def elsewhere() -> Iterator[Receiver]:
    """A receiver that nothing is configured for."""
    with Receiver() as started:
        yield started


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test writes its configuration."""
    return tmp_path / "earmark.toml"


def read(file: Path, text: str) -> ChannelSettings:
    """Return the settings of the one channel that *text* configures."""
    file.write_text(text, encoding="utf-8")
    return load_settings(file, {}).nudges["x"]


def refusal(file: Path, text: str) -> InvalidConfig:
    """Return why *text* is refused."""
    with pytest.raises(InvalidConfig) as refused:
        read(file, text)
    return refused.value


def opened(
    file: Path, kind: str, receiver: Receiver, clock: ManualClock, **variables: str
) -> Channel:
    """Return the channel of *kind* to *receiver*, configured by *file*."""
    case = CASES[kind]
    read(file, as_toml(kind, case.settings(receiver)))
    environ = {**case.environ(receiver), **variables}
    return channels_of(load_settings(file, {}), environ, clock)["x"]


def having(kind: str, effect: SettingEffect) -> list[str]:
    """Return the settings of *kind* that have *effect*."""
    fields = CHANNEL_KINDS[kind].model_fields
    return [name for name, field in fields.items() if effect_of(field) is effect]


# Configured ---------------------------------------------------------------------------------------


@every_kind
def test_a_kind_has_a_case_with_all_its_settings(kind: str, receiver: Receiver) -> None:
    """The tests here use every setting of every kind, and each says by its type what it decides."""
    assert CASES.keys() == CHANNEL_KINDS.keys()
    fields = CHANNEL_KINDS[kind].model_fields
    assert {*CASES[kind].settings(receiver), "kind", "timeout"} == fields.keys()
    assert [name for name, field in fields.items() if effect_of(field) is None] == []


@every_kind
def test_a_file_and_the_environment_configure_it(kind: str, file: Path, receiver: Receiver) -> None:
    """Its settings are those of its kind's class, from a file and from variables alike."""
    settings = CASES[kind].settings(receiver)
    found = read(file, as_toml(kind, settings))
    assert type(found) is CHANNEL_KINDS[kind]
    assert found.kind == kind
    file.write_text("", encoding="utf-8")
    assert load_settings(file, as_variables(kind, settings)).nudges["x"] == found


@every_kind
def test_an_unknown_setting_is_refused_by_name(kind: str, file: Path, receiver: Receiver) -> None:
    """What the kind has no setting for is refused at its place."""
    error = refusal(file, as_toml(kind, {**CASES[kind].settings(receiver), "colour": HIDDEN}))
    assert error.place == f"nudges.x.colour in {file}"
    assert "unknown setting 'colour'" in error.detail
    assert HIDDEN not in str(error)


@every_kind
def test_what_it_needs_is_asked_for_by_name(kind: str, file: Path, receiver: Receiver) -> None:
    """Without a setting that has no default, the table is refused and the setting is named."""
    settings = CASES[kind].settings(receiver)
    fields = CHANNEL_KINDS[kind].model_fields
    needed = [name for name in settings if fields[name].is_required()]
    assert needed
    for name in needed:
        rest: Values = {other: value for other, value in settings.items() if other != name}
        error = refusal(file, as_toml(kind, rest))
        assert (error.place, error.detail) == (
            f"nudges.x.{name} in {file}",
            "it is needed and not given",
        )


@every_kind
def test_an_empty_variable_is_refused_by_name(
    kind: str, file: Path, receiver: Receiver, clock: ManualClock
) -> None:
    """A secret that the environment lacks is refused before anything is sent."""
    settings = CASES[kind].settings(receiver)
    for name in having(kind, SettingEffect.READS_VARIABLE):
        variable = str(settings[name])
        with pytest.raises(InvalidConfig) as refused:
            opened(file, kind, receiver, clock, **{variable: " "})
        assert refused.value.place == f"nudges.x.{name}"
        assert variable in refused.value.detail
        assert HIDDEN not in str(refused.value)


@every_kind
def test_a_found_file_needs_permission_for_it(kind: str, file: Path, receiver: Receiver) -> None:
    """A found file with such a channel sets nothing, and the question says where nudges would go.

    It says so also where the kind is left to a variable, which is not part of the file.
    """
    text = as_toml(kind, CASES[kind].settings(receiver))
    file.write_text(text, encoding="utf-8")
    environ = {"HOME": str(file.parent)}
    with pytest.raises(ConfigNotAllowed) as refused:
        load_settings(None, environ, start=file.parent)
    shown = refused.value.sets
    assert any(line.startswith(GRAVE) and "nudges.x." in line for line in shown)
    without_kind = {"nudges": {"x": dict(CASES[kind].settings(receiver))}}
    assert [line for line in shown if "nudges.x.kind" not in line] == [*summary(without_kind)]


@every_kind
def test_its_secrets_are_never_shown(
    kind: str,
    file: Path,
    receiver: Receiver,
    clock: ManualClock,
    nudge: Nudge,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No repr, summary, log or error has a variable's value or an address's options."""
    caplog.set_level(logging.DEBUG)
    settings = CASES[kind].settings(receiver)
    channel = opened(file, kind, receiver, clock)
    receiver.answers = [(503, {})]
    with pytest.raises(DeliveryFailed) as failed:
        asyncio.run(carry(channel, nudge))
    receiver.stop()
    with pytest.raises(DeliveryFailed) as unreachable:
        asyncio.run(carry(channel, nudge))
    receiver.start()
    errors = [str(each.value) + repr(each.value) for each in (failed, unreachable)]
    lines = summary({"nudges": {"x": {"kind": kind, **settings}}})
    shown = [caplog.text, *errors, *lines, repr(load_settings(file, {})), repr(channel)]
    assert HIDDEN not in "\n".join(shown)


@every_kind
def test_a_command_under_a_budget_gets_none_of_its_secrets(
    kind: str, file: Path, receiver: Receiver
) -> None:
    """`earmark exec` takes every variable that holds a secret of a channel from its command."""
    case = CASES[kind]
    read(file, as_toml(kind, case.settings(receiver)))
    assert case.environ(receiver).keys() <= secret_variables(load_settings(file, {}))


# Delivered ----------------------------------------------------------------------------------------


@every_kind
def test_a_nudge_is_delivered_once_and_repeated_until_then(
    kind: str, file: Path, receiver: Receiver, clock: ManualClock
) -> None:
    """What is refused waits and is sent again with the same id; what is accepted is not."""
    channel = opened(file, kind, receiver, clock)
    receiver.answers = [(503, {})]
    with open_outbox("memory:", clock) as outbox:
        outbox.nudges.raise_("test", id="n/0", title="A title", data={}, channels=["x"])
        courier = Courier(outbox.nudges, {"x": channel}, clock)
        assert asyncio.run(courier.deliver_due()) == Delivered(failed=1)
        assert asyncio.run(courier.deliver_due()) == Delivered()
        clock.advance(timedelta(minutes=2))
        assert asyncio.run(courier.deliver_due()) == Delivered(delivered=1)
        clock.advance(timedelta(hours=2))
        assert asyncio.run(courier.deliver_due()) == Delivered()
    assert [b"n/0" in post.body for post in receiver.posts] == [True, True]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind", [kind for kind, case in CASES.items() if case.posts])
def test_a_redirect_takes_a_nudge_nowhere(
    kind: str,
    status: int,
    file: Path,
    receiver: Receiver,
    elsewhere: Receiver,
    clock: ManualClock,
    nudge: Nudge,
) -> None:
    """A server that answers with another address is refused, and the other one hears nothing."""
    channel = opened(file, kind, receiver, clock)
    answer: tuple[int, Mapping[str, str]] = (status, {"location": elsewhere.url})
    receiver.answers = [answer]
    with pytest.raises(DeliveryFailed):
        asyncio.run(carry(channel, nudge))
    assert (len(receiver.posts), elsewhere.posts) == (1, [])
