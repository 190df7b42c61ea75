"""The process that serves: one socket, one event loop, and an end that loses no answer."""

import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import uvicorn
from fastapi import FastAPI

from earmark.config.settings import ServiceSettings
from earmark.errors.inputs import cannot_listen
from earmark.service.connections import ConnectionLimits, Connections, most_connections

#: Seconds that requests under way may take when it is told to end.
GRACE_S: Final = 10
#: Seconds after which a client that takes nothing, or is gone without a word, is let go.
STALLED_S: Final = 60.0
#: Connections that may wait to be accepted.
_BACKLOG: Final = 2048
#: Seconds for the answer that a body took too long, after which the connection is closed anyway.
_ANSWER_S: Final = 2.0
#: How many are accepted before those are seen to that were: none of the process's descriptors must
#: be left to the store in between.
_ACCEPTED_AT_ONCE: Final = 64


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at *host* and *port*; 0 takes a free port.

    Raises:
        InvalidConfig: It cannot; says why.
    """
    try:
        (family, *_, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return _impatient(socket.create_server(address[:2], family=family, backlog=_BACKLOG))
    except OSError as error:
        raise cannot_listen(host, port, error) from None


def _impatient(listener: socket.socket) -> socket.socket:
    """Return *listener*, whose connections do not outlive their clients."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; elsewhere such a client is kept for longer
        stalled_ms = round(STALLED_S * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, stalled_ms)
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the URL at which *listener* is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def connection_limits(settings: ServiceSettings) -> ConnectionLimits:
    """Return what connections may take, as *settings* and the process's limits have it."""
    return ConnectionLimits(
        head_s=settings.head_timeout.total_seconds(),
        body_s=settings.body_timeout.total_seconds() + _ANSWER_S,
        pending_per_address=settings.pending_per_address,
        total=most_connections(),
    )


def serve(app: FastAPI, listener: socket.socket, started: Callable[[], None]) -> None:
    """Answer requests on *listener* until SIGTERM or SIGINT; those under way are answered first.

    Args:
        app: What answers, made by `create_app`.
        listener: Closed in the end.
        started: Called once it answers.
    """
    connections = Connections(connection_limits(app.state.service.settings))
    config = uvicorn.Config(
        app,
        http=connections.protocol,  # pyright: ignore[reportArgumentType] - it is only called
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
        backlog=_ACCEPTED_AT_ONCE,
    )
    with _end_is_no_failure():
        _UvicornServer(config, app, started).run([listener])


class _UvicornServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, app: FastAPI, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._app = app
        self._on_start = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(_BACKLOG)  # the loop took it for the number it accepts at once, too
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # A stream of events has no end of its own, and would be waited for.
        self._app.state.service.event_streams.close()
        await super().shutdown(sockets)


@contextmanager
def _end_is_no_failure() -> Generator[None]:
    """Take no notice of the signals that the server raises again when it has ended by them."""
    before = {each: signal.signal(each, _ignored) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _ignored(_number: int, _frame: FrameType | None) -> None:
    """Go on: the server has ended, and the command comes to its own end."""
