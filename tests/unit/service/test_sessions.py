"""Sessions of the pages: begun with a token, ended with it, and no other page's to use."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from starlette.requests import Request

from earmark.service.auth import SESSION_S, Caller, check_form
from earmark.service.problems import ProblemError
from support.service_house import House, house


@pytest.fixture
def shut() -> Iterator[House]:
    """A service in which nobody reads without a token."""
    with house() as opened:
        yield opened


def visitor(opened: House, cookie: str) -> Caller:
    """Return who comes with *cookie*."""
    headers = [(b"host", b"127.0.0.1"), (b"cookie", f"earmark_session={cookie}".encode())]
    request = Request({"type": "http", "headers": headers})
    portal = opened.client.portal
    assert portal is not None
    return portal.call(opened.service.authenticator.visitor, request)


def test_a_session_may_what_its_token_may(shut: House) -> None:
    """On pages; over the API its cookie reads and no more, as any page could make it be sent."""
    authenticator = shut.service.authenticator
    cookie = authenticator.enter(f"  {shut.secrets['admin']}\n")
    found = visitor(shut, cookie)
    assert (found.name, found.scopes) == ("a adminer", ("read", "spend", "admin"))
    headers = {"Cookie": f"earmark_session={cookie}"}
    assert shut.ask("get", "/v1/tasks", scope=None, headers=headers).is_success
    shut.no(403, "post", "/v1/tasks", scope=None, headers=headers, json={"title": "x"})
    shut.no(403, "get", "/v1/audit", scope=None, headers=headers)


def test_a_session_ends(shut: House) -> None:
    """When it is left, its token revoked, rotated or gone with its books, and after 12 hours."""
    authenticator = shut.service.authenticator
    sql = "DELETE FROM {schema}.token WHERE id = ?"
    for end in ("leave", "revoke", "rotate", "gone", "time"):
        row, secret = shut.service.tokens.create("me", ["read"])
        cookie = authenticator.enter(secret)
        assert visitor(shut, cookie).may("read")
        match end:
            case "leave":
                authenticator.leave(cookie)
            case "revoke":
                shut.service.tokens.revoke(row.id)
            case "rotate":
                shut.service.tokens.rotate(row.id, "0s")
            case "gone":
                shut.workspace.tables.write("token", lambda rows, id_=row.id: rows.run(sql, id_))
            case _:
                shut.clock.advance(timedelta(seconds=SESSION_S))
        assert not visitor(shut, cookie).may("read"), end


@pytest.mark.parametrize("secret", ["", "emk_x", "x" * 1000])
def test_nobody_enters_without_a_token(shut: House, secret: str) -> None:
    """401, and no session is there."""
    with pytest.raises(ProblemError) as refused:
        shut.service.authenticator.enter(secret)
    assert refused.value.status == 401
    assert not visitor(shut, secret).scopes


def test_a_form_of_another_page_writes_nothing(shut: House) -> None:
    """It lacks the session's word, which no other page can read."""
    authenticator = shut.service.authenticator
    mine = visitor(shut, authenticator.enter(shut.secrets["spend"]))
    others = visitor(shut, authenticator.enter(shut.secrets["spend"]))
    assert mine.csrf != others.csrf
    assert check_form(mine, mine.csrf, "spend") == mine
    for word, scope, status in (
        ("", "spend", 403),
        (others.csrf, "spend", 403),
        ("é", "spend", 403),
        (mine.csrf, "admin", 403),
    ):
        assert refusal(mine, word, scope) == status
    assert refusal(visitor(shut, "nobody"), "", "spend") == 401
    program = replace(mine, csrf="")
    assert refusal(program, "", "spend") == 401, "a program has no forms"


def refusal(caller: Caller, csrf: str, scope: str) -> Any:
    """Return the status with which a form is refused."""
    with pytest.raises(ProblemError) as refused:
        check_form(caller, csrf, scope)
    return refused.value.status


def test_sessions_are_not_kept_without_end(shut: House) -> None:
    """The oldest goes when a thousand others have begun."""
    authenticator = shut.service.authenticator
    first = authenticator.enter(shut.secrets["read"])
    for _ in range(1000):
        authenticator.enter(shut.secrets["read"])
    assert not visitor(shut, first).scopes
