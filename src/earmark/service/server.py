"""The service's process: its application on a socket, within the limits of its settings."""

import socket
from collections.abc import Callable
from typing import Final

from fastapi import FastAPI

from earmark.config.settings import ServiceSettings
from earmark.serving.connections import ConnectionLimits, most_connections
from earmark.serving.listening import GRACE_S, serve_on
from earmark.serving.mounted import Mounted, MountedApp

#: Seconds for the answer that a body took too long, after which the connection is closed anyway.
_ANSWER_S: Final = 2.0


def connection_limits(settings: ServiceSettings) -> ConnectionLimits:
    """Return what connections may take, as *settings* and the process's limits have it."""
    return ConnectionLimits(
        head_s=settings.head_timeout.total_seconds(),
        body_s=settings.body_timeout.total_seconds() + _ANSWER_S,
        pending_per_address=settings.pending_per_address,
        total=most_connections(),
    )


def serve(
    app: FastAPI,
    listener: socket.socket,
    started: Callable[[], None],
    *,
    mounted: Mounted | None = None,
) -> None:
    """Answer requests on *listener* until SIGTERM or SIGINT; those under way are answered first.

    Args:
        app: What answers, made by `create_app`.
        listener: Closed in the end.
        started: Called once it answers.
        mounted: What answers at its own paths, beside the service and without its limits.
    """
    service = app.state.service
    limits = connection_limits(service.settings)
    serve_on(
        listener,
        app if mounted is None else MountedApp(app, mounted, service.clock),
        limits if mounted is None else limits.widest(mounted.limits),
        started=started,
        # A stream of events has no end of its own, and would be waited for.
        ending=service.event_streams.close,
        grace_s=GRACE_S if mounted is None else max(GRACE_S, mounted.grace_s),
        date_header=mounted is None,  # else each has its own
    )
