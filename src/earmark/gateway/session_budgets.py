"""Which budgets each token's clients made below its own: no more than so many of one token."""

from typing import Final

from earmark.clock import Clock
from earmark.stores.tables import Rows, Tables

_LOCK: Final = "session_budget"
_GET: Final = "SELECT number FROM {schema}.session_budget WHERE token_id = ? AND path = ?"
_COUNT: Final = "SELECT count(*) FROM {schema}.session_budget WHERE token_id = ?"
_ADD: Final = (
    "INSERT INTO {schema}.session_budget (token_id, path, number, created_at) VALUES (?, ?, ?, ?)"
)
_LAST: Final = (
    "SELECT path FROM {schema}.session_budget WHERE token_id = ? ORDER BY number DESC LIMIT ?"
)


class SessionBudgets:
    """The table of them; any thread may call. What is in it stays."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock

    def add(self, token_id: str, path: str, most: int) -> bool:
        """Note that *path* is a budget of the token's clients; durable, in one transaction.

        Returns:
            Whether it is: `False` where the token has *most* others already, by any process.
        """
        return self._tables.write(_LOCK, lambda rows: self._add(rows, token_id, path, most))

    def _add(self, rows: Rows, token_id: str, path: str, most: int) -> bool:
        if rows.run(_GET, token_id, path):
            return True
        count: int = rows.run(_COUNT, token_id)[0][0]
        if count >= most:
            return False
        rows.run(_ADD, token_id, path, count + 1, self._clock.instant())
        return True

    def has(self, token_id: str, path: str) -> bool:
        """Return whether *path* is one of the token's."""
        return bool(self._tables.read(lambda rows: rows.run(_GET, token_id, path)))

    def count(self, token_id: str) -> int:
        """Return how many the token has."""
        return self._tables.read(lambda rows: rows.run(_COUNT, token_id))[0][0]

    def last(self, token_id: str, most: int) -> list[str]:
        """Return the paths of the token's last ones, the newest first."""
        found = self._tables.read(lambda rows: rows.run(_LAST, token_id, most))
        return [path for (path,) in found]
