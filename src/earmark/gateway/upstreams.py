"""Which provider answers a request, where, and with which key: by the configuration alone.

Neither a model's name nor a header decides a host: a name begins with a provider that is
configured, or it is one of the API's default provider.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from earmark.apis.bounds import DEFAULT_MAX_TOKENS
from earmark.apis.dialects import DIALECTS, maker_of
from earmark.config.assemble import KeyLookup, known_providers
from earmark.config.settings import ProviderSettings, Settings
from earmark.errors import InvalidConfig
from earmark.gateway.closing import stops_billing
from earmark.gateway.denied import Denied
from earmark.gateway.endpoints import Endpoint
from earmark.gateway.key_mask import secret_of
from earmark.provider.server import Server, base_url_of

#: So many models are kept with where they go; their names are the clients' own words.
_MOST_KEPT: Final = 1000
_LONGEST_KEPT: Final = 200
#: The paths at which to ask, where a client is one of the other API's.
_SPEAKS: Final = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Where one request goes."""

    provider: str
    """By the name its prices have."""
    model: str
    """As the provider names it; empty for a request about no model."""
    url: str
    host: str
    headers: Mapping[str, str] = field(repr=False)
    """The provider's own, its key among them."""
    secret: bytes = field(default=b"", repr=False)
    """The bytes of its key, which no client may see."""
    default_max_tokens: int = DEFAULT_MAX_TOKENS
    context_window: int | None = None
    allowed_options: frozenset[str] = frozenset()
    stops_on_close: bool = False
    """Whether a stream that is closed there is known to be billed no further."""
    count_margin: int | None = None
    """What is added to its count of an input, in parts per million; `None`: it is not asked."""


class Upstreams:
    """The configured providers."""

    def __init__(self, settings: Settings, key: KeyLookup) -> None:
        """Offer the providers of *settings*; *key* reads the key of each when it is called.

        Raises:
            InvalidConfig: An API has two default providers.
        """
        self._settings = known_providers(settings)
        self._allowed = {name: frozenset(api.options) for name, api in settings.apis.items()}
        self._key = key
        self._defaults = _defaults(settings.providers)
        self._found: dict[tuple[str | None, ...], Upstream] = {}

    def find(self, endpoint: Endpoint, model: str) -> Upstream:
        """Return where a request for *model*, as its client names it, goes.

        Raises:
            Denied: The provider speaks another API.
            InvalidConfig: The provider has no key, or its address cannot be used.
        """
        provider, name = self._named(endpoint.api, model)
        settings = self._settings[provider]
        family = family_of(endpoint.api)
        if family_of(settings.api) != family:
            words = (
                f"provider '{provider}' speaks another API, and nothing is translated:"
                f" ask it at {_SPEAKS[family_of(settings.api)]}"
            )
            raise Denied(400, "other_api", words)
        api_key = self._key(provider, settings)
        place = provider, name, api_key, endpoint.api, endpoint.path, endpoint.query
        found = self._found.get(place)
        if found is None:
            found = self._upstream(provider, name, api_key, endpoint)
            if len(name) + len(endpoint.query) <= _LONGEST_KEPT:
                self._found[place] = found
                if len(self._found) > _MOST_KEPT:
                    del self._found[next(iter(self._found))]
        return found

    def _upstream(
        self, provider: str, name: str, api_key: str | None, endpoint: Endpoint
    ) -> Upstream:
        settings, family = self._settings[provider], family_of(endpoint.api)
        dialect = replace(DIALECTS[family], path=endpoint.path, stream_path="", stream_query={})
        server = Server(
            provider=provider,
            dialect=dialect,
            base_url=base_url_of(provider, settings.base_url, dialect),
            api_key=api_key,
        )
        url = server.url(name, stream=False)
        if endpoint.query:
            url += ("&" if "?" in url else "?") + endpoint.query
        return Upstream(
            provider=provider,
            model=name,
            url=url,
            host=server.hostname,
            headers=server.headers(),
            secret=secret_of(server.api_key),
            default_max_tokens=settings.max_tokens or DEFAULT_MAX_TOKENS,
            context_window=settings.context_window,
            allowed_options=self._allowed.get(endpoint.api, frozenset()),
            stops_on_close=settings.stops_on_close or stops_billing(server.hostname),
            count_margin=settings.count_margin if settings.count_tokens else None,
        )

    def _named(self, api: str, model: str) -> tuple[str, str]:
        """Return the provider that *model* names, and the model's name there."""
        provider, slash, name = model.partition("/")
        if slash and name and provider in self._settings:
            return provider, name
        family = family_of(api)
        return self._defaults.get(family) or maker_of(family), model


def family_of(api: str) -> str:
    """Return the API by whose name one server is known that has several, as OpenAI's has."""
    return api.partition("-")[0]


def _defaults(providers: Mapping[str, ProviderSettings]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, settings in providers.items():
        if settings.default:
            other = found.setdefault(family_of(settings.api), name)
            if other != name:
                detail = f"'{other}' is the default of this API already: only one can be"
                raise InvalidConfig(place=f"providers.{name}.default", detail=detail)
    return found
