"""SQLite's and the system's errors as the store's own: one sentence, and what to do next."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import NoReturn

import apsw

from earmark.errors import StoreCorrupt, StoreError, StoreUnavailable
from earmark.stores.regular_file import NotARegularFile


@contextmanager
def translated(name: str) -> Generator[None]:
    """Raise SQLite's and the system's errors as the store's own."""
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise_translated(error, name)


def raise_translated(error: Exception, name: str) -> NoReturn:
    """Raise *error* of SQLite or the system as an error of the store called *name*."""
    match error:
        case apsw.NotADBError() | apsw.CorruptError():
            detail = f"the file is damaged or no SQLite database ({error}): restore a backup"
            raise StoreCorrupt(store=name, detail=detail) from error
        case apsw.ConstraintError() | apsw.MismatchError() | apsw.TooBigError():
            detail = f"a row cannot be kept, and nothing of it was ({error}): report this"
            raise StoreError(store=name, detail=detail) from error
        case apsw.FullError():
            detail = "the disk is full; nothing was changed: free some space and ask again"
        case apsw.ReadOnlyError() | PermissionError():
            detail = "it cannot be written; nothing was changed: check the file's permissions"
        case apsw.CantOpenError() | FileNotFoundError() | IsADirectoryError():
            detail = f"it cannot be opened: check that its folder exists ({error})"
        case NotARegularFile():
            detail = f"{error}, and nothing was opened: remove it, or name another store"
        case apsw.BusyError():
            detail = "another program keeps it locked; nothing was changed: ask again"
        case _:
            detail = f"{type(error).__name__}: {error}; ask again with the same key"
    raise StoreUnavailable(store=name, detail=detail) from error
