"""The quilt: the agents' shared memory, typed and named JSON records with all their versions."""

# ruff: noqa: S608 - statements are put together from constants of this file

import json
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from earmark.clock import Clock, Instant
from earmark.composition.document import check_value
from earmark.errors import InvalidComposition, InvalidPatch, NotFound, VersionConflict
from earmark.stores.tables import Row, Rows, Tables

#: Every write of a patch goes through this lock, also when it is part of another write.
LOCK: Final = "quilt"

LARGEST_DATA: Final = 1_000_000
LONGEST_TYPE: Final = 100
LONGEST_NAME: Final = 500
LONGEST_AUTHOR: Final = 255


class Patch(Struct, frozen=True, kw_only=True):
    """One record in one version; instants are nanoseconds since the epoch."""

    type: str
    name: str
    data: Mapping[str, Any]
    """A JSON object."""
    version: int
    """From 1, one more with each change."""
    author: str
    """Who wrote this version."""
    created_at: Instant
    """When its first version was written."""
    updated_at: Instant
    """When this version was written."""


class Quilt:
    """The patches of one store; any thread may call."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        """Keep patches in *tables*, dated by *clock*."""
        self._tables = tables
        self._clock = clock

    def get(self, type: str, name: str) -> Patch:  # noqa: A002 - the patch's own word
        """Return the patch as it stands.

        Raises:
            NotFound: There is none of that type and name.
            StoreUnavailable: The store cannot be read now.
        """
        found = self._tables.read(lambda rows: _standing(rows, type, name))
        if found is None:
            raise NotFound(kind="patch", name=f"{type} {name}")
        return found

    def named(self, name: str) -> list[Patch]:
        """Return the patches of exactly that name, whatever their type, by type."""
        return self._list(_NAMED, name)

    def find(
        self,
        type: str | None = None,  # noqa: A002 - the patch's own word
        name_prefix: str = "",
        after: tuple[str, str] = ("", ""),
        most: int = 100,
    ) -> list[Patch]:
        """Return patches by type and name, at most *most*; *after* is the last of a page before."""
        tests, values = ["(type, name) > (?, ?)"], [*after]
        if type is not None:
            tests.append("type = ?")
            values.append(type)
        given: list[str | int] = [*values]
        if name_prefix:
            tests.append("substr(name, 1, ?) = ?")
            given += [len(name_prefix), name_prefix]
        sql = (
            f"SELECT {_COLUMNS} FROM {{schema}}.quilt_patches WHERE {' AND '.join(tests)}"
            " ORDER BY type, name LIMIT ?"
        )
        return self._list(sql, *given, most)

    def put(
        self,
        type: str,  # noqa: A002 - the patch's own word
        name: str,
        data: Mapping[str, Any],
        *,
        author: str,
        expected: int | None = None,
    ) -> Patch:
        """Write the next version of a patch, or its first; atomic and durable.

        Args:
            type: What it is about: `budget`, `sibling_nudge`, `control` …
            name: Which of that type: `budget_2026-11-22`.
            data: A JSON object of at most 1 MB; no NaN, no infinity, whole numbers of 53 bits.
            author: Who writes it.
            expected: The version that has to stand, 0 for none; None writes over whatever stands.

        Raises:
            VersionConflict: Another version stands than *expected*.
            InvalidPatch: Something of it cannot be kept; says what.
            StoreUnavailable: The outcome is unknown: read the patch before writing again.
        """
        now = self._clock.instant()
        written: list[Patch] = []

        def work(rows: Rows) -> Patch:
            for patch in written:
                # Done again after a lost connection: what was written before may be there.
                if _is_kept(rows, patch):
                    return patch
            written.append(
                put_within(rows, type, name, data, author=author, now=now, expected=expected)
            )
            return written[-1]

        return self._tables.write(LOCK, work)

    def history(self, type: str, name: str, most: int = 100) -> list[Patch]:  # noqa: A002
        """Return the versions of a patch, the newest first.

        Raises:
            NotFound: There is no such patch.
        """
        first = self.get(type, name)
        sql = (
            f"SELECT type, name, data, version, author, {first.created_at}, at"
            " FROM {schema}.quilt_history WHERE type = ? AND name = ?"
            " ORDER BY version DESC LIMIT ?"
        )
        return self._list(sql, type, name, most)

    def _list(self, sql: str, *values: object) -> list[Patch]:
        return [_patch(row) for row in self._tables.read(lambda rows: rows.run(sql, *values))]


def put_within(
    rows: Rows,
    type: str,  # noqa: A002 - the patch's own word
    name: str,
    data: Mapping[str, Any],
    *,
    author: str,
    now: int,
    expected: int | None = None,
) -> Patch:
    """Write a patch in a transaction that somebody else opened under `LOCK`; as `Quilt.put`."""
    text = _checked(type, name, data, author)
    current = _standing(rows, type, name)
    version = 0 if current is None else current.version
    if expected is not None and expected != version:
        raise VersionConflict(type=type, name=name, expected=expected, stands=version)
    patch = Patch(
        type=type,
        name=name,
        data=json.loads(text),
        version=version + 1,
        author=author,
        created_at=now if current is None else current.created_at,
        # Time in the quilt never runs back, whatever the clock does.
        updated_at=now if current is None else max(now, current.updated_at),
    )
    at = patch.updated_at
    rows.run(_PUT, type, name, text, patch.version, author, patch.created_at, at)
    rows.run(_KEEP, type, name, patch.version, text, author, at)
    return patch


_COLUMNS: Final = "type, name, data, version, author, created_at, updated_at"
_GET: Final = f"SELECT {_COLUMNS} FROM {{schema}}.quilt_patches WHERE type = ? AND name = ?"
#: From type to type, of which there are few, for there is no index by name, and nudges are many.
_NAMED: Final = f"""
WITH RECURSIVE known (kind) AS (
    SELECT min(type) FROM {{schema}}.quilt_patches
    UNION ALL
    SELECT (SELECT min(type) FROM {{schema}}.quilt_patches WHERE type > kind)
    FROM known WHERE kind IS NOT NULL
)
SELECT {_COLUMNS} FROM known JOIN {{schema}}.quilt_patches ON type = kind AND name = ?
ORDER BY type
"""
_PUT: Final = (
    f"INSERT INTO {{schema}}.quilt_patches ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (type, name) DO UPDATE SET data = excluded.data, version = excluded.version,"
    " author = excluded.author, updated_at = excluded.updated_at"
)
_KEEP: Final = (
    "INSERT INTO {schema}.quilt_history (type, name, version, data, author, at)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)
_KEPT: Final = (
    "SELECT data, author, at FROM {schema}.quilt_history"
    " WHERE type = ? AND name = ? AND version = ?"
)


def _standing(rows: Rows, type_: str, name: str) -> Patch | None:
    found = rows.run(_GET, type_, name)
    return _patch(found[0]) if found else None


def _is_kept(rows: Rows, patch: Patch) -> bool:
    found = rows.run(_KEPT, patch.type, patch.name, patch.version)
    return found == [(_text(patch.data), patch.author, patch.updated_at)]


def _patch(row: Row) -> Patch:
    type_, name, data, version, author, created_at, updated_at = row
    return Patch(
        type=type_,
        name=name,
        data=json.loads(data),
        version=version,
        author=author,
        created_at=created_at,
        updated_at=updated_at,
    )


# What can be kept ---------------------------------------------------------------------------------


def _checked(type_: str, name: str, data: Mapping[str, Any], author: str) -> str:
    """Return *data* as the text that is kept; raises `InvalidPatch`."""
    _check_words("type", type_, LONGEST_TYPE)
    _check_words("name", name, LONGEST_NAME)
    _check_words("author", author, LONGEST_AUTHOR)
    if not isinstance(data, Mapping):
        raise InvalidPatch(place="data", detail="give a JSON object")
    try:
        check_value(data, "")
    except InvalidComposition as error:
        raise InvalidPatch(place=f"data{error.place}", detail=error.detail) from None
    text = _text(data)
    if len(text.encode()) > LARGEST_DATA:
        raise InvalidPatch(place="data", detail=f"it has more than {LARGEST_DATA:,} bytes")
    return text


def _check_words(what: str, words: str, longest: int) -> None:
    if not isinstance(words, str) or not 0 < len(words) <= longest or not words.isprintable():
        raise InvalidPatch(place=what, detail=f"give 1 to {longest} printable characters")


def _text(data: Mapping[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
