"""What the routes of one service share."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from prometheus_client.core import Metric

from earmark.clock import Clock
from earmark.config.settings import ServiceSettings
from earmark.service.auth import Authenticator
from earmark.service.event_streams import EventStreams
from earmark.service.idempotency import StoredAnswers
from earmark.service.metrics import Metrics
from earmark.service.own_reader import OwnReader
from earmark.service.readiness import Readiness
from earmark.workspace.tokens import Tokens
from earmark.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service: what it works on, and the parts that all its routes use."""

    workspace: Workspace
    settings: ServiceSettings
    clock: Clock
    tokens: Tokens
    authenticator: Authenticator
    stored_answers: StoredAnswers
    event_streams: EventStreams
    readiness: Readiness
    metrics: Metrics
    own_reader: OwnReader
    """For pages whose queries take long."""
    refusals: Counter[str]
    """How often this process refused an amount, by reason."""
    approval_for: frozenset[str]
    """Which new tasks a person approves first."""

    @classmethod
    def on(
        cls,
        workspace: Workspace,
        settings: ServiceSettings,
        clock: Clock,
        *,
        agent: str | None,
        approval_for: frozenset[str],
        more_metrics: Callable[[], list[Metric]] = list,
    ) -> "Service":
        """Return the parts of a service on *workspace*; see `create_app`."""
        tokens = Tokens(workspace.tables, clock)
        refusals: Counter[str] = Counter()
        return cls(
            workspace=workspace,
            settings=settings,
            clock=clock,
            tokens=tokens,
            authenticator=Authenticator(tokens, clock, open_reads=settings.reads_are_open),
            stored_answers=StoredAnswers(workspace.tables, clock),
            event_streams=EventStreams(workspace),
            readiness=Readiness(workspace, clock, agent=agent),
            metrics=Metrics(workspace, clock, refusals, more_metrics),
            own_reader=OwnReader(workspace),
            refusals=refusals,
            approval_for=approval_for,
        )

    def close(self) -> None:
        """End the streams, let go of threads and connections; the caller keeps the workspace."""
        self.event_streams.close()
        self.readiness.close()
        self.metrics.close()
        self.own_reader.close()


def service_of(request: Request) -> Service:
    """Return the service that *request* came to."""
    found: Service = request.app.state.service
    return found


# Awaited, where a plain function would be given to a thread for each request.
async def _service(request: Request) -> Service:
    return service_of(request)


#: For routes: the service they belong to.
ServiceDep = Annotated[Service, Depends(_service)]
