"""One way to set up each kind of channel so that it ends at a receiver, whatever it goes through.

A new kind has its case here, and so every test of `tests/unit/nudges/test_every_channel.py`.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from support.webhook_receiver import Receiver

#: In every secret that a case has, and in no name.
HIDDEN: Final = "s3cret"

#: Settings of `earmark.toml`, without `kind`.
Values = Mapping[str, str | list[str]]


def no_variables(receiver: Receiver) -> Mapping[str, str]:
    """Return nothing: for a channel that has no secret."""
    del receiver
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelCase:
    """All settings of one kind, for a channel to a receiver."""

    settings: Callable[[Receiver], Values]
    environ: Callable[[Receiver], Mapping[str, str]] = no_variables
    """The variables that its settings name."""
    posts: bool = True
    """Whether this program, and not another one, makes the HTTP request."""


FORWARDS: Final = """
import http.client, sys
link = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
link.request("POST", "/", sys.stdin.buffer.read())
sys.exit(link.getresponse().status >= 300)
"""

CASES: Final[Mapping[str, ChannelCase]] = {
    "apprise": ChannelCase(
        settings=lambda _: {"urls_env": "CHANNEL_URLS"},
        environ=lambda receiver: {
            "CHANNEL_URLS": f"json://ann:{HIDDEN}@127.0.0.1:{receiver.port}/"
        },
    ),
    "webhook": ChannelCase(
        settings=lambda receiver: {
            "url": f"{receiver.url}?key={HIDDEN}",
            "secret_env": "CHANNEL_SECRET",
        },
        environ=lambda _: {"CHANNEL_SECRET": f"{HIDDEN} to sign with"},
    ),
    "command": ChannelCase(
        settings=lambda receiver: {"argv": [sys.executable, "-c", FORWARDS, str(receiver.port)]},
        posts=False,
    ),
}


def as_toml(kind: str, settings: Values) -> str:
    """Return the table `[nudges.x]`."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    return "\n".join(["[nudges.x]", f'kind = "{kind}"', *lines, ""])


def as_variables(kind: str, settings: Values) -> dict[str, str]:
    """Return the same settings as variables of the environment."""
    texts = {
        name: each if isinstance(each, str) else json.dumps(each) for name, each in settings.items()
    }
    return {
        f"EARMARK_NUDGES__X__{name.upper()}": text for name, text in {"kind": kind, **texts}.items()
    }
