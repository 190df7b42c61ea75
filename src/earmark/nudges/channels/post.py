"""Posting over HTTP: one request a try, no redirect, and the address in no log, error or repr.

The proxies are those of the environment, the certificates those of the HTTP client.
"""

import logging
import ssl
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus

from earmark.clock import NANOS_PER_SECOND, Clock, from_datetime
from earmark.nudges.channels.channel import DeliveryFailed

_sending: ContextVar[bool] = ContextVar("_sending", default=False)


class HttpPoster:
    """Posts to one address; any answer of 200 to 299 accepts."""

    def __init__(self, url: str, *, timeout_s: float, clock: Clock) -> None:
        """Post to *url*; one try takes *timeout_s* seconds at most."""
        self._url = url
        self._timeout_s = timeout_s
        self._clock = clock
        # Before the first try, whose time is limited.
        self._trusted = _trusted_certificates()

    def __repr__(self) -> str:
        # The address may be a secret by itself.
        return "HttpPoster()"

    async def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Post *body* once; headers are sent as UTF-8. The answer's body is not read.

        Raises:
            DeliveryFailed: Another answer, or none; with the time the other side asks to wait.
                410 asks for no more tries, every other failure is one to be repeated.
        """
        # Slow to load, and only those who post need it: the configuration imports this module.
        import httpx2  # noqa: PLC0415

        try:
            with _unlogged():
                async with (
                    httpx2.AsyncClient(
                        verify=self._trusted, follow_redirects=False, timeout=self._timeout_s
                    ) as client,
                    client.stream(
                        "POST", self._url, content=body, headers=_encoded(headers)
                    ) as answer,
                ):
                    self._judge(answer.status_code, answer.headers)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            raise DeliveryFailed("cannot connect") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise DeliveryFailed(f"no whole answer ({type(error).__name__})") from None

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
        """Return the seconds that a `Retry-After` asks for, written as such or as a date."""
        if wait.isascii() and wait.isdigit():
            return float(wait[:9])
        try:
            moment = parsedate_to_datetime(wait)
        except ValueError:
            return None
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return max(0.0, (from_datetime(moment) - self._clock.instant()) / NANOS_PER_SECOND)


@cache
def _trusted_certificates() -> ssl.SSLContext:
    # To read all of them takes longer than to send most nudges.
    import httpx2  # noqa: PLC0415

    return httpx2.create_ssl_context()


def _encoded(headers: Mapping[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in headers.items()}


# Logs ---------------------------------------------------------------------------------------------


@contextmanager
def _unlogged() -> Generator[None]:
    """Keep the HTTP client from logging within it: its records hold the address."""
    token = _sending.set(True)
    try:
        yield
    finally:
        _sending.reset(token)


class _Discretion(logging.Filter):
    """Drops the client's records while a nudge is posted."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether *record* is not about a nudge."""
        del record
        return not _sending.get()


logging.getLogger("httpx2").addFilter(_Discretion())
