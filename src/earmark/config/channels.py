"""From the settings to the channels that carry nudges; secrets are read from variables here."""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Final, assert_never

from earmark.clock import Clock
from earmark.config.nudge_settings import NudgeKind, NudgeSettings
from earmark.config.settings import Settings
from earmark.errors import InvalidConfig
from earmark.nudges.channels.channel import Channel

#: What Standard Webhooks puts before a secret in base64.
_IN_BASE64: Final = "whsec_"


def channels_of(settings: Settings, environ: Mapping[str, str], clock: Clock) -> dict[str, Channel]:
    """Return the configured channels by name; nothing is sent.

    Raises:
        InvalidConfig: A variable holds no secret or no URLs, a URL is none, or what the channel
            needs is not installed.
    """
    folder = None if settings.file is None else settings.file.absolute().parent
    return {
        name: _channel(name, each, environ, clock, folder) for name, each in settings.nudges.items()
    }


def _channel(
    name: str,
    settings: NudgeSettings,
    environ: Mapping[str, str],
    clock: Clock,
    folder: Path | None,
) -> Channel:
    timeout_s = settings.timeout.total_seconds()
    # Each loads a client that those without such a channel need not wait for.
    match settings.kind:
        case NudgeKind.APPRISE:
            from earmark.nudges.channels.apprise import AppriseChannel  # noqa: PLC0415

            urls = _read_variable(name, "urls_env", settings.urls_env, environ).split()
            return AppriseChannel(name, urls, timeout_s=timeout_s)
        case NudgeKind.WEBHOOK:
            from earmark.nudges.channels.webhook import WebhookChannel  # noqa: PLC0415

            secret = _secret(name, settings.secret_env, environ)
            url = settings.url or ""
            return WebhookChannel(name, url, secret, timeout_s=timeout_s, clock=clock)
        case NudgeKind.COMMAND:
            from earmark.nudges.channels.command import CommandChannel  # noqa: PLC0415

            argv = settings.argv or ()
            return CommandChannel(name, argv, timeout_s=timeout_s, directory=folder)
        case _:
            assert_never(settings.kind)


def _secret(name: str, variable: str | None, environ: Mapping[str, str]) -> bytes | None:
    if variable is None:
        return None
    text = _read_variable(name, "secret_env", variable, environ)
    if not text.startswith(_IN_BASE64):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_IN_BASE64), validate=True)
    except binascii.Error:
        detail = f"what {variable} holds begins with {_IN_BASE64} and goes on with no base64"
        raise InvalidConfig(place=f"nudges.{name}.secret_env", detail=detail) from None


def _read_variable(
    name: str, setting: str, variable: str | None, environ: Mapping[str, str]
) -> str:
    value = environ.get(variable or "", "").strip()
    if not value:
        detail = f"the variable {variable} is empty: set it, or name another"
        raise InvalidConfig(place=f"nudges.{name}.{setting}", detail=detail)
    return value
