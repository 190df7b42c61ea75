"""Numbered migrations of a store's tables: forward only, one sequence for all that a database has.

A migration is a file `schema/<kind>/NNNN_name.sql`, applied once, in the order of the numbers, in
one transaction, and noted in the table `migration`. A change that old programs would not survive
is cut in two, so that they and new ones can run side by side between the halves:

    NNNN_name_pre.sql    adds what new programs need and old ones do not mind; applied first
    NNNN_name_post.sql   takes away what only old programs need; applied by an explicit
                         `earmark store migrate --finish`, when none of them runs any more

A migration that is neither changes what counts, and must stop older programs that are at work. On
SQLite the number of the last migration does, which a commit looks at after another program's. On
PostgreSQL the migration drops the functions they write with, and makes its own under new names.

So a program accepts a database that a newer program's `pre` was applied to, and no other migration
that it does not know. What is old to a program may have been changed by such a `pre`: statements
name their columns, and never rely on there being no others.

A budget is one JSON body, and a new plain field there needs no migration: it is written where it
has another value than its default, and a program that does not know it refuses that budget by its
name.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final, Literal

from earmark.errors import SchemaMismatch

DatabaseKind = Literal["sqlite", "postgres"]

_FILE: Final = re.compile(r"(\d{4})_([a-z][a-z0-9_]*)\.sql")
_FINISH: Final = "when no older program runs any more, run `earmark store migrate --finish`"


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of a schema."""

    number: int
    name: str
    sql: str = field(default="", repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.number:04d}_{self.name}"

    @property
    def is_pre(self) -> bool:
        """Whether programs of the step before run on beside it."""
        return self.name.endswith("_pre")

    @property
    def is_post(self) -> bool:
        """Whether it waits until the last program of the step before has ended."""
        return self.name.endswith("_post")


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that a database has."""

    migration: Migration
    at: int
    """When it was applied; 0 if that was not noted."""


@dataclass(frozen=True, slots=True)
class SchemaState:
    """How a database stands to a program: what it has, and what the program knows."""

    known: tuple[Migration, ...]
    applied: tuple[Applied, ...]

    @property
    def pending(self) -> tuple[Migration, ...]:
        """What the program knows and the database lacks, in order."""
        had = {each.migration.number for each in self.applied}
        return tuple(each for each in self.known if each.number not in had)

    @property
    def unknown(self) -> tuple[Migration, ...]:
        """What the database has and the program does not know, or knows by another name."""
        return tuple(each.migration for each in self.applied if each.migration not in self.known)

    @property
    def lacking(self) -> tuple[Migration, ...]:
        """What is pending and the program cannot work without: all but the last `post` ones."""
        return tuple(each for each in self.pending if not each.is_post)

    @property
    def is_readable(self) -> bool:
        """Whether the tables are those this program knows."""
        return not self.lacking and all(each.is_pre for each in self.unknown)

    def applicable(self, *, finish: bool) -> tuple[Migration, ...]:
        """Return what may be applied now: everything up to a `post` one, or to the end.

        An empty database has no older program to wait for.
        """
        if finish or not self.applied:
            return self.pending
        posts = [index for index, each in enumerate(self.pending) if each.is_post]
        return self.pending[: posts[0]] if posts else self.pending

    def check_known(self, store: str) -> None:
        """Refuse a database with a migration that may have broken this program.

        Raises:
            SchemaMismatch: It has a migration, not a `pre` one, that this program does not know.
        """
        for each in self.unknown:
            if not each.is_pre:
                detail = f"this program knows its schema up to {self.known[-1]}, and it has {each}"
                raise SchemaMismatch(store=store, detail=f"{detail}: use a newer Earmark")

    def check_complete(self, store: str) -> None:
        """Refuse a database that this program cannot work on before it is migrated.

        Raises:
            SchemaMismatch: It lacks a migration that the program needs.
        """
        if not self.lacking:
            return
        first = self.pending[0]
        if first.is_post:
            detail = f"it needs {self.lacking[0]}, and before that {first}: {_FINISH}"
        else:
            detail = f"its schema is older than this program, it lacks {first}: "
            detail += "run `earmark store migrate`"
        raise SchemaMismatch(store=store, detail=detail)


def read_migrations(folder: Traversable) -> tuple[Migration, ...]:
    """Return the migrations in *folder*, in order; they are numbered from 1 without a gap."""
    found = [
        Migration(int(match[1]), match[2], file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if (match := _FILE.fullmatch(file.name))
    ]
    found.sort(key=lambda each: each.number)
    assert [each.number for each in found] == list(range(1, len(found) + 1)), "a number is missing"
    return tuple(found)


@cache
def known_migrations(kind: DatabaseKind) -> tuple[Migration, ...]:
    """Return the migrations this program knows for stores of *kind*."""
    return read_migrations(resources.files("earmark.stores").joinpath("schema", kind))


def applied_from(rows: Iterable[tuple[int, str, int]]) -> tuple[Applied, ...]:
    """Return what the rows of the table `migration` say."""
    return tuple(Applied(Migration(number, name), at) for number, name, at in rows)
