"""From a provider's settings to the provider; the SDKs and their wire are imported only then."""

from typing import Literal, assert_never

from earmark.admission.call import Provider
from earmark.clock import Clock
from earmark.pricing.book import PriceBook

#: The APIs that are spoken.
Api = Literal["openai", "anthropic"]


def open_provider(
    name: str,
    *,
    api: Api,
    book: PriceBook,
    clock: Clock,
    base_url: str | None = None,
    api_key: str | None = None,
    default_max_tokens: int = 1024,
    context_window: int | None = None,
    allowed_options: frozenset[str] = frozenset(),
) -> Provider:
    """Return the provider *name*; connects at its first call and not before.

    Args:
        name: First part of its models' names, and the provider their prices are looked up for.
        api: The API its server speaks.
        book: Where its models' prices are from.
        clock: When a price is pinned.
        base_url: The server; the API's own maker unless given.
        api_key: The key itself, never shown; `None` for servers that want none.
        default_max_tokens: The output tokens of a request that names none.
        context_window: The most tokens its models take in, where the user knows it.
        allowed_options: Options beyond the API's table that the user vouches for: text at most.
    """
    match api:
        case "openai":
            from earmark.provider.openai import OpenAIProvider as Opened  # noqa: PLC0415 - slow
        case "anthropic":
            from earmark.provider.anthropic import AnthropicProvider as Opened  # noqa: PLC0415 - slow
        case _:
            assert_never(api)
    return Opened(
        name,
        book=book,
        clock=clock,
        base_url=base_url,
        api_key=api_key,
        default_max_tokens=default_max_tokens,
        context_window=context_window,
        allowed_options=allowed_options,
    )
