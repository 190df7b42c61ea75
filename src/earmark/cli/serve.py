"""`earmark serve`: health, metrics, the API and the pages over HTTP."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from earmark.cli.first_token import make_first_token
from earmark.cli.gateway import check_installed as check_gateway_installed
from earmark.cli.session import Session, command, group
from earmark.cli.store_access import open_books, settings_of
from earmark.config.assemble import key_from
from earmark.config.settings import ServiceSettings, Settings
from earmark.errors import InvalidConfig

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from earmark.serving.mounted import Mounted
    from earmark.workspace.tokens import Tokens
    from earmark.workspace.workspace import Workspace

app = group("Serve health, metrics, the API and the pages over HTTP.")

#: Addresses that are no name of this machine.
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, and not bound to
_NEEDS = ("fastapi", "uvicorn", "httptools", "jinja2", "prometheus_client", "markdown_it")


@command(app)
def serve(
    session: Session,
    *,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where it listens: 127.0.0.1 unless told.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="8321 unless told; 0 takes a free one.")
    ] = None,
    open_reads: Annotated[
        bool | None,
        typer.Option(
            "--open-reads/--no-open-reads",
            help="Whether anybody on this machine may read without a token; not unless told.",
        ),
    ] = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; requests under way are answered first.

    Reading and writing need a token. The first one is made at the first start, and shown if this is
    a terminal; `earmark token` makes others.
    """
    _check_installed()
    settings = settings_of(session, ask=False)
    if settings.gateway.serve:
        check_gateway_installed("[gateway] serve")
    options = {"host": host, "port": port, "open_reads": open_reads}
    overrides = {name: value for name, value in options.items() if value is not None}
    service = settings.service.model_copy(update=overrides)
    with open_books(session, settings) as ledger:
        # What a server needs takes a second to load: not before the settings are known to be good.
        from earmark.workspace.workspace import open_workspace  # noqa: PLC0415

        sibling, channels = settings.heartbeat.sibling, tuple(settings.nudges)
        with open_workspace(ledger, sibling=sibling, channels=channels) as workspace:
            _serve(session, settings, service, workspace)


def _serve(
    session: Session, settings: Settings, service: ServiceSettings, workspace: "Workspace"
) -> None:
    from earmark.service.app import create_app  # noqa: PLC0415
    from earmark.service.server import serve  # noqa: PLC0415
    from earmark.serving.listening import listen, url_of  # noqa: PLC0415
    from earmark.workspace.tokens import Tokens  # noqa: PLC0415

    clock = workspace.ledger.clock
    tokens = Tokens(workspace.tables, clock)
    _check_reach(service, tokens)
    gateway = _gateway(settings, service, workspace) if settings.gateway.serve else None
    made = create_app(
        workspace,
        settings=service,
        clock=clock,
        agent=settings.heartbeat.agent,
        approval_for=frozenset(settings.heartbeat.approve),
        more_metrics=list if gateway is None else gateway.families,
    )
    listener = listen(service.host, service.port)
    url = url_of(listener)

    def started() -> None:
        if session.json:
            session.answer({"url": url})
            session.flush()
        session.tell(f"serving {workspace.ledger.store.name} at {url}")
        if gateway is not None:
            session.tell("it serves models, too, to who has a token of the gateway")
        for caution in cautions(service):
            session.tell(caution)

    with closing(listener):  # also where no token can be made
        make_first_token(session, tokens, workspace.ledger.store.url)
        serve(made, listener, started, mounted=None if gateway is None else gateway.mounted)


class _Beside(NamedTuple):
    """The gateway beside the service."""

    mounted: "Mounted"
    families: "Callable[[], list[Metric]]"


def _gateway(settings: Settings, service: ServiceSettings, workspace: "Workspace") -> _Beside:
    """Return a gateway on the service's books, at its address."""
    from earmark.gateway.app import Gateway  # noqa: PLC0415
    from earmark.gateway.metric_families import families  # noqa: PLC0415
    from earmark.gateway.server import mountable  # noqa: PLC0415
    from earmark.workspace.tokens import Tokens  # noqa: PLC0415

    own = settings.gateway.model_copy(update={"host": service.host})
    tokens = Tokens(workspace.tables, workspace.ledger.clock)
    made = Gateway(
        workspace.ledger,
        tokens.check,
        settings.model_copy(update={"gateway": own}),
        key=key_from(os.environ),
        tables=workspace.tables,
    )
    return _Beside(mountable(made), lambda: families(made.metrics))


def cautions(service: ServiceSettings) -> Iterator[str]:
    """Yield what whoever serves others, or reads without a token, should know."""
    if service.reads_are_open:
        yield "anybody on this machine may read, and so may whoever a proxy on it lets through"
    if service.loopback:
        return
    yield "others reach it, and it speaks no TLS: a token sent to it can be read on its way"
    if service.host in _EVERYWHERE and not service.allowed_hosts:
        yield "it answers to no name but localhost: [service] allowed_hosts names others"


def _check_reach(service: ServiceSettings, tokens: "Tokens") -> None:
    if service.loopback or not tokens.of_service() or tokens.any_valid():
        return
    detail = (
        f"others reach {service.host}, and every token has expired or was revoked:"
        " make one first, `earmark token create NAME --scope admin`"
    )
    raise InvalidConfig(place="[service] host", detail=detail)


def _check_installed() -> None:
    if any(find_spec(name) is None for name in _NEEDS):
        detail = "serving needs the extra 'service': pip install 'earmark[service]'"
        raise InvalidConfig(place="earmark serve", detail=detail)
