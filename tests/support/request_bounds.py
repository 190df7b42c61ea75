"""Bounds of requests as messages and options, for tests that vary one of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from earmark.apis.bounds import bound_request
from earmark.apis.contents import Contents
from earmark.apis.requests import RequestReading, read_body
from earmark.pricing.bound import ModelBound
from earmark.pricing.price import Price


def read(
    messages: Sequence[Any],
    options: Mapping[str, Any] | None = None,
    *,
    api: str = "openai",
    allowed: Collection[str] = (),
) -> RequestReading:
    """Return what is read of a body of *messages* and *options*."""
    body = {**(options or {}), "model": "m", "messages": messages}
    return read_body(api, body, allowed=allowed)


def read_request(
    messages: Sequence[Any], options: Mapping[str, Any], *, api: str = "openai"
) -> Contents:
    """Return what such a body holds."""
    return read(messages, options, api=api).contents


def request_tier(options: Mapping[str, Any]) -> str:
    """Return the tier such a body asks for."""
    of_anthropic = options.keys() & {"speed", "inference_geo"}
    return read([], options, api="anthropic" if of_anthropic else "openai").tier


def model_bound(
    price: Price,
    messages: Sequence[Any],
    *,
    max_output_tokens: int,
    api: str = "openai",
    choices: int = 1,
    options: Mapping[str, Any] | None = None,
    allowed_options: Collection[str] = (),
    extra_input_tokens: int | None = None,
    context_window: int | None = None,
) -> ModelBound:
    """Return the bound of such a body at *price*."""
    reading = read(messages, options, api=api, allowed=allowed_options)
    return bound_request(
        replace(reading, max_output_tokens=max_output_tokens, choices=choices),
        price,
        default_max_tokens=max(max_output_tokens, 1),
        extra_input_tokens=extra_input_tokens,
        context_window=context_window,
    )
