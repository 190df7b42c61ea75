"""Nudges as signed CloudEvents, posted to an address (Standard Webhooks 1.0, symmetric)."""

import base64
import hmac
import logging
import ssl
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import httpx2

from earmark.clock import NANOS_PER_SECOND, Clock, SystemClock, from_datetime
from earmark.nudges.channels.channel import TIME_LIMIT_S, DeliveryFailed, event_of
from earmark.nudges.nudge import Nudge

CONTENT_TYPE: Final = "application/cloudevents+json"

_sending: ContextVar[bool] = ContextVar("_sending", default=False)


class WebhookChannel:
    """Posts each nudge as one event; follows no redirects."""

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
        self._url = url
        self._secret = secret
        self._clock = clock or SystemClock()

    def __repr__(self) -> str:
        # The address may be a secret by itself.
        return f"WebhookChannel({self.name!r})"

    async def send(self, nudge: Nudge) -> None:
        """Post the event; any answer of 200 to 299 accepts it, 410 asks for no more tries.

        Raises:
            DeliveryFailed: Another answer, or none; with the time the other side asks to wait.
        """
        body = event_of(nudge)
        headers = {"content-type": CONTENT_TYPE, **self._signed(nudge, body)}
        token = _sending.set(True)
        try:
            async with (
                httpx2.AsyncClient(
                    verify=_trusted(), follow_redirects=False, timeout=self.timeout_s
                ) as client,
                client.stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                self._judge(answer.status_code, answer.headers)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            raise DeliveryFailed("cannot connect") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise DeliveryFailed(f"no whole answer ({type(error).__name__})") from None
        finally:
            _sending.reset(token)

    def _signed(self, nudge: Nudge, body: bytes) -> dict[str, str]:
        name = webhook_id(nudge.id)
        seconds = str(self._clock.instant() // NANOS_PER_SECOND)
        headers = {"webhook-id": name, "webhook-timestamp": seconds}
        if self._secret is not None:
            headers["webhook-signature"] = sign(self._secret, name, seconds, body)
        return headers

    def _judge(self, status: int, headers: Mapping[str, str]) -> None:
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return
        wait = headers.get("retry-after")
        raise DeliveryFailed(
            f"HTTP {status}",
            retry_after_s=None if wait is None else self._seconds(wait),
            final=status == HTTPStatus.GONE,
        )

    def _seconds(self, wait: str) -> float | None:
        """Return the seconds that a `Retry-After` asks for, given as such or as a date."""
        if wait.isascii() and wait.isdigit():
            return float(wait[:9])
        try:
            moment = parsedate_to_datetime(wait)
        except ValueError:
            return None
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return max(0.0, (from_datetime(moment) - self._clock.instant()) / NANOS_PER_SECOND)


@cache
def _trusted() -> ssl.SSLContext:
    # To read all certificates takes longer than to send most nudges.
    return httpx2.create_ssl_context()


def webhook_id(nudge_id: str) -> str:
    """Return a nudge's id as the header carries it: ASCII, and no full stop, which delimits."""
    return quote(nudge_id, safe="/:_~").replace(".", "%2E")


def sign(secret: bytes, name: str, seconds: str, body: bytes) -> str:
    """Return the signature of a message in the form of Standard Webhooks."""
    content = f"{name}.{seconds}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, content, "sha256")).decode()


class _Discretion(logging.Filter):
    """Keeps the HTTP client from logging an address that may be a secret."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether *record* is not about a webhook."""
        del record
        return not _sending.get()


logging.getLogger("httpx2").addFilter(_Discretion())
