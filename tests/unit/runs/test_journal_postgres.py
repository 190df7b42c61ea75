"""The journal on PostgreSQL when the server or the network does not play along."""

import asyncio
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from earmark.errors import StoreUnavailable
from earmark.runs.statement_line import StatementLine
from earmark.stores.open import open_ledger
from earmark.stores.open_upkeep import open_upkeep
from earmark.testing import ManualClock
from support.journals import open_journal
from support.ledger_books import STORES
from support.postgres_server import Server
from support.postgres_session import password_of
from support.tcp_proxy import TcpProxy, cut_the_answer_to
from support.written_runs import line, record, statement_of


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Where books are, made."""
    made = STORES["postgres"](tmp_path)
    open_ledger(made).close()
    return made


@pytest.fixture
def proxy(url: str) -> Iterator[TcpProxy]:
    """A proxy in front of the server."""
    place = urlsplit(url)
    assert place.hostname is not None
    assert place.port is not None
    with TcpProxy((place.hostname, place.port)) as made:
        yield made


def test_a_lost_connection_is_made_anew(url: str, postgres: Server) -> None:
    """The server ends the journal's session between two writes: nobody notices."""
    named = f"{url}&application_name=journal-{urlsplit(url).query[-8:]}"

    async def main() -> tuple[StatementLine, ...]:
        journal = open_journal(named)
        await journal.start(record("r"))
        with postgres.connect() as admin:
            for pid in postgres.backends(named.rpartition("=")[2]):
                admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
        await journal.record("r", [line(1)])
        found = await journal.get("r")
        await journal.aclose()
        return found.lines

    assert asyncio.run(main()) == (line(1),)


@pytest.mark.parametrize("request_", [b"INSERT INTO", b"DELETE FROM", b"COMMIT"])
def test_a_lost_answer_does_not_double_what_was_written(
    url: str, proxy: TcpProxy, request_: bytes
) -> None:
    """The connection is cut between a write and its answer: it stands there once all the same."""

    async def main() -> None:
        journal = open_journal(proxy.via(url))
        proxy.judge = cut_the_answer_to(request_)
        await journal.start(record("r"))
        proxy.judge = cut_the_answer_to(request_)
        await journal.record("r", [line(1), line(2)])
        assert (await journal.get("r")).lines == (line(1), line(2))
        proxy.judge = cut_the_answer_to(request_)
        await journal.finish(statement_of("r", line(1)))
        assert (await journal.get("r")).statement == statement_of("r", line(1))
        await journal.aclose()

    asyncio.run(main())
    assert proxy.cuts


def test_the_password_is_in_no_error(url: str) -> None:
    """What PostgreSQL says to a wrong password, and what a debugger shows, is without it."""
    right = password_of(url)
    wrong = url.replace(right, "hush-hush")
    with pytest.raises(StoreUnavailable, match="password authentication failed") as refused:
        open_upkeep(wrong, ManualClock()).status()
    with pytest.raises(StoreUnavailable, match="password authentication failed") as not_opened:
        open_journal(wrong)
    journal = open_journal(url)
    shown = [
        *traceback.format_exception(refused.value),
        *traceback.format_exception(not_opened.value),
        repr(vars(journal)),
    ]
    asyncio.run(journal.aclose())
    assert not [each for each in ("hush-hush", right) if each in "".join(shown)]
