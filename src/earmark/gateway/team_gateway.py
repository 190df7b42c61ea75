"""A gateway that is another program's, as one command's gateway: what its token's calls came to."""

from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx2

from earmark.config.values import is_loopback
from earmark.errors import EarmarkError, InvalidConfig
from earmark.money import Money
from earmark.pricing.json_values import mapping
from earmark.workspace.session_statement import SessionCall, SessionStatement, totals_by_model

_TIMEOUT_S: Final = 30.0
_DENIED: Final = frozenset({401, 403})
_CHECK: Final = "check the address, and that `earmark gateway` runs there"
_NOT_TAKEN: Final = (
    "it does not take the token of EARMARK_GATEWAY_TOKEN: it may be mistyped, expired or revoked;"
    " whoever runs the gateway makes another by `earmark token create` or `rotate`"
)


class TeamGateway:
    """Asks a gateway with one token; also a block, which closes its connection."""

    def __init__(self, url: str, token: str) -> None:
        """Begin a session at the gateway at *url*: what came before it is not in its statement.

        Raises:
            InvalidConfig: The URL is none, no gateway answers there, or the token opens nothing.
        """
        self.url = _checked(url)
        host = urlsplit(self.url).hostname or ""
        self._http = httpx2.Client(
            headers={"authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_S,
            trust_env=not is_loopback(host),
        )
        try:
            self._get("balance")
            # Of a long-used token there are many: one is kept.
            ((self._after, calls),) = deque(self._pages(""), maxlen=1)
        except BaseException:
            self._http.close()
            raise
        self._before = {call["key"] for call in calls}

    def statement(self) -> SessionStatement:
        """Return what the token's calls came to since the session began.

        Raises:
            InvalidConfig: The gateway does not answer any more.
        """
        found = [call for _, page in self._pages(self._after) for call in page]
        balance = self._get("balance")
        left = balance["available_usd"]
        return SessionStatement(
            budget=balance["budget"],
            models=totals_by_model(
                SessionCall.from_json(each) for each in found if each["key"] not in self._before
            ),
            left=None if left is None else _signed(left),
            refusals=None,
            observed=balance.get("observed", False),
        )

    def _pages(self, after: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Yield each page of the statement from the cursor *after* on, with its own cursor."""
        while True:
            page = self._get("statement", {"after": after} if after else {})
            yield after, page["calls"]
            if page["next"] is None:
                return
            after = page["next"]

    def _get(self, resource: str, query: dict[str, str] | None = None) -> dict[str, Any]:
        try:
            reply = self._http.get(f"{self.url}/v1/earmark/{resource}", params=query or {})
            if reply.status_code in _DENIED:
                raise _no_gateway(self.url, _NOT_TAKEN)
            if not reply.is_success:
                raise _no_gateway(self.url, f"it answered with HTTP {reply.status_code}")
            found = reply.json()
        except (httpx2.HTTPError, ValueError) as error:
            if isinstance(error, EarmarkError):
                raise
            why = f"it cannot be asked ({type(error).__name__}): {_CHECK}"
            raise _no_gateway(self.url, why) from None
        if mapping(found).get("object") != f"earmark.{resource}":
            raise _no_gateway(self.url, "what answers there is no gateway of Earmark")
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.close()


def _signed(text: str) -> Money:
    """Return what is left: below 0 after an overrun, or in an observed tree."""
    return -Money(text[1:]) if text.startswith("-") else Money(text)


def _checked(url: str) -> str:
    """Return *url* without a slash at its end."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _no_gateway(url, "give a URL such as https://gateway.example.com") from None
    plain = url.isascii() and url.isprintable() and not set(url) & set("\"'\\<>{}^`| ")
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or not plain:
        raise _no_gateway(url, "give a URL such as https://gateway.example.com")
    if parts.username is not None or parts.query or parts.fragment:
        raise _no_gateway("", "give its address alone: the token is in a variable")
    return url.rstrip("/").removesuffix("/v1")


def _no_gateway(url: str, why: str) -> InvalidConfig:
    return InvalidConfig(place=f"--gateway {url}".strip(), detail=why)
