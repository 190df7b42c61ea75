"""The books a command works on."""

import os
from getpass import getuser
from pathlib import Path
from shlex import quote
from typing import Final

from earmark.cli.config_approval import allow, can_ask, confirm
from earmark.cli.session import Session
from earmark.clock import SystemClock
from earmark.config.budgets import apply_budgets
from earmark.config.load import load_settings
from earmark.config.settings import Settings
from earmark.errors import ConfigNotAllowed, NotFound
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from earmark.stores.open_upkeep import open_upkeep

_LASTING: Final = ("sqlite:///", "postgresql:", "postgres:")


def settings_of(session: Session, *, ask: bool = True) -> Settings:
    """Return the settings of the file and the environment.

    Where a file was found that its user has not allowed, they are asked if *ask* and there is a
    terminal whose foreground this is; what runs in the background is never stopped by a question.

    Raises:
        InvalidConfig: A setting cannot be used.
        ConfigNotAllowed: A file was found, and it is not allowed.
    """
    try:
        return load_settings(session.config, os.environ)
    except ConfigNotAllowed as refusal:
        if not (ask and not session.json and can_ask() and confirm(refusal)):
            raise
        allow(refusal)
    # The file is read again: what was shown and allowed is what is used, or it is refused.
    return load_settings(session.config, os.environ)


def store_of(session: Session, settings: Settings) -> str:
    """Return the URL of the books."""
    return session.store or settings.store.url


def open_books(session: Session, settings: Settings) -> Ledger:
    """Open the books, made if there are none, with the configured budgets in them."""
    ledger = open_ledger(store_of(session, settings))
    try:
        apply_budgets(settings, ledger)
    except BaseException:
        ledger.close()
        raise
    return ledger


def open_existing(session: Session, *, ask: bool = True) -> Ledger:
    """Open books that are there, and leave them as they are; *ask* as of `settings_of`.

    Raises:
        NotFound: There are none: a mistyped name must not make new books.
    """
    url = store_of(session, settings_of(session, ask=ask))
    if url.startswith(_LASTING) and url not in _LASTING:
        upkeep = open_upkeep(url, SystemClock())
        if not upkeep.exists():
            raise NotFound(kind="store", name=upkeep.name, hint=_how_to_name(session, url))
    return open_ledger(url)


def _how_to_name(session: Session, url: str) -> str:
    """Return what to do where there are no books at *url*: a command that works as it is typed."""
    path = Path(url.removeprefix("sqlite:///")).absolute()
    there = ""
    if url.startswith("sqlite:"):
        if not path.parent.is_dir():
            return f"there is no folder {path.parent}: check the name"
        there = f"{path} is empty; " if path.exists() else f"there is no file {path}; "
    named = f" --store {quote(session.store)}" if session.store else ""
    return (
        f"{there}name yours by --store, EARMARK_STORE or [store] url, or make new books:"
        f" `earmark budget set acme --limit '10 usd per day'{named}`"
    )


def operator() -> str:
    """Return who works at this terminal, as the entries keep it."""
    try:
        return getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
