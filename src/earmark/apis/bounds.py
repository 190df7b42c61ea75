"""From a request to the most it can cost. Pure: no network; the price is given."""

from dataclasses import replace
from typing import Final

from earmark.apis.api import request_table
from earmark.apis.contents import Contents
from earmark.apis.openai_chat import SEARCHING_MODELS
from earmark.apis.requests import RequestReading
from earmark.errors import InvalidUsage
from earmark.pricing.bill import unpriced
from earmark.pricing.bound import ModelBound
from earmark.pricing.price import Price
from earmark.pricing.tokens import count_or_bound, encoding_of, json_bound
from earmark.pricing.units import MODALITIES
from earmark.pricing.usage import LARGEST_COUNT, Usage

#: What a chat template adds to the messages: its own words, a default system prompt, a date.
#: Measured: 25-31 tokens for SmolLM2 on llama.cpp; 3 for OpenAI; gpt-oss writes about 70.
TEMPLATE_TOKENS: Final = 128
#: What it adds to each message. OpenAI's cookbook counts 3, or 4 with a name; ChatML takes 5.
MESSAGE_TOKENS: Final = 16
#: The hidden system prompt that comes with tools or an output schema. Anthropic's tool-use guide
#: lists up to 530 tokens (2026-11).
SCHEMA_TOKENS: Final = 600

_IMAGES: Final = "output_image_tokens"


def bound_request(
    reading: RequestReading,
    price: Price,
    *,
    default_max_output_tokens: int,
    extra_input_tokens: int | None = None,
    context_window: int | None = None,
) -> ModelBound:
    """Return the most a request can be billed: its input, its output, its fees.

    Args:
        reading: What `read_body` made of the request.
        price: The price at the tier it asks for: `PriceBook.resolve(…, tier=reading.tier)`.
        default_max_output_tokens: The limit per choice of a request that names none; above a
            thinking budget where it names one. `ModelBound.max_output_tokens` is the one to send.
        extra_input_tokens: The most tokens of inputs that cannot be counted here.
        context_window: The most input tokens the model takes, where the user knows it. A window
            from a price list is none: lists are wrong in both directions.

    Raises:
        BudgetExceeded: With reason `unpriced`: a part of the request has no bound or no price.
        InvalidUsage: A number is no whole number.
    """
    if request_table(reading.api).is_free:
        return ModelBound(price=price, input_tokens=0, max_output_tokens=0)
    asked = reading.max_output_tokens if request_table(reading.api).output_limits else 0
    if asked is None:
        asked = default_max_output_tokens
        if asked < reading.contents.least_output_tokens:
            # At or below its thinking budget the provider refuses the request.
            asked += reading.contents.least_output_tokens - 1
    return _bound(
        reading.contents,
        price,
        max_output_tokens=asked,
        choices=reading.choices,
        extra_input_tokens=extra_input_tokens,
        context_window=context_window,
    )


def _bound(
    found: Contents,
    price: Price,
    *,
    max_output_tokens: int,
    choices: int,
    extra_input_tokens: int | None,
    context_window: int | None,
) -> ModelBound:
    _refuse_searching(price)
    if found.may_make_images and any(rate.kind == _IMAGES for rate in price.rates()):
        raise unpriced(
            f"'{price.name}' makes images, which no limit of output tokens bounds: ask for text"
            ' alone, by responseModalities = ["TEXT"]'
        )
    if extra_input_tokens and not found.uncounted:
        # Nothing here says what these tokens are of.
        found = replace(found, modalities=found.modalities | set(MODALITIES))
    for kind in sorted(found.needs()):
        price.check_priced(kind)
    tokens = _input_tokens(
        found, encoding_of(price.provider, price.model), extra_input_tokens, context_window
    )
    return ModelBound(
        price=price,
        input_tokens=tokens,
        max_output_tokens=max_output_tokens,
        # A summary before the answer is held as one more answer.
        choices=choices * (1 + (found.rounds or 1) if found.compacts else 1),
        never=found.never(price.provider),
        fees=Usage(found.fees),
        least_output_tokens=min(found.least_output_tokens, max_output_tokens),
        context_window=context_window,
    )


def _refuse_searching(price: Price) -> None:
    if any(name in price.model for name in SEARCHING_MODELS):
        detail = f"'{price.name}' searches by itself and bills it beside its tokens"
        raise unpriced(f"{detail}: use a declared cost")


def _input_tokens(
    found: Contents, encoding: str | None, extra: int | None, context_window: int | None
) -> int:
    """Return the most input tokens, of all rounds together."""
    if extra is not None and (type(extra) is not int or not 0 <= extra <= LARGEST_COUNT):
        raise InvalidUsage(detail=f"extra_input_tokens is {extra!r}; it is a whole number")
    if found.uncounted and extra is None:
        if context_window is None or found.rounds is None:
            what = ", ".join(sorted(set(found.uncounted)))
            window = "" if found.rounds is None else ", or the context_window of the model"
            raise unpriced(
                f"{what}: tokens cannot be counted here; give extra_input_tokens, the most{window}"
            )
        # Each round has a context of its own, and so has a summary before it.
        return context_window * found.rounds * (2 if found.compacts else 1)
    tokens = _counted_tokens(found, encoding) + (extra or 0)
    # The sum of several rounds may pass the window.
    if context_window is None or found.loops:
        return tokens
    return min(tokens, context_window)


def _counted_tokens(found: Contents, encoding: str | None) -> int:
    """Return the most tokens of what the request itself holds."""
    tokens = found.tokens + count_or_bound(found.texts, encoding)
    if found.json:
        tokens += json_bound(found.json)
    if found.has_template:
        tokens += TEMPLATE_TOKENS + MESSAGE_TOKENS * found.messages
    return tokens + (SCHEMA_TOKENS if found.has_schema else 0)
