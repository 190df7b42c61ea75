"""Nothing secret leaves: not in an answer, not in an error, not in a log, not in the store."""

import logging
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from earmark.errors import StoreUnavailable
from support.ledger_books import STORES
from support.postgres_session import recycle
from support.service_house import House, house

PASSWORD = "hunter2-of-the-database"  # noqa: S105 - looked for, and nobody's


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[House]:
    """A service that was used: every route has something to show."""
    with house(STORES["sqlite"](tmp_path), open_reads=True) as opened:
        opened.budget()
        for scope in ("spend", "admin"):
            body = {"budget": "acme", "amount": "1", "key": f"of-{scope}"}
            opened.ok("post", "/v1/reservations", json=body, scope=scope, key="k")
            opened.ok("post", "/v1/tasks", json={"title": "think"}, scope=scope, key="t")
        opened.ok("put", "/v1/patches/a/b", json={"data": {}})
        opened.service.authenticator.enter(opened.secrets["admin"])
        yield opened


def reads(opened: House) -> list[str]:
    """Return the path of every read, with a name that is there where it takes one."""
    paths = opened.client.get("/openapi.json").json()["paths"]
    names = {
        "{path}": "acme", "{key}": "of-spend", "{task_id}": "1", "{type}": "a", "{name}": "b",
        "{nudge_id}": "x", "{run_id}": "x",
    }  # fmt: skip
    found = [path for path, methods in paths.items() if "get" in methods]
    for name, value in names.items():
        found = [path.replace(name, value) for path in found]
    return [path for path in found if path != "/v1/events"]


def test_no_answer_has_a_token(busy: House, caplog: pytest.LogCaptureFixture) -> None:
    """Every read, every page, with a token, without and with a wrong one; nor does the log."""
    caplog.set_level(logging.DEBUG)
    secrets = {value[37:] for value in busy.secrets.values()}
    said: list[str] = []
    for path in [*reads(busy), "/", "/budgets", "/runs", "/nudges", "/login", "/openapi.json"]:
        said += [busy.ask("get", path, scope=scope).text for scope in (None, "read", "admin")]
        wrong = {"Authorization": f"Bearer {busy.secrets['admin']}x"}
        said.append(busy.ask("get", path, scope=None, headers=wrong).text)
        said.append(busy.ask("get", f"{path}?limit={busy.secrets['admin']}").text)
    assert not [text for text in said if any(secret in text for secret in secrets)]
    # The client of this test logs the addresses it asks for; a service does not.
    logged = [each.getMessage() for each in caplog.records if each.name.startswith("earmark")]
    assert not [text for text in logged if any(secret in text for secret in secrets)]


def test_the_store_has_no_token(busy: House) -> None:
    """No row of any table has any part of one, kept answers among them."""
    name = busy.workspace.ledger.store.url.removeprefix("sqlite:///")
    secrets = [value[37:].encode() for value in busy.secrets.values()]
    for file in Path(name).parent.iterdir():
        assert not [secret for secret in secrets if secret in file.read_bytes()], file


def test_no_repr_has_a_token(busy: House) -> None:
    """What a debugger or a log shows of a service's parts is without secrets."""
    service = busy.service
    shown = repr(service) + repr(service.tokens.all()) + repr(vars(service.authenticator))
    assert not [each for each in busy.secrets.values() if each[37:] in shown]


def test_the_databases_password_is_nobodys_to_see(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in an error, a log or an answer, though the server's own words may hold it."""
    caplog.set_level(logging.DEBUG)
    url = urlsplit(STORES["postgres"](tmp_path))
    # A server that asks for no password takes any.
    password = url.password or PASSWORD
    place = f"{url.username}:{password}@{url.netloc.rpartition('@')[2]}"
    with house(url._replace(netloc=place).geturl()) as opened:
        answers = [opened.ask("get", path).text for path in reads(opened)]
        opened.line.fails_next = "board"
        answers.append(opened.ask("post", "/v1/tasks", json={"title": "x"}).text)
        assert password in opened.workspace.ledger.store.url
        assert not [text for text in answers if password in text]
        assert password not in caplog.text
        assert password not in repr(opened.service)
    recycle(tmp_path)


def test_what_a_store_complains_of_is_not_passed_on(busy: House) -> None:
    """An error that quotes a connection string leaves without it."""
    detail = f"FATAL: cannot connect to postgresql://bob:{PASSWORD}@db.internal"
    busy.line.complaint = StoreUnavailable(store="postgresql://db.internal", detail=detail)
    busy.line.down = True
    for path in reads(busy):
        said = busy.ask("get", path, scope=None).text
        assert PASSWORD not in said
        assert "db.internal" not in said
