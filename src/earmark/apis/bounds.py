"""From a request to the most it can cost. Pure: no network; the price is given."""

import re
from dataclasses import replace
from typing import Final

from earmark.apis.api import request_table
from earmark.apis.contents import Contents, to_json
from earmark.apis.counts import count_endpoint, without_counted
from earmark.apis.openai_chat import SEARCHING_MODELS
from earmark.apis.options import RequestTable
from earmark.apis.output_limit import check_whole_number
from earmark.apis.requests import RequestReading
from earmark.pricing.bill import unpriced
from earmark.pricing.bound import ModelBound
from earmark.pricing.price import Price
from earmark.pricing.tokens import count_or_bound, encoding_of, json_bound
from earmark.pricing.units import MODALITIES
from earmark.pricing.usage import Usage

#: The output tokens, per choice, of a request that names no limit: there is always a bound.
DEFAULT_MAX_TOKENS: Final = 1024
#: What a chat template adds to the messages: its own words, a default system prompt, a date.
#: Measured: 25-31 tokens for SmolLM2 on llama.cpp; 3 for OpenAI; gpt-oss writes about 70.
TEMPLATE_TOKENS: Final = 128
#: What it adds to each message. OpenAI's cookbook counts 3, or 4 with a name; ChatML takes 5.
MESSAGE_TOKENS: Final = 16
#: The hidden system prompt that comes with tools or an output schema. Anthropic's tool-use guide
#: lists up to 530 tokens (2026-11).
SCHEMA_TOKENS: Final = 600

#: So many inputs that cannot be counted are named; of the others it is said how many there are.
_MOST_NAMED: Final = 8

_IMAGES: Final = "output_image_tokens"
#: Names of models that answer with images, or audio, unless they are asked for text alone; of many
#: the price list knows no rate but that of text. Source: OpenRouter, Google and OpenAI, lists of
#: models, 2026-11.
_IMAGE_MODEL: Final = re.compile(r"image|banana|dall-e", re.IGNORECASE)
_AUDIO_MODEL: Final = re.compile(r"audio|lyria", re.IGNORECASE)


def bound_request(
    reading: RequestReading,
    price: Price,
    *,
    default_max_tokens: int,
    extra_input_tokens: int | None = None,
    context_window: int | None = None,
    most_counted: int | None = None,
) -> ModelBound:
    """Return the most a request can be billed: its input, its output, its fees.

    Args:
        reading: What `read_body` made of the request.
        price: The price at the tier it asks for: `PriceBook.resolve(…, tier=reading.tier)`.
        default_max_tokens: The limit per choice of a request that names none; above a
            thinking budget where it names one. `ModelBound.max_output_tokens` is the one to send.
        extra_input_tokens: The most tokens of inputs that cannot be counted here, such as images
            and the results of tools, of all rounds of sampling together. What the request holds and
            what it lets be written is counted for each round beside them; where nothing limits the
            rounds, as with MCP servers, what is read again is to be in them too.
        context_window: The most input tokens the model takes, where the user knows it. A window
            from a price list is none: lists are wrong in both directions.
        most_counted: The most tokens of what the provider counted, as `with_margin` returns it: in
            place of the bytes of those options, where it is less. Further rounds of sampling, which
            it does not count, are held by bytes.

    Raises:
        BudgetExceeded: With reason `unpriced`: a part of the request has no bound or no price.
        InvalidUsage: A number is no whole number, or 0 where that bounds nothing.
    """
    table = request_table(reading.api)
    _check_numbers(table, default_max_tokens, extra_input_tokens, context_window)
    if table.is_free:
        return ModelBound(price=price, input_tokens=0, max_output_tokens=0)
    if most_counted is not None:
        count_endpoint(reading.api)
        most_counted += _beside_the_count(reading.contents, table)
    if table.output_limits and not reading.contents.names_outputs:
        _refuse_image_and_audio_models(price, table.text_alone)
    return _bound(
        reading.contents,
        price,
        max_output_tokens=_output_limit(reading, table, default_max_tokens),
        choices=reading.choices,
        extra_input_tokens=extra_input_tokens,
        context_window=context_window,
        most_counted=most_counted,
    )


def _check_numbers(
    table: RequestTable, default_limit: object, extra: object, context_window: object
) -> None:
    least = 1 if table.output_limits else 0
    check_whole_number("default_max_tokens", default_limit, least=least)
    if extra is not None:
        check_whole_number("extra_input_tokens", extra, least=0)
    if context_window is not None:
        check_whole_number("context_window", context_window, least=1)


def _output_limit(reading: RequestReading, table: RequestTable, default: int) -> int:
    """Return the limit of output tokens to send, per choice; 0 where there is no output."""
    if not table.output_limits:
        return 0
    asked = reading.max_output_tokens
    budget = reading.contents.least_output_tokens - 1
    if asked is None:
        asked = default
        if asked <= budget:
            # At or below its thinking budget the provider refuses the request.
            asked += budget
    elif table.thinking_budget and budget > 0 and asked <= budget:
        limit = table.output_limits[0]
        raise unpriced(
            f"{table.thinking_budget} is {budget} and not below {limit}, {asked}, which then"
            f" bounds no thinking: give a {limit} above {budget}, or a lower budget"
        )
    return check_whole_number("max_output_tokens", asked, least=table.least_output)


def _bound(
    found: Contents,
    price: Price,
    *,
    max_output_tokens: int,
    choices: int,
    extra_input_tokens: int | None,
    context_window: int | None,
    most_counted: int | None,
) -> ModelBound:
    _refuse_searching(price)
    if extra_input_tokens and not found.uncounted:
        # Nothing here says what these tokens are of.
        found = replace(found, modalities=found.modalities | set(MODALITIES))
    for kind in sorted(found.needs()):
        price.check_priced(kind)
    counted = _counted_tokens(found, encoding_of(price.provider, price.model))
    output = max_output_tokens * choices
    first = counted if most_counted is None else min(counted, most_counted)
    tokens = _input_tokens(found, first, counted, output, extra_input_tokens, context_window)
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


def _refuse_image_and_audio_models(price: Price, text_alone: str) -> None:
    """Refuse a model that may answer with what no limit bounds or no price is known of."""
    priced = {rate.kind for rate in price.rates()}
    if _IMAGES in priced or _IMAGE_MODEL.search(price.model):
        detail = f"'{price.name}' makes images, which no limit of output tokens bounds"
    elif _AUDIO_MODEL.search(price.model) and "output_audio_tokens" not in priced:
        detail = f"'{price.name}' may answer with audio, which has no price"
    else:
        return
    how = f"ask for text alone, by {text_alone}" if text_alone else "use a declared cost"
    raise unpriced(f"{detail}: {how}")


def _input_tokens(
    found: Contents,
    first: int,
    counted: int,
    output: int,
    extra: int | None,
    context_window: int | None,
) -> int:
    """Return the most input tokens, of all rounds together.

    The *first* round reads so many; each one after it what is *counted* here, and the *output* of
    those before it.
    """
    # A summary before a round is one more.
    rounds = None if found.rounds is None else found.rounds * (2 if found.compacts else 1)
    if found.uncounted and extra is None:
        # Each has a context of its own.
        if context_window is not None and rounds is not None:
            return context_window * rounds
        names = sorted(set(found.uncounted))
        more = len(names) - _MOST_NAMED
        what = ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        how = (
            " of all rounds together: nothing limits how often everything is read again"
            if rounds is None
            else ", or the context_window of the model"
        )
        raise unpriced(
            f"{what}: tokens cannot be counted here; give extra_input_tokens, the most{how}"
        )
    again = (rounds or 1) - 1
    tokens = first + again * (counted + output) + (extra or 0)
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
    return tokens + (SCHEMA_TOKENS if found.schemas else 0)


def _beside_the_count(found: Contents, table: RequestTable) -> int:
    """Return the most tokens of the options that a provider's count does not hold."""
    others = without_counted(found.rest, table)
    has_schema = not found.schemas.isdisjoint(others)
    return json_bound(to_json(others)) + (SCHEMA_TOKENS if has_schema else 0)
