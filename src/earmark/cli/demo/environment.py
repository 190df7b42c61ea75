"""What the demo works in: books, a model that answers, the stages; and a voice."""

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from earmark.cli.session import AnswerPart, Session
from earmark.clock import SystemClock
from earmark.composition.ast import Composition
from earmark.composition.parse import parse_composition
from earmark.config.assemble import Providers, key_from, price_book, stages_of
from earmark.config.load import load_settings
from earmark.config.settings import Settings
from earmark.ids import new_run_id
from earmark.ledger.ledger import Ledger
from earmark.provider.local import MODEL, LocalModel, LocalSettings, check_installed
from earmark.stages.kinds.kind import StageKind
from earmark.stages.kinds.model import provider_of
from earmark.stores.open import open_ledger

LOCAL: Final = f"local/{MODEL}"
#: Calls the local model answers at once; each has 2,048 tokens of context, as earmark.toml says.
_SLOTS: Final = 4
_CONTEXT: Final = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoEnvironment:
    """Everything a step of the demo needs."""

    session: Session
    settings: Settings
    stages: tuple[StageKind, ...]
    ledger: Ledger
    url: str
    """Of the books, without a password: it is shown."""
    model: str
    under: str
    """The budget of this demo: a new one each time, below `demo`."""

    def say(self, *parts: AnswerPart | str) -> None:
        """Show people a step's outcome; programs get all of them at the end."""
        if self.session.json:
            return
        with redirect_stdout(sys.stdout):
            self.session.answer({}, *parts)
        sys.stdout.flush()

    def composition(self, name: str) -> Composition:
        """Return one of the demo's compositions."""
        return parse_composition(read(name))


def open_demo(session: Session, stack: ExitStack, url: str, model: str | None) -> DemoEnvironment:
    """Open the books and start the model; both are closed with *stack*."""
    environ = dict(os.environ)
    if model is None:
        check_installed()
        session.tell("starting the local model")
        local = stack.enter_context(
            LocalModel(LocalSettings(n_parallel=_SLOTS, n_ctx=_SLOTS * _CONTEXT))
        )
        environ["EARMARK_PROVIDERS__LOCAL__BASE_URL"] = local.openai_url
    settings = load_settings(Path(str(files("earmark.cli.demo") / "earmark.toml")), environ)
    settings = settings if model is None else _asking(settings, model, environ)
    ledger = stack.enter_context(open_ledger(url))
    ledger.set_budget("demo", limits=["5 usd per day"], actor="demo", reason="what demos may cost")
    return DemoEnvironment(
        session=session,
        settings=settings,
        stages=tuple(stages_of(settings)),
        ledger=ledger,
        url=ledger.store.name,
        model=model or LOCAL,
        under=f"demo/{new_run_id(SystemClock())}",
    )


def read(name: str) -> str:
    """Return the text of one of the demo's files."""
    return (files("earmark.cli.demo") / name).read_text("utf-8")


def _asking(settings: Settings, model: str, environ: Mapping[str, str]) -> Settings:
    """Return *settings* with every model stage asking *model*."""
    stages: dict[str, Any] = {
        name: each.model_copy(update={"model": model}) if each.kind == "model" else each
        for name, each in settings.stages.items()
    }
    # Priced and its provider opened now, so that a name nobody knows, or a key that is missing, is
    # told before anything is shown.
    book, clock = price_book(settings), SystemClock()
    book.resolve(model, at=clock.instant())
    provider_of(model, Providers(settings, book=book, clock=clock, key=key_from(environ)))
    return settings.model_copy(update={"stages": stages})
