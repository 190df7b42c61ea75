"""What a PostgreSQL URL may say, and that its password stays where it is needed."""

import pytest
from psycopg.conninfo import conninfo_to_dict

from earmark.errors import InvalidConfig
from earmark.stores.postgres_url import PostgresUrl

SECRET = "hu:sh/ 1"  # noqa: S105 - of no server
QUOTED = "hu%3Ash%2F%201"


def test_everything_but_our_own_options_goes_to_libpq() -> None:
    """TLS and other parameters pass through; `schema` and `unsafe` are Earmark's."""
    url = PostgresUrl.parse(
        f"postgresql://ada:{QUOTED}@db.example:6432/books?schema=money&unsafe=test"
        "&sslmode=verify-full&sslrootcert=/etc/ca.pem&connect_timeout=9"
    )
    assert (url.schema, url.unsafe) == ("money", True)
    passed = conninfo_to_dict(url.conninfo)
    assert {name: passed[name] for name in ("host", "port", "user", "password", "dbname")} == {
        "host": "db.example", "port": "6432", "user": "ada", "password": SECRET, "dbname": "books",
    }  # fmt: skip
    assert (passed["sslmode"], passed["sslrootcert"]) == ("verify-full", "/etc/ca.pem")
    assert passed["connect_timeout"] == "9"
    assert not {"schema", "unsafe"} & set(passed)


def test_a_raw_at_sign_in_the_password_shows_nothing() -> None:
    """A password that should have been percent-encoded is refused, or shown in no part."""
    with pytest.raises(InvalidConfig) as caught:
        PostgresUrl.parse("postgresql://ada:hush@hush@h/books")
    assert "hush" not in str(caught.value)


def test_what_is_not_said_is_safe() -> None:
    """The schema is `earmark`, nothing unsafe is accepted, and a dead server is noticed soon."""
    url = PostgresUrl.parse("postgresql:///books")
    assert (url.schema, url.unsafe) == ("earmark", False)
    assert int(conninfo_to_dict(url.conninfo)["tcp_user_timeout"]) == 10_000


@pytest.mark.parametrize(
    "given",
    [
        f"postgresql://ada:{QUOTED}@h/books",
        f"postgresql://ada@h/books?password={QUOTED}",
        f"postgresql://ada@h/books?sslkey=/k&sslpassword={QUOTED}",
    ],
)
def test_the_password_is_shown_nowhere(given: str) -> None:
    """Neither the name nor the `repr` has it, and messages that repeat it lose it."""
    url = PostgresUrl.parse(given)
    assert "ada@h/books" in url.name
    for text in (url.name, repr(url), str(url), url.hide(f"bad {SECRET} or {QUOTED}")):
        assert "hu:sh" not in text
        assert "hu%3Ash" not in text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("postgresql://h/books?schema=Money", "schema 'Money' is no name"),
        ("postgresql://h/books?schema=pg_money", "no name"),
        ("postgresql://h/books?schema=", "no name"),
        ('postgresql://h/books?schema=a"b', "no name"),
        ("postgresql://h/books?unsafe=yes", "unsafe=yes is not known"),
        ("postgresql://h/books?colour=red", "no option 'colour'"),
        ("postgresql://h:port/books", "cannot"),
        (f"postgresql://ada:{SECRET}@h/books", "cannot"),
        ("postgresql://h/books?schema", "cannot"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(given: str, said: str) -> None:
    """A bad URL names its fault, shows what a good one looks like, and repeats no password."""
    with pytest.raises(InvalidConfig) as caught:
        PostgresUrl.parse(given)
    assert said in str(caught.value)
    assert "postgresql://user:password@host:5432/database" in str(caught.value)
    assert "hu:sh" not in str(caught.value)
    assert caught.value.__cause__ is None
