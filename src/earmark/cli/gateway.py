"""`earmark gateway`: models for any client, each call held on its token's budget."""

import os
from contextlib import closing
from importlib.util import find_spec
from typing import Annotated, Final

import typer

from earmark.cli.session import Session, command, group
from earmark.cli.store_access import open_books, settings_of
from earmark.config.assemble import key_from
from earmark.config.settings import Settings
from earmark.config.values import is_loopback
from earmark.errors import InvalidConfig
from earmark.ledger.ledger import Ledger
from earmark.stores.open_tables import open_tables
from earmark.workspace.tokens import Tokens

app = group("Serve models to any client, each call held on its token's budget.")

_NEEDS: Final = ("uvicorn", "httptools", "aiohttp", "prometheus_client")


@command(app)
def gateway(
    session: Session,
    *,
    host: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Where it listens; 127.0.0.1 unless given."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="8322 unless given; 0 takes a free one.")
    ] = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; calls under way are answered first.

    Clients send a token as their API key: `earmark token create NAME --budget PATH` makes one.
    """
    check_installed("earmark gateway")
    settings = settings_of(session, ask=False)
    options = {"host": host, "port": port}
    overrides = {name: value for name, value in options.items() if value is not None}
    own = settings.gateway.model_copy(update=overrides)
    settings = settings.model_copy(update={"gateway": own})
    with open_books(session, settings) as ledger:
        _serve(session, settings, ledger)


def _serve(session: Session, settings: Settings, ledger: Ledger) -> None:
    # What a server needs takes a while to load: not before the settings are known to be good.
    from earmark.gateway.app import Gateway  # noqa: PLC0415
    from earmark.gateway.server import serve  # noqa: PLC0415
    from earmark.serving.listening import listen, url_of  # noqa: PLC0415

    with closing(open_tables(ledger.store)) as tables:
        tokens = Tokens(tables, ledger.clock)
        made = Gateway(ledger, tokens.check, settings, key=key_from(os.environ), tables=tables)
        listener = listen(settings.gateway.host, settings.gateway.port)
        url = url_of(listener)

        def started() -> None:
            if session.json:
                session.answer({"url": url})
                session.flush()
            session.tell(f"a gateway over {ledger.store.name} at {url}")
            if not is_loopback(settings.gateway.host):
                session.tell("others reach it, and it speaks no TLS: put it behind what does")

        with closing(listener):
            serve(made, listener, started)


def check_installed(command_name: str) -> None:
    """Refuse where the extra is not installed that the command *command_name* needs.

    Raises:
        InvalidConfig: Names it.
    """
    if any(find_spec(name) is None for name in _NEEDS):
        detail = "a gateway needs the extra 'gateway': pip install 'earmark[gateway]'"
        raise InvalidConfig(place=command_name, detail=detail)
