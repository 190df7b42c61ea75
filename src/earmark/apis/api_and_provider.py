"""Completes an API by its provider and a provider by its API."""

from typing import Final

from earmark.apis.dialects import DIALECTS, maker_of
from earmark.pricing.book import PriceBook
from earmark.pricing.rates import unpriced

#: Of a name, as a message shows it.
_MAX_NAME: Final = 100
CHAT_COMPLETIONS: Final = "openai"


def api_and_provider(
    api: str | None, provider: str | None, model: object, book: PriceBook
) -> tuple[str, str]:
    """Return both as they are given, else each from the other; Chat Completions from neither.

    A provider that made no API here is taken to be compatible with Chat Completions. A pair stays
    as it is given: Anthropic and Google have endpoints for others' requests too.

    Raises:
        BudgetExceeded: With reason `unpriced`: neither is given, and *model* is another maker's.
    """
    if not api and not provider:
        _refuse_other_makers(model, book)
    api = api or _api_of(provider or "") or CHAT_COMPLETIONS
    return api, provider or maker_of(api)


def _api_of(provider: str) -> str | None:
    """Return the API that *provider* made, its first one; `None` where it made none."""
    return next((name for name, each in DIALECTS.items() if each.maker == provider), None)


def _refuse_other_makers(model: object, book: PriceBook) -> None:
    if not isinstance(model, str):
        return
    maker = book.other_maker(model, maker_of(CHAT_COMPLETIONS))
    if maker is not None:
        api = _api_of(maker)
        suggestion = f"api='{api}'" if api else f"provider='{maker}'"
        raise unpriced(
            f"model '{model:.{_MAX_NAME}}' is one of '{maker}', and neither api nor provider is"
            f" given: did you mean {suggestion}? Else say who is called, by provider="
        )
