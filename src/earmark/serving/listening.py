"""A process that serves: one socket, one event loop, and an end that loses no answer."""

import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

import uvicorn

from earmark.errors import InvalidConfig
from earmark.errors.inputs import cannot_listen
from earmark.serving.connections import ConnectionLimits, Connections

#: Seconds that requests under way may take when it is told to end.
GRACE_S: Final = 10
#: Seconds after which a client that takes nothing, or is gone without a word, is let go.
STALLED_S: Final = 60.0
#: Connections that may wait to be accepted.
_BACKLOG: Final = 2048
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


def serve_on(
    listener: socket.socket,
    app: Any,  # noqa: ANN401 - an ASGI application of any framework
    limits: ConnectionLimits,
    *,
    started: Callable[[], None],
    ending: Callable[[], None] | None = None,
    grace_s: int = GRACE_S,
    date_header: bool = True,
) -> None:
    """Answer requests on *listener* until SIGTERM or SIGINT; those under way are answered first.

    Args:
        listener: Closed in the end.
        app: An ASGI application with a lifespan.
        limits: What connections may take.
        started: Called once it answers.
        ending: Called when it is told to end, before requests under way are waited for.
        grace_s: How many seconds they may take.
        date_header: Whether answers get a date that the application does not set.
    """
    config = _config(app, limits, grace_s=grace_s, date_header=date_header)
    with _end_is_no_failure():
        _UvicornServer(config, started, ending).run([listener])


@contextmanager
def serve_in_thread(
    listener: socket.socket,
    app: Any,  # noqa: ANN401 - as above
    limits: ConnectionLimits,
    *,
    grace_s: int = GRACE_S,
) -> Generator[None]:
    """Answer requests on *listener* in a thread of its own while the block runs.

    Raises:
        InvalidConfig: It could not begin.
    """
    begun = threading.Event()
    config = _config(app, limits, grace_s=grace_s, date_header=False)
    server = _UvicornServer(config, begun.set, None)

    def run() -> None:
        try:
            server.run([listener])
        finally:
            begun.set()

    thread = threading.Thread(target=run, name="earmark-serving", daemon=True)
    thread.start()
    begun.wait()
    try:
        if not server.started:
            raise InvalidConfig(place="the server", detail="it could not begin: see the log")
        yield
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _config(
    app: Any,  # noqa: ANN401 - as above
    limits: ConnectionLimits,
    *,
    grace_s: int,
    date_header: bool,
) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Connections(limits).protocol,  # pyright: ignore[reportArgumentType] - it is only called
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=date_header,
        proxy_headers=False,
        timeout_graceful_shutdown=grace_s,
        backlog=_ACCEPTED_AT_ONCE,
    )


class _UvicornServer(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        started: Callable[[], None],
        ending: Callable[[], None] | None,
    ) -> None:
        super().__init__(config)
        self._on_start = started
        self._on_end = ending

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(_BACKLOG)  # the loop took it for the number it accepts at once, too
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._on_end is not None:
            self._on_end()
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
