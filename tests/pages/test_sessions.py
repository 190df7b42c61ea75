"""Who may see and send what: sessions, CSRF tokens, scopes, and where a login leads."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from earmark.board.task import TaskStatus
from earmark.service import pages
from earmark.workspace.gateway_access import GatewayAccess
from support.page_house import HOSTILE, PageHouse, Visitor, page_house

#: Every form of the pages, with what it needs at least.
FORMS = {
    "/tasks/new": "spend",
    "/tasks/ID/approve": "admin",
    "/tasks/ID/deny": "admin",
    "/tasks/ID/grade": "spend",
    "/tasks/ID/accept": "spend",
    "/tasks/ID/reject": "spend",
    "/tasks/ID/retry": "spend",
    "/tasks/ID/cancel": "spend",
    "/budgets/c8/pause": "admin",
    "/budgets/c8/resume": "admin",
    "/budgets/c8/extend": "admin",
    "/nudges/ack": "spend",
    "/agents/switch": "spend",
}
READ = (
    "/",
    "/tasks/new",
    "/budgets",
    "/budgets/c8",
    "/runs",
    "/nudges",
    "/agents",
    "/tasks/12345678",
)


def untouched(house: PageHouse) -> bool:
    """Return whether no form changed anything since the first task was added."""
    only = house.workspace.board.last_event() == 1
    return only and house.workspace.ledger.budgets("c8")[0].paused is None


@pytest.mark.parametrize("address", FORMS)
def test_a_form_of_another_page_is_refused(house: PageHouse, address: str) -> None:
    """Without the session's CSRF token, or with another's, nothing happens, and it is a 403."""
    admin, other = house.visitor("admin"), house.visitor("admin")
    where = address.replace("ID", house.add("a").id)
    for csrf in ("", "x", other.csrf, f"{admin.csrf}x", "ü"):
        answer = admin.send(where, csrf=csrf, title="b", note="n", reason="r")
        assert answer.status_code == 403
        assert "load the page again" in admin.checked(answer).text
    assert untouched(house)


@pytest.mark.parametrize("address", FORMS)
def test_a_form_without_a_session_is_refused(house: PageHouse, address: str) -> None:
    """Whoever has not logged in changes nothing; what they typed is shown, to be kept."""
    visitor = house.visitor()
    answer = visitor.send(address.replace("ID", house.add("a").id), csrf="x", note=HOSTILE)
    page = visitor.checked(answer)
    assert answer.status_code == 401
    assert "What you typed" in page.text
    assert HOSTILE in page.text
    assert untouched(house)


@pytest.mark.parametrize(("address", "scope"), FORMS.items())
def test_a_form_needs_its_scope(house: PageHouse, address: str, scope: str) -> None:
    """A session with less than the form needs is told which scope is missing."""
    lesser = house.visitor({"admin": "spend", "spend": "read"}[scope])
    answer = lesser.send(address.replace("ID", house.add("a").id), title="b")
    assert answer.status_code == 403
    assert f"this needs the scope '{scope}'" in lesser.checked(answer).text
    assert untouched(house)


def test_a_bearer_of_a_token_is_no_session(house: PageHouse) -> None:
    """A token in a header does not make a form of somebody else's page pass."""
    client = house.visitor().client
    head = {"authorization": f"Bearer {house.token('admin')}"}
    form = {"title": "x", "csrf": ""}
    assert client.post("/tasks/new", data=form, headers=head).status_code == 401


def test_the_cookie_is_for_this_service_alone(house: PageHouse) -> None:
    """No script reads it and no other site's page sends it; it is not the token."""
    secret = house.token("admin")
    cookie = house.visitor().log_in(secret).headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert secret not in cookie
    assert secret[-40:] not in cookie


@pytest.mark.parametrize(
    ("said", "is_secure"),
    [
        ({}, False),
        ({"X-Forwarded-Proto": "http"}, False),
        ({"X-Forwarded-Proto": "HTTPS"}, True),
        ({"X-Forwarded-Proto": "https, http"}, True),
        ({"Forwarded": 'for=192.0.2.1;proto="https"'}, True),
    ],
)
def test_behind_tls_the_cookie_never_leaves_it(
    house: PageHouse, said: dict[str, str], *, is_secure: bool
) -> None:
    """A proxy that ends TLS says so: then the browser is told to send the cookie by TLS alone."""
    form = {"token": house.token("read")}
    answer = house.visitor().client.post("/login", data=form, headers=said)
    parts = {part.strip() for part in answer.headers["set-cookie"].split(";")}
    assert ("Secure" in parts) == is_secure


def test_behind_tls_the_cookie_is_one_that_no_other_host_can_set(house: PageHouse) -> None:
    """Its name has the prefix with which browsers hold to that; another of its old name is none."""
    tls = {"X-Forwarded-Proto": "https"}
    client = house.visitor().client
    given = client.post("/login", data={"token": house.token("read")}, headers=tls)
    name, _, rest = given.headers["set-cookie"].partition("=")
    assert name == "__Host-earmark_session"
    assert {"Secure", "Path=/"} <= {part.strip() for part in rest.split(";")}
    assert "domain" not in rest.lower()
    value = rest.partition(";")[0]
    for sent, status in ((f"{name}={value}", 200), (f"earmark_session={value}", 303)):
        client.cookies.clear()
        assert client.get("/", headers={**tls, "Cookie": sent}).status_code == status
    client.cookies.clear()
    csrf = re.search(
        r'name="csrf" value="([^"]+)"',
        client.get("/", headers={**tls, "Cookie": f"{name}={value}"}).text,
    )
    assert csrf is not None
    client.cookies.clear()
    out = client.post(
        "/logout", data={"csrf": csrf[1]}, headers={**tls, "Cookie": f"{name}={value}"}
    )
    assert out.headers["set-cookie"].startswith(f'{name}=""; ')
    assert "Secure" in out.headers["set-cookie"], "a browser would leave it otherwise"


#: What browsers and others say of where a form comes from, and whether it is taken.
ORIGINS: list[tuple[dict[str, str], bool]] = [
    ({"Origin": "http://127.0.0.1:8321"}, True),
    ({"Origin": "https://127.0.0.1:8321"}, True),
    ({"Origin": "http://evil.example"}, False),
    ({"Origin": "http://127.0.0.1:9999"}, False),
    ({"Origin": "http://127.0.0.1"}, False),
    ({"Origin": "http://localhost:8321"}, False),
    ({"Origin": "null"}, False),
    ({"Origin": "http://127.0.0.1:port"}, False),
    ({"Origin": ""}, False),
    ({"Origin": "http://127.0.0.1:8321", "X-Forwarded-Proto": "https"}, False),
    ({"Origin": "https://127.0.0.1:8321", "X-Forwarded-Proto": "https"}, True),
    ({"Sec-Fetch-Site": "same-origin"}, True),
    ({"Sec-Fetch-Site": "none"}, True),
    ({"Sec-Fetch-Site": "same-site"}, False),
    ({"Sec-Fetch-Site": "cross-site"}, False),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8321"}, False),
    ({"Sec-Fetch-Site": "same-origin", "Origin": "https://books.example"}, True),
    ({}, True),
]


@pytest.mark.parametrize(("said", "is_taken"), ORIGINS)
def test_a_login_sent_by_another_site_begins_no_session(
    house: PageHouse, said: dict[str, str], *, is_taken: bool
) -> None:
    """Otherwise a page of theirs could make a visitor work in a session of theirs."""
    form = {"token": house.token("admin")}
    answer = house.visitor().client.post("/login", data=form, headers=said)
    assert ("set-cookie" in answer.headers) == is_taken
    assert answer.status_code == (303 if is_taken else 403)


def posts(router: Any) -> Iterator[str]:
    """Yield the path of every route that takes a POST, of the routers within *router* too."""
    for route in router.routes:
        if hasattr(route, "original_router"):
            yield from posts(route.original_router)
        elif "POST" in route.methods:
            yield route.path


def test_every_form_of_the_pages_is_refused_from_another_site(house: PageHouse) -> None:
    """Each POST there is outside the API, with the session's own CSRF token too."""
    admin = house.visitor("admin")
    task = house.add("a").id
    forms = set(posts(pages.router()))
    assert {"/login", "/logout", "/tasks/new", "/agents/switch"} <= forms
    filled = {"task_id": task, "move": "cancel", "path:path": "c8"}
    for form in sorted(forms):
        address = re.sub(r"{([^}]+)}", lambda found: filled[found[1]], form)
        data = {"csrf": admin.csrf, "title": "b", "token": house.token("admin")}
        answer = admin.client.post(address, data=data, headers={"Origin": "http://evil.example"})
        assert answer.status_code == 403, address
        assert "another site" in answer.text
    assert untouched(house)
    admin.read("/tasks/new")


def test_a_wrong_token_opens_nothing(house: PageHouse) -> None:
    """The login says so in words, sets no cookie and does not show the token again."""
    visitor = house.visitor()
    answer = visitor.log_in("emk_" + "0" * 32 + "_" + "a" * 43)
    page = visitor.checked(answer)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "this token opens nothing" in page.text
    assert "aaaa" not in answer.text


def test_a_token_of_the_gateway_does_not_log_in(house: PageHouse) -> None:
    """The login says what it is for, and what to log in with; no session begins."""
    _, token = house.tokens.create_for_gateway("agent", GatewayAccess(budget="acme"))
    visitor = house.visitor()
    answer = visitor.log_in(token)
    page = visitor.checked(answer)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert "this token pays for calls through the gateway and opens no page" in page.text
    assert token not in answer.text


def test_logging_out_ends_the_session(house: PageHouse) -> None:
    """After it the same cookie is nobody's."""
    admin = house.visitor("admin")
    cookie = admin.client.cookies["earmark_session"]
    assert admin.send("/logout").headers["location"] == "/login"
    admin.client.cookies.set("earmark_session", cookie)
    assert admin.send("/tasks/new", title="x").status_code == 401


def test_a_revoked_token_ends_its_sessions(house: PageHouse) -> None:
    """Revoking takes effect at the next click."""
    admin = house.visitor("admin")
    (row,) = house.tokens.all()
    house.tokens.revoke(row.id)
    assert admin.send("/tasks/new", title="x").status_code == 401


@pytest.mark.parametrize(
    ("back", "leads"),
    [
        ("/tasks/new", "/tasks/new"), ("/?status=failed&order=old", "/?status=failed&order=old"),
        ("", "/"), ("https://evil.example", "/"), ("//evil.example", "/"), ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"), ("javascript:alert(1)", "/"), ("\\\\evil.example", "/"),
        ("/a\r\nset-cookie: x=y", "/"),
    ],
)  # fmt: skip
def test_a_login_leads_to_pages_of_this_service_only(
    house: PageHouse, back: str, leads: str
) -> None:
    """Wherever a link asked to go, the login does not leave the service."""
    answer = house.visitor().log_in(house.token("read"), back)
    assert (answer.status_code, answer.headers["location"]) == (303, leads)


def test_a_service_with_closed_reads_asks_to_log_in() -> None:
    """Where reading is not open every page leads to the login, and from there back."""
    with page_house(open_reads=False) as house:
        visitor = house.visitor()
        for address in READ:
            answer = visitor.get(f"{address}?a=b%20c")
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/login?next=%2F")
            assert answer.headers["location"].endswith("%3Fa%3Db%2520c")
        page = visitor.read("/login?next=%2Fbudgets")
        assert page.field("next")["value"] == "/budgets"
        assert visitor.log_in(house.token("read"), "/budgets").headers["location"] == "/budgets"
        visitor.read("/budgets")


def test_open_reads_are_for_this_machine_s_own_name(house: PageHouse) -> None:
    """A request that was passed on for somebody else is not the machine's own."""
    client = house.visitor().client
    answer = client.get("/", headers={"x-forwarded-for": "192.0.2.1"})
    assert answer.status_code == 303


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", "{}", 415),
        ("multipart/form-data; boundary=x", "--x--", 415),
        ("application/x-www-form-urlencoded", "a=%ff", 400),
        ("application/x-www-form-urlencoded", "&".join(f"a{n}=1" for n in range(101)), 400),
    ],
)
def test_a_form_that_is_none_is_refused(
    admin: Visitor, content_type: str, body: str, status: int
) -> None:
    """Other kinds of bodies, and broken ones, are answered by a page, not a 500."""
    answer = admin.client.post(
        "/tasks/new", content=body, headers={"content-type": content_type, "accept": "text/html"}
    )
    assert answer.status_code == status
    admin.checked(answer)


def test_every_answer_is_strict_about_what_a_page_may_do(house: PageHouse, admin: Visitor) -> None:
    """Pages, errors, redirects and files all carry the content policy."""
    task = house.in_state(TaskStatus.COMPLETED)
    for answer in (
        *(admin.get(address) for address in (*READ, "/login", "/nowhere", "/static/style.css")),
        admin.get(f"/tasks/{task.id}"),
        admin.send(f"/tasks/{task.id}/accept"),
        admin.send("/tasks/new", csrf="x"),
    ):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
