"""Which headers pass, on the way to a provider and back. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from earmark.gateway.denied import Denied

Pairs = list[tuple[str, str]]

#: Of one connection alone (RFC 9110 §7.6.1); the other side has its own.
_HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"}
    | {"upgrade", "proxy-authenticate", "proxy-authorization"}
)
#: A client's credentials are the gateway's own, and go nowhere.
CREDENTIALS: Final = ("authorization", "x-api-key", "x-goog-api-key")
#: Which organization or project of the key's account pays: whoever runs the gateway chose that.
_PAYERS: Final = ("openai-organization", "openai-project", "x-goog-user-project")
#: What the gateway says itself, and what tells of the client's place and network.
_NOT_SENT: Final = _HOP_BY_HOP | frozenset(
    {*CREDENTIALS, *_PAYERS, "api-key", "cookie", "host", "content-length", "accept-encoding"}
    | {"expect", "forwarded", "via", "x-real-ip", "origin", "referer"}
    # What some servers take for another request than the one that was bounded.
    | {"proxy", "x-host", "x-original-host", "x-original-url", "x-rewrite-url"}
    | {"x-http-method", "x-http-method-override", "x-method-override"}
)
_NOT_SENT_PREFIXES: Final = ("x-forwarded-", "x-earmark-", "sec-", "proxy-")
#: What the gateway says of a call, and nobody else.
_OWN_PREFIX: Final = "x-earmark-"
_NOT_ANSWERED: Final = _HOP_BY_HOP | frozenset({"set-cookie", "set-cookie2", "alt-svc"})
#: The gateway's own request headers; another one of this prefix is refused, not passed over.
BUDGET: Final = "x-earmark-budget"
AT_MOST: Final = "x-earmark-at-most"
OWN_HEADERS: Final = frozenset({AT_MOST, "x-earmark-dry-run", BUDGET})
#: Where clients send the id of their session, the first one counts: Claude Code, Codex, older ones
#: of it. Source: tests/fixtures/requests.
SESSIONS: Final = ("x-claude-code-session-id", "session-id", "session_id")
#: Of these one value counts: which of two the other side, or a proxy between, takes is not known.
_SINGLE: Final = frozenset({*CREDENTIALS, *OWN_HEADERS, *SESSIONS, "idempotency-key"})
_TOKEN: Final = re.compile(r"(?i:bearer) +(\S+)")


def decoded_headers(raw: Iterable[tuple[bytes, bytes]]) -> Pairs:
    """Return a request's headers as text, their names in lower case.

    Raises:
        Denied: One is no text in UTF-8, or is one of the gateway's that it does not know, or comes
            twice with different values where one value counts.
    """
    try:
        pairs = [(name.decode("ascii").lower(), value.decode()) for name, value in raw]
    except UnicodeDecodeError:
        raise Denied(400, "invalid_header", "a header is no text in UTF-8") from None
    for name, _ in pairs:
        if name.startswith("x-earmark-") and name not in OWN_HEADERS:
            raise Denied(
                400, "unknown_header", f"there is no header '{name[:60]}' here: leave it out"
            )
    return _without_repeats(pairs)


def _without_repeats(pairs: Pairs) -> Pairs:
    """Return *pairs* with each of the headers that have one value once."""
    kept: Pairs = []
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in _SINGLE:
            first = values.setdefault(name, value.strip())
            if first != value.strip():
                words = f"the header '{name}' comes twice with different values: send one"
                raise Denied(400, "repeated_header", words)
            if any(each == name for each, _ in kept):
                continue
        kept.append((name, value))
    return kept


def by_name(pairs: Pairs) -> dict[str, str]:
    """Return the headers by name; several of one name are one list."""
    found: dict[str, str] = {}
    for name, value in pairs:
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def tokens_in(pairs: Pairs) -> list[str]:
    """Return what may be a token of the gateway, in the headers where clients send their keys."""
    found: list[str] = []
    for wanted in CREDENTIALS:
        for name, value in pairs:
            if name == wanted:
                bearer = _TOKEN.fullmatch(value.strip())
                found.append(bearer[1] if bearer else value.strip())
    return found


def to_provider(pairs: Pairs, own: Mapping[str, str]) -> Pairs:
    """Return the client's headers that pass to the provider, and the provider's *own* ones.

    The key is among these; where the client names an API's version, that stands.
    """
    dropped = _NOT_SENT | _named_by_connection(pairs)
    passed = [
        (name, value)
        for name, value in pairs
        if name not in dropped and not name.startswith(_NOT_SENT_PREFIXES)
    ]
    named = {name for name, _ in passed}
    added = [(name, value) for name, value in own.items() if name not in named]
    # Compressed replies could not be read for what they cost.
    return [*passed, *added, ("accept-encoding", "identity")]


def to_client(
    raw: Iterable[tuple[bytes, bytes]], *, keeps_length: bool
) -> list[tuple[bytes, bytes]]:
    """Return a reply's headers that pass to the client, letter for letter.

    Args:
        raw: As they came.
        keeps_length: Whether the body is passed on as it came, in one piece.
    """
    pairs = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw]
    dropped = _NOT_ANSWERED | _named_by_connection(pairs)
    if not keeps_length:
        dropped |= {"content-length"}
    return [
        (name, value)
        for (lower, _), (name, value) in zip(pairs, raw, strict=True)
        if lower not in dropped and not lower.startswith(_OWN_PREFIX)
    ]


def _named_by_connection(pairs: Pairs) -> frozenset[str]:
    values = (value for name, value in pairs if name == "connection")
    return frozenset(each.strip().lower() for value in values for each in value.split(","))
