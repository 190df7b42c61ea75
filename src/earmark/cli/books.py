"""The books a command works on."""

import os
from getpass import getuser
from typing import Final

from earmark.cli.session import Session
from earmark.clock import SystemClock
from earmark.config.budgets import apply_budgets
from earmark.config.load import load_settings
from earmark.config.settings import Settings
from earmark.errors import NotFound
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from earmark.stores.upkeep import open_upkeep

_LASTING: Final = ("sqlite:///", "postgresql:", "postgres:")


def settings_of(session: Session) -> Settings:
    """Return the settings of the file and the environment; raises `InvalidConfig`."""
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


def open_existing(session: Session) -> Ledger:
    """Open books that are there, and leave them as they are.

    Raises:
        NotFound: There are none: a mistyped name must not make new books.
    """
    url = store_of(session, settings_of(session))
    if url.startswith(_LASTING) and url not in _LASTING:
        upkeep = open_upkeep(url, SystemClock())
        if not upkeep.exists():
            hint = "`earmark budget set` makes the first books"
            raise NotFound(kind="store", name=upkeep.name, hint=hint)
    return open_ledger(url)


def operator() -> str:
    """Return who works at this terminal, as the entries keep it."""
    try:
        return getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
