"""Where a provider answers and with which key: its address checked, its URLs and headers made."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from earmark.apis.dialect import Dialect
from earmark.apis.hosts import is_azure, is_below
from earmark.apis.options import CountEndpoint
from earmark.errors import InvalidConfig

#: Queries that an address may have; another one may be a key, which logs would show.
_QUERIES: Final = frozenset({"api-version"})
_VERSION: Final = re.compile(r"v\d+\w*")
#: Names that somebody would give to a provider that is not supported yet.
_UNSUPPORTED_NAMES: Final = {
    **dict.fromkeys(("bedrock", "aws", "aws-bedrock", "amazon-bedrock"), "Amazon Bedrock"),
    **dict.fromkeys(("vertex", "vertexai", "vertex-ai", "google-vertex"), "Vertex AI"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A provider's address, its key, and the API it speaks.

    Raises:
        InvalidConfig: The address cannot be used, the key cannot be sent in a header, or it is a
            provider that is not supported yet.
    """

    provider: str
    dialect: Dialect = field(repr=False)
    base_url: str = field(repr=False)
    """The address with or without the API's path; what Azure calls a target URI may be given."""
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.base_url)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable, parts = False, urlsplit("")
        if not usable:
            raise self._invalid("give an address such as http://127.0.0.1:8080/v1")
        if parts.username is not None or parts.password is not None:
            raise self._invalid("give the address without user and password")
        for query in filter(None, parts.query.split("&")):
            if query.partition("=")[0] not in _QUERIES:
                raise self._invalid("give the address without a query, api-version excepted")
        if self.api_key is not None and not _is_header_value(self.api_key):
            raise self._invalid("its key holds a space, a line end or a letter beyond ASCII")
        unsupported = _unsupported(self.hostname)
        if unsupported:
            raise self._invalid(
                f"{unsupported} is not supported yet: call the maker's own API, or a gateway of"
                " your own that speaks one of the supported APIs"
            )

    @property
    def host(self) -> str:
        """The host and port alone, for messages."""
        return urlsplit(self.base_url).netloc

    @property
    def hostname(self) -> str:
        """The host's name in lower case, for what depends on who answers."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def counts_choices(self) -> bool:
        """Whether it is known to report the usage of all choices of a call."""
        return self.dialect.counts_choices(self.hostname)

    def url(self, model: str, *, stream: bool) -> str:
        """Return where a request for *model* is posted."""
        dialect = self.dialect
        path = (dialect.stream_path if stream else "") or dialect.path
        path = path.replace("{model}", quote(model, safe=""))
        parts = urlsplit(self.base_url)
        base = parts.path.rstrip("/")
        version, _, rest = path.removeprefix("/").partition("/")
        if _VERSION.fullmatch(version) and _VERSION.fullmatch(base.rpartition("/")[2]):
            path = f"/{rest}"
        query = [parts.query] if parts.query else []
        if stream and dialect.stream_query:
            query.append(urlencode(dialect.stream_query))
        whole = base if base.endswith(path) else base + path
        return urlunsplit((parts.scheme, parts.netloc, whole, "&".join(query), ""))

    def count_url(self, model: str, endpoint: CountEndpoint) -> str:
        """Return where a request for *model* is counted."""
        parts = urlsplit(self.url(model, stream=False))
        return urlunsplit(parts._replace(path=endpoint.path(parts.path)))

    def headers(self) -> Mapping[str, str]:
        """Return the headers that the API wants, with the key; a server without one gets none."""
        if self.api_key is None:
            return self.dialect.headers
        dialect = self.dialect
        if dialect.azure_key_header and is_azure(self.hostname):
            return {**dialect.headers, dialect.azure_key_header: self.api_key}
        return {**dialect.headers, dialect.key_header: f"{dialect.key_prefix}{self.api_key}"}

    def _invalid(self, detail: str) -> InvalidConfig:
        return InvalidConfig(place=f"providers.{self.provider}", detail=detail)


def base_url_of(provider: str, configured: str | None, dialect: Dialect) -> str:
    """Return the address *configured*, or else that of the API's maker.

    Raises:
        InvalidConfig: None was given, and the provider's name is that of one that is not supported:
            its calls would go to somebody else.
    """
    if configured is not None:
        return configured
    unsupported = _UNSUPPORTED_NAMES.get(provider.lower().replace("_", "-"))
    if unsupported:
        raise InvalidConfig(
            place=f"providers.{provider}",
            detail=f"{unsupported} is not supported yet; for a gateway of your own, give base_url",
        )
    return dialect.base_url


def _unsupported(hostname: str) -> str:
    """Return the service of a host that is not supported yet; empty for all others."""
    labels = hostname.lower().split(".")
    at_amazon = any(
        is_below(hostname, domain) for domain in ("amazonaws.com", "amazonaws.com.cn", "api.aws")
    )
    if at_amazon and any(label.startswith("bedrock") for label in labels):
        return "Amazon Bedrock"
    # Regions stand before it: `us-central1-aiplatform.googleapis.com`.
    if is_below(hostname, "googleapis.com") and any("aiplatform" in label for label in labels):
        return "Vertex AI"
    return ""


def _is_header_value(key: str) -> bool:
    return bool(key) and all("!" <= letter <= "~" for letter in key)
