"""`earmark model`: the small local model behind an address, for whoever has no key."""

import signal
import threading
from types import FrameType
from typing import Annotated, Any, Final

import typer

from earmark.cli.session import Session, command, group
from earmark.provider.local import MODEL, LocalModel, LocalSettings

app = group("Serve the small local model to other programs: no key, no account.")

#: What `earmark.toml` of the documentation names.
DEFAULT_PORT: Final = 8080


@command(app)
def model(
    session: Session,
    *,
    port: Annotated[
        int,
        typer.Option(
            "--port", metavar="PORT", min=0, max=65535, help="Of 127.0.0.1; 0 takes a free one."
        ),
    ] = DEFAULT_PORT,
    parallel: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="Calls answered at once.")
    ] = 4,
    window: Annotated[
        int, typer.Option(metavar="TOKENS", min=256, max=8192, help="What one call may take in.")
    ] = 2048,
) -> None:
    """Serve the local model on 127.0.0.1 until interrupted; it speaks the OpenAI API."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _setter(stop))
    settings = LocalSettings(port=port, n_parallel=parallel, n_ctx=parallel * window)
    session.tell("starting the local model")
    with LocalModel(settings) as local:
        session.answer(_form(local), f"{MODEL} answers at {local.openai_url}")
        session.flush()
        stop.wait()
    session.tell("stopped")


def _setter(stop: threading.Event) -> Any:  # noqa: ANN401 - a signal handler
    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    return handle


def _form(local: LocalModel) -> dict[str, object]:
    return {"model": MODEL, "openai_url": local.openai_url, "anthropic_url": local.anthropic_url}
