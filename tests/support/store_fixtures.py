"""Stores of earlier versions, written once by `write_store_fixture`: one of each kind."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from earmark.stores.migrations_postgres import in_schema
from earmark.testing import ManualClock
from support.databases import DATABASES, Database, PostgresDatabase

#: One folder for each version.
FIXTURES: Final = Path(__file__).parents[1] / "fixtures" / "stores"
KINDS: Final = ("sqlite", "postgres")

#: A token that opens the service on a fixture, which has its digest only.
TOKEN_NUMBER: Final = "0123456789abcdef" * 2
TOKEN_SECRET: Final = "only-for-store-fixtures".ljust(43, "-")
FIXTURE_TOKEN: Final = f"emk_{TOKEN_NUMBER}_{TOKEN_SECRET}"
#: A request that was answered under a key.
ANSWERED_KEY: Final = "fixture-request"
ANSWERED_REQUEST: Final = {"budget": "acme", "amount": "0.25", "labels": {"from": "the service"}}


@dataclass(frozen=True)
class StoreFixture:
    """A store as a version left it, and what its readers said then."""

    folder: Path
    kind: str

    def __str__(self) -> str:
        return f"{self.folder.name}-{self.kind}"

    @property
    def file(self) -> Path:
        """The store: a compressed file, or statements with `{schema}` for the schema's name."""
        return self.folder / {"sqlite": "sqlite.db.gz", "postgres": "postgres.sql"}[self.kind]

    @property
    def facts_file(self) -> Path:
        """What its readers said, and when."""
        return self.folder / f"{self.kind}.json"

    @contextmanager
    def restored(self, folder: Path, clock: ManualClock) -> Iterator[Database]:
        """Give a copy of it, which nobody has opened yet, for *folder*."""
        database = DATABASES[self.kind](folder, clock)
        if self.kind == "sqlite":
            file = Path(database.url.removeprefix("sqlite:///"))
            file.write_bytes(gzip.decompress(self.file.read_bytes()))
        else:
            assert isinstance(database, PostgresDatabase)
            with database.connected() as connection:
                text = self.file.read_text(encoding="utf-8")
                connection.execute(in_schema(text, database.schema))
        yield database
        database.close()

    def facts(self) -> tuple[datetime, dict[str, Any]]:
        """Return the instant it was left at, and what its readers said then."""
        said = json.loads(self.facts_file.read_text(encoding="utf-8"))
        return datetime.fromisoformat(said["at"]), said["facts"]


def store_fixtures() -> list[StoreFixture]:
    """Return every fixture, by version."""
    folders = sorted(each for each in FIXTURES.iterdir() if each.is_dir())
    return [StoreFixture(folder, kind) for folder in folders for kind in KINDS]
