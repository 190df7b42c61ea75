"""From a request to the most it can cost. Pure: no network; the price is given."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from earmark.apis.api import request_table
from earmark.apis.api_and_provider import CHAT_COMPLETIONS
from earmark.apis.content_reader import to_json
from earmark.apis.contents import Contents
from earmark.apis.openai_chat import SEARCHING_MODELS
from earmark.apis.options import Option, RequestTable, row_of_kind
from earmark.apis.output_limit import check_whole_number
from earmark.apis.provider_count import count_endpoint, without_counted
from earmark.apis.requests import RequestReading
from earmark.pricing.bound import ModelBound
from earmark.pricing.json_values import items, mapping
from earmark.pricing.price import Price
from earmark.pricing.rates import unpriced
from earmark.pricing.tokens import count_or_bound, encoding_of, json_bound
from earmark.pricing.units import MODALITIES, UNITS
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
_MAX_NAMED: Final = 8

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
    max_counted_tokens: int | None = None,
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
        max_counted_tokens: The most tokens of what the provider counted, from `add_margin`: it
            replaces the bytes of those options, where it is less. Further rounds of sampling, which
            it does not count, are held by bytes.

    Raises:
        BudgetExceeded: With reason `unpriced`: a part of the request has no bound or no price.
        InvalidUsage: A number is no whole number, or 0 where that bounds nothing.
    """
    table = request_table(reading.api)
    _check_numbers(table, default_max_tokens, extra_input_tokens, context_window)
    if table.is_free:
        return ModelBound(price=price, input_tokens=0, max_output_tokens=0)
    if max_counted_tokens is not None:
        count_endpoint(reading.api)
        max_counted_tokens += _uncounted_tokens(reading.contents, table)
    if table.billed_units is not None:
        return _bound_of_units(reading.contents.fees, price)
    if table.output_limits and not reading.contents.names_outputs:
        _refuse_image_and_audio_models(price, table.text_alone)
    return _bound(
        reading.contents,
        price,
        max_output_tokens=_output_limit(reading, table, default_max_tokens),
        choices=reading.choices,
        extra_input_tokens=extra_input_tokens,
        context_window=context_window,
        max_counted_tokens=max_counted_tokens,
    )


def _check_numbers(
    table: RequestTable, default_limit: object, extra: object, context_window: object
) -> None:
    minimum = 1 if table.output_limits else 0
    check_whole_number("default_max_tokens", default_limit, minimum=minimum)
    if extra is not None:
        check_whole_number("extra_input_tokens", extra, minimum=0)
    if context_window is not None:
        check_whole_number("context_window", context_window, minimum=1)


def _output_limit(reading: RequestReading, table: RequestTable, default: int) -> int:
    """Return the output tokens to ask for, per choice; 0 where there is no output."""
    if not table.output_limits:
        return reading.max_output_tokens or 0
    requested = reading.max_output_tokens
    budget = reading.contents.least_output_tokens - 1
    if requested is None:
        requested = default
        if requested <= budget:
            # At or below its thinking budget the provider refuses the request.
            requested += budget
    elif table.thinking_budget and budget > 0 and requested <= budget:
        limit = table.output_limits[0]
        raise unpriced(
            f"{table.thinking_budget} is {budget} and not below {limit}, {requested}, which then"
            f" bounds no thinking: give a {limit} above {budget}, or a lower budget"
        )
    return check_whole_number("max_output_tokens", requested, minimum=table.min_output)


def _bound(
    contents: Contents,
    price: Price,
    *,
    max_output_tokens: int,
    choices: int,
    extra_input_tokens: int | None,
    context_window: int | None,
    max_counted_tokens: int | None,
) -> ModelBound:
    _refuse_searching(price)
    if extra_input_tokens and not contents.uncounted:
        # Nothing here says what these tokens are of.
        contents = replace(contents, modalities=contents.modalities | set(MODALITIES))
    for kind in sorted(contents.required_kinds()):
        price.check_priced(kind)
    counted = _counted_tokens(contents, encoding_of(price.provider, price.model))
    output = max_output_tokens * choices
    first_round = counted if max_counted_tokens is None else min(counted, max_counted_tokens)
    tokens = _input_tokens(
        contents, first_round, counted, output, extra_input_tokens, context_window
    )
    return ModelBound(
        price=price,
        input_tokens=tokens,
        max_output_tokens=max_output_tokens,
        # A summary before the answer is held as one more answer.
        choices=choices * (1 + (contents.rounds or 1) if contents.compacts else 1),
        excluded=contents.excluded_kinds(price.provider),
        fees=Usage(contents.fees),
        least_output_tokens=min(contents.least_output_tokens, max_output_tokens),
        context_window=context_window,
    )


def _bound_of_units(units: Mapping[str, int], price: Price) -> ModelBound:
    """Return the bound of a request that is billed for what it holds, and in nothing else."""
    sold = {rate.kind for tariff in price.tariffs for rate in tariff.rates}
    others = sold - units.keys() - {"requests"}
    if others:
        kinds = ", ".join(sorted(others))
        raise unpriced(f"'{price.name}' is billed in {kinds}, which nothing bounds here")
    # What is part of another kind is billed as that part.
    wholes = {
        whole
        for whole in units
        for part in units
        if part != whole and UNITS[whole].includes(UNITS[part])
    }
    fees = Usage({kind: count for kind, count in units.items() if kind not in wholes})
    return ModelBound(
        price=price, input_tokens=0, max_output_tokens=0, fees=fees, excluded=frozenset(wholes)
    )


def counts_all(api: str, body: Mapping[str, Any], model: str) -> bool:
    """Whether the reply to *body* counts all that it costs, as far as is known.

    Chat Completions count no search, whether the model searches by itself or an option asks for it.
    """
    searches = api == CHAT_COMPLETIONS and _searches_by_itself(model)
    return not searches and not any(
        _asks_unseen(row, body.get(name)) for name, row in request_table(api).options.items()
    )


def _asks_unseen(row: Option, value: object) -> bool:
    """Whether *value* asks by *row*, or by a row in it, for what no counter of a reply shows."""
    if row.billed_unseen:
        return value not in (None, False)
    if listed := items(value):
        return any(_asks_unseen(row, each) for each in listed)
    members = mapping(value)
    if not members:
        return False
    found = row_of_kind(row.kinds, members) if row.kinds else row
    if found is not None and found is not row:
        return _asks_unseen(found, value)
    return any(_asks_unseen(each, members.get(name)) for name, each in (row.fields or {}).items())


def _searches_by_itself(model: str) -> bool:
    return any(name in model for name in SEARCHING_MODELS)


def _refuse_searching(price: Price) -> None:
    if _searches_by_itself(price.model):
        detail = f"'{price.name}' searches by itself and bills it beside its tokens"
        raise unpriced(f"{detail}: use a declared cost")


def _refuse_image_and_audio_models(price: Price, text_alone: str) -> None:
    """Refuse a model whose answer may hold images, or audio without a price."""
    priced = {rate.kind for rate in price.rates()}
    if _IMAGES in priced or _IMAGE_MODEL.search(price.model):
        detail = f"'{price.name}' makes images, which no limit of output tokens bounds"
    elif _AUDIO_MODEL.search(price.model) and "output_audio_tokens" not in priced:
        detail = f"'{price.name}' may answer with audio, which has no price"
    else:
        return
    advice = f"ask for text alone, by {text_alone}" if text_alone else "use a declared cost"
    raise unpriced(f"{detail}: {advice}")


def _input_tokens(
    contents: Contents,
    first_round: int,
    counted: int,
    output: int,
    extra: int | None,
    context_window: int | None,
) -> int:
    """Return the most input tokens, of all rounds together.

    The first round reads *first_round* tokens; each one after it the tokens *counted* here and the
    *output* of those before it.
    """
    # A summary before a round is one more.
    rounds = None if contents.rounds is None else contents.rounds * (2 if contents.compacts else 1)
    if contents.uncounted and extra is None:
        # Each has a context of its own.
        if context_window is not None and rounds is not None:
            return context_window * rounds
        names = sorted(set(contents.uncounted))
        more = len(names) - _MAX_NAMED
        named = ", ".join(names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
        advice = (
            " of all rounds together: nothing limits how often everything is read again"
            if rounds is None
            else ", or the context_window of the model"
        )
        raise unpriced(
            f"{named}: tokens cannot be counted here; give extra_input_tokens, the most{advice}"
        )
    repeats = (rounds or 1) - 1
    tokens = first_round + repeats * (counted + output) + (extra or 0)
    # The sum of several rounds may pass the window.
    if context_window is None or contents.loops:
        return tokens
    return min(tokens, context_window)


def _counted_tokens(contents: Contents, encoding: str | None) -> int:
    """Return the most tokens of the request's own content."""
    tokens = contents.tokens + contents.kept_tokens + count_or_bound(contents.texts, encoding)
    if contents.json:
        tokens += json_bound(contents.json)
    if contents.has_template:
        tokens += TEMPLATE_TOKENS + MESSAGE_TOKENS * contents.messages
    return tokens + (SCHEMA_TOKENS if contents.schemas else 0)


def _uncounted_tokens(contents: Contents, table: RequestTable) -> int:
    """Return the most tokens of the options, and of what is kept, that a count leaves out."""
    others = without_counted(contents.json_options, table)
    has_schema = not contents.schemas.isdisjoint(others)
    options = json_bound(to_json(others)) + (SCHEMA_TOKENS if has_schema else 0)
    return options + contents.kept_tokens
