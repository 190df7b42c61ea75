"""From a provider's settings to the provider: one class, whatever API its server speaks."""

from earmark.admission.call import ModelRequest, Provider
from earmark.apis.bounds import DEFAULT_MAX_TOKENS
from earmark.apis.dialect import Dialect, SpokenApi
from earmark.apis.dialects import DIALECTS
from earmark.clock import Clock
from earmark.errors import InvalidConfig
from earmark.pricing.book import PriceBook
from earmark.provider.call import ModelCall, ProviderTerms, make_call
from earmark.provider.server import Server, base_url_of


class ModelProvider:
    """Calls models through one API of one server, with no retries; see `Provider`."""

    def __init__(self, server: Server, terms: ProviderTerms) -> None:
        from earmark.provider.sender import Sender  # noqa: PLC0415 - slow, and only needed by callers

        self._server = server
        self._terms = terms
        self._sender = Sender(server)

    def __repr__(self) -> str:
        server = self._server
        return f"ModelProvider({server.provider!r}, {self._terms.api!r}, {server.host!r})"

    def call(self, request: ModelRequest) -> ModelCall:
        """Return the bounded, not yet sent call; raises as `make_call`."""
        return make_call(self._terms, self._server, self._sender, request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sender.aclose()


def open_provider(
    name: str,
    *,
    api: SpokenApi,
    book: PriceBook,
    clock: Clock,
    base_url: str | None = None,
    api_key: str | None = None,
    default_max_tokens: int = DEFAULT_MAX_TOKENS,
    context_window: int | None = None,
    allowed_options: frozenset[str] = frozenset(),
    count_margin: int | None = None,
) -> Provider:
    """Return the provider *name*; connects at its first call and not before.

    Args:
        name: First part of its models' names, and the provider their prices are looked up for.
        api: The API its server speaks: `openai` (Chat Completions), `openai-responses`,
            `anthropic` (Messages) or `gemini` (generateContent).
        book: Where its models' prices are from; a price is that of the moment of sending.
        clock: When a call is priced.
        base_url: The server; the API's own maker unless given. Environment variables of the
            makers' own clients are not read; proxies are the environment's, but for this machine.
        api_key: The key itself, never shown; `None` for servers that want none.
        default_max_tokens: The output tokens of a request that names none, thinking included: there
            is always a bound.
        context_window: The most tokens its models take in, where the user knows it.
        allowed_options: Options beyond the API's table that the user vouches for: text at most.
        count_margin: Has an input counted that does not fit by bytes; see `ProviderTerms`.

    Raises:
        InvalidUsage: An input is to be counted, and no endpoint of the API is known that does.
        InvalidConfig: There is no such API, the address or the key cannot be used, or the provider
            is not supported yet: Amazon Bedrock, Vertex AI.
    """
    dialect = _dialect(name, api)
    url = base_url_of(name, base_url, dialect)
    server = Server(provider=name, dialect=dialect, base_url=url, api_key=api_key)
    terms = ProviderTerms(
        api=api,
        book=book,
        clock=clock,
        default_max_tokens=default_max_tokens,
        context_window=context_window,
        allowed_options=allowed_options,
        count_margin=count_margin,
    )
    return ModelProvider(server, terms)


def _dialect(name: str, api: str) -> Dialect:
    known = DIALECTS.get(api)
    if known is None:
        detail = f"it is one of {', '.join(DIALECTS)}"
        raise InvalidConfig(place=f"providers.{name}.api", detail=detail)
    return known
