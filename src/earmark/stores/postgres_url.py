"""A PostgreSQL store's URL: Earmark's own options, what goes on to libpq, a name for errors."""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from earmark.errors import InvalidConfig

DEFAULT_SCHEMA: Final = "earmark"
_OURS: Final = frozenset({"schema", "unsafe"})
_SECRET: Final = frozenset({"password", "passfile", "sslpassword"})
_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")

#: Notice a dead server in seconds, not in the two hours the system would take; the URL may say
#: otherwise. https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
_PATIENCE: Final = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "application_name": "earmark",
}


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """Where a store is kept; its `repr` and `name` never have the password."""

    name: str
    """The URL without its password, for errors, logs and people."""
    schema: str
    """The PostgreSQL schema that has all the tables."""
    unsafe: bool
    """Whether a server that may forget what it acknowledged is accepted: for tests."""
    conninfo: str = field(repr=False)
    """What libpq connects with, the password included."""

    @classmethod
    def parse(cls, url: str) -> "PostgresUrl":
        """Return the parts of *url*: `postgresql://user:password@host:port/db?schema=…&sslmode=…`.

        Everything libpq takes in a URL is passed on to it; `schema` and `unsafe` are Earmark's own.

        Raises:
            InvalidConfig: It is no such URL, or an option has a value it cannot have.
        """
        parts, options = _read(url)
        own = {key: value for key, value in options if key in _OURS}
        of_libpq = [(key, value) for key, value in options if key not in _OURS]
        visible = [(key, value) for key, value in options if key not in _SECRET]
        base_url = f"{parts.scheme}://{parts.netloc}{parts.path}"
        return cls(
            name=f"{_without_password(base_url)}{_query(visible)}",
            schema=_schema(own.get("schema", DEFAULT_SCHEMA)),
            unsafe=_unsafe(own.get("unsafe")),
            conninfo=_conninfo(f"{base_url}{_query(of_libpq)}", {key for key, _ in of_libpq}),
        )

    def hide(self, text: str) -> str:
        """Return *text*, a message of the server or the driver, without the password."""
        secrets = [value for key, value in _conninfo_items(self.conninfo) if key in _SECRET]
        for secret in secrets:
            for form in (secret, quote(secret, safe="")):
                text = text.replace(form, "***") if form else text
        return text


def _read(url: str) -> tuple[SplitResult, list[tuple[str, str]]]:
    refusal = _invalid("it cannot be read: percent-encode special characters")
    try:
        parts = urlsplit(url)
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        _ = parts.port
    except ValueError:
        # Not the library's words: they repeat what they could not read, passwords included.
        raise refusal from None
    # A second '@' is of a password, whose end libpq would take for the host.
    if parts.netloc.count("@") > 1:
        raise refusal
    return parts, options


def _conninfo(url: str, options: set[str]) -> str:
    defaults = {key: value for key, value in _PATIENCE.items() if key not in options}
    try:
        # Whatever the environment or the database would have: text is UTF-8 on the way.
        return make_conninfo(url, **defaults, client_encoding="UTF8")
    except ProgrammingError as error:
        # libpq names an option it does not know, and repeats a URL it cannot read.
        option = re.search(r'invalid URI query parameter: "([^"]*)"', str(error))
        detail = f"PostgreSQL knows no option '{option[1]}'" if option else "libpq cannot read it"
        raise _invalid(detail) from None


def _conninfo_items(conninfo: str) -> list[tuple[str, str]]:
    return [(key, str(value)) for key, value in conninfo_to_dict(conninfo).items()]


def _query(options: list[tuple[str, str]]) -> str:
    # libpq reads `%20`, not `+`.
    return f"?{urlencode(options, quote_via=quote)}" if options else ""


def _without_password(url: str) -> str:
    before, at, host = url.rpartition("@")
    scheme, _, user = before.partition("://")
    return f"{scheme}://{user.partition(':')[0]}@{host}" if at else url


def _schema(text: str) -> str:
    if _SCHEMA.fullmatch(text) is None or text.startswith("pg_"):
        want = "lower-case letters, digits and '_', at most 63, not beginning with 'pg_'"
        raise _invalid(f"schema '{text[:80]}' is no name for a schema: {want}")
    return text


def _unsafe(text: str | None) -> bool:
    if text not in {None, "test"}:
        raise _invalid(f"unsafe={text!s:.40} is not known: 'unsafe=test' is for tests, else none")
    return text is not None


def _invalid(detail: str) -> InvalidConfig:
    want = "postgresql://user:password@host:5432/database?schema=earmark"
    return InvalidConfig(place="store URL", detail=f"{detail}; a URL looks like {want}")
