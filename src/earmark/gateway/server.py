"""The gateway's process, or a thread of another one: its application on a socket."""

import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from earmark.gateway.app import Gateway
from earmark.gateway.endpoints import is_mounted_path
from earmark.serving.connections import ConnectionLimits, most_connections
from earmark.serving.listening import listen, serve_in_thread, serve_on, url_of
from earmark.serving.mounted import Mounted

#: Seconds for a request's body, of 32 MB at most.
_BODY_S: Final = 120.0
#: A fan-out of agents on one machine begins all its calls at once.
_PENDING_PER_ADDRESS: Final = 5000
#: Seconds that calls under way may take when it is told to end; they are presumed then.
GRACE_S: Final = 30


def serve(gateway: Gateway, listener: socket.socket, started: Callable[[], None]) -> None:
    """Answer requests on *listener* until SIGTERM or SIGINT; those under way are answered first.

    Args:
        gateway: What answers.
        listener: Closed in the end.
        started: Called once it answers.
    """
    serve_on(
        listener,
        gateway,
        _limits(),
        started=started,
        grace_s=GRACE_S,
        date_header=False,  # the provider's own passes
    )


def mountable(gateway: Gateway) -> Mounted:
    """Return *gateway* as it is served beside another application."""
    return Mounted(app=gateway, takes=is_mounted_path, limits=_limits(), grace_s=GRACE_S)


@contextmanager
def running(gateway: Gateway, *, host: str = "127.0.0.1", port: int = 0) -> Generator[str]:
    """Serve in a thread while the block runs; gives the URL. Port 0 takes a free one.

    Raises:
        InvalidConfig: It cannot listen there.
    """
    listener = listen(host, port)
    with serve_in_thread(listener, gateway, _limits(), grace_s=GRACE_S):
        yield url_of(listener)


def _limits() -> ConnectionLimits:
    return ConnectionLimits(
        body_s=_BODY_S, pending_per_address=_PENDING_PER_ADDRESS, total=most_connections()
    )
