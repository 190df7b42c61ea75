"""Nudges as signed CloudEvents, posted to an address (Standard Webhooks 1.0, symmetric)."""

import base64
import binascii
import hmac
from typing import Final
from urllib.parse import quote

from pydantic import Field

from earmark.clock import NANOS_PER_SECOND, Clock, SystemClock
from earmark.nudges.channels.channel import TIME_LIMIT_S, event_of
from earmark.nudges.channels.channel_settings import ChannelContext, ChannelSettings
from earmark.nudges.channels.post import HttpPoster
from earmark.nudges.nudge import Nudge
from earmark.setting_types.table import Url, Variable

CONTENT_TYPE: Final = "application/cloudevents+json"
#: What Standard Webhooks puts before a secret in base64.
_IN_BASE64: Final = "whsec_"


class WebhookSettings(ChannelSettings):
    """`kind = "webhook"`: an address that events are posted to."""

    url: Url = Field(repr=False)
    secret_env: Variable | None = None
    """The variable that holds the secret that signs them; None: they are not signed."""

    def open(self, context: ChannelContext) -> "WebhookChannel":
        """Return the channel; raises `InvalidConfig` where there is no secret to sign with."""
        secret = None if self.secret_env is None else _secret(context, self.secret_env)
        return WebhookChannel(
            context.name, self.url, secret, timeout_s=self.timeout_s, clock=context.clock
        )


class WebhookChannel:
    """Posts each nudge as one event."""

    def __init__(
        self,
        name: str,
        url: str,
        secret: bytes | None = None,
        *,
        timeout_s: float = TIME_LIMIT_S,
        clock: Clock | None = None,
    ) -> None:
        """Post to *url*, signed with *secret* if there is one."""
        self.name = name
        self.timeout_s = timeout_s
        self._secret = secret
        self._clock = clock or SystemClock()
        self._poster = HttpPoster(url, timeout_s=timeout_s, clock=self._clock)

    def __repr__(self) -> str:
        return f"WebhookChannel({self.name!r})"

    async def send(self, nudge: Nudge) -> None:
        """Post the event.

        Raises:
            DeliveryFailed: See `HttpPoster.post`.
        """
        body = event_of(nudge)
        await self._poster.post(body, {"content-type": CONTENT_TYPE, **self._signed(nudge, body)})

    def _signed(self, nudge: Nudge, body: bytes) -> dict[str, str]:
        name = webhook_id(nudge.id)
        seconds = str(self._clock.instant() // NANOS_PER_SECOND)
        headers = {"webhook-id": name, "webhook-timestamp": seconds}
        if self._secret is not None:
            headers["webhook-signature"] = sign(self._secret, name, seconds, body)
        return headers


def _secret(context: ChannelContext, variable: str) -> bytes:
    text = context.read_variable("secret_env", variable)
    if not text.startswith(_IN_BASE64):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_IN_BASE64), validate=True)
    except binascii.Error:
        detail = f"what {variable} holds begins with {_IN_BASE64} and goes on with no base64"
        raise context.refusal("secret_env", detail) from None


def webhook_id(nudge_id: str) -> str:
    """Return a nudge's id as the header carries it: ASCII, and no full stop, which delimits."""
    return quote(nudge_id, safe="/:_~").replace(".", "%2E")


def sign(secret: bytes, name: str, seconds: str, body: bytes) -> str:
    """Return the signature of a message in the form of Standard Webhooks."""
    content = f"{name}.{seconds}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, content, "sha256")).decode()
