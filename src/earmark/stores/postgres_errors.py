"""PostgreSQL's and the driver's errors as the store's own: one sentence, and what to do next."""

from typing import Final, NoReturn

import psycopg

from earmark.errors import EarmarkError, InvalidKey, StoreCorrupt, StoreError, StoreUnavailable
from earmark.stores.postgres_url import PostgresUrl

#: Deadlock, serialisation failure, a key used at the same moment, no lock in time, statement or
#: transaction took too long.
REPEATABLE: Final = frozenset({"40P01", "40001", "23505", "55P03", "57014", "25P03", "25P04"})
#: The server or the network went away, and whether the last statement was done is not known; or
#: the session has lost what was prepared in it.
LOST: Final = ("08", "57P", "26000")
#: What is wrong with a value or a row, such as a number out of range or a violated constraint.
_OF_VALUES: Final = ("22", "23")
#: Without a code of the server, these are the driver's refusal of a value or a statement.
REFUSED_HERE: Final = (psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError)


def raise_from(error: Exception, url: PostgresUrl) -> NoReturn:
    """Raise what *error* of the driver means to users, without the password."""
    if isinstance(error, EarmarkError):
        raise error
    # No `from error`: a traceback would print the driver's own words, and they are not ours.
    raise _as_earmark(error, url) from None


def unstorable(text: str) -> InvalidKey:
    """Return the refusal of a text with the character *text*, which PostgreSQL cannot keep."""
    return InvalidKey(text=text, want="text without NUL and without half characters", kind="text")


def _as_earmark(error: Exception, url: PostgresUrl) -> EarmarkError:
    if isinstance(error, psycopg.DataError) and not error.sqlstate:
        # The one value that the driver itself refuses is a text with a NUL.
        return unstorable("\0")
    state = state_of(error) or refusal_code(str(error))
    message = url.hide(" ".join(_message(error).split()))
    for start, detail in MEANINGS.items():
        if state.startswith(start):
            return StoreUnavailable(store=url.name, detail=f"{detail} ({message})")
    if state.startswith(_OF_VALUES) and state not in REPEATABLE:
        # One operation's: the others of its batch are not at fault.
        detail = f"the server refused a value; nothing was changed ({message})"
        return StoreError(store=url.name, detail=detail)
    if state[:2] in {"XX", "42"}:
        return StoreCorrupt(store=url.name, detail=f"the server cannot use its tables ({message})")
    return StoreUnavailable(store=url.name, detail=f"{message}; ask again with the same key")


MEANINGS: Final = {
    "28": "the server does not let this user in: check name and password",
    "3D": "there is no such database: make it, or correct the URL",
    "42501": "this user lacks a right: nothing was changed",
    "53100": "the server's disk is full; nothing was changed: free some space and ask again",
    "53": "the server has no room for this now: ask again",
    "25006": "this server only reads: give the address of the one that writes",
    "55P03": "a lock was not free in time; nothing was changed: ask again",
    "57014": "the server took too long; nothing was changed: ask again",
}


def refusal_code(message: str) -> str:
    """Return the code of a refused connection, which libpq gives as a sentence only."""
    return next((state for state, words in _REFUSALS.items() if words in message), "")


_REFUSALS: Final = {
    "28P01": "authentication failed",
    "28000": "pg_hba.conf",
    "3D000": "does not exist",
    "53300": "too many clients",
}


def _message(error: Exception) -> str:
    """Return the server's sentence without the rows and statements it adds, or the driver's."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return primary or str(error)


def state_of(error: Exception) -> str:
    """Return the server's code of *error*; empty where the driver raised it by itself."""
    return (error.sqlstate or "") if isinstance(error, psycopg.Error) else ""
