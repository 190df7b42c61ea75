"""Reads a request of an API as far as its bound needs it. Pure: no network, no price."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from earmark.apis.api import request_table
from earmark.apis.content_reader import read_contents
from earmark.apis.contents import Contents
from earmark.apis.kept import KeptTokens
from earmark.apis.options import RequestTable, allow_advice
from earmark.apis.output_limit import requested_output_tokens, value_at, whole_number
from earmark.apis.sdk_objects import not_json_error, sdk_object_to_json
from earmark.errors import InvalidUsage
from earmark.errors.inputs import quoted, shown
from earmark.pricing.json_values import copy_json
from earmark.pricing.rates import unpriced
from earmark.pricing.usage import STANDARD, tier_name


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReading:
    """A request as far as its bound needs it."""

    api: str
    model: str
    """The model it names, as it names it."""
    stream: bool
    max_output_tokens: int | None
    """The limit per choice that it asks for, thinking included; `None` if it names none."""
    choices: int
    tier: str
    """The service tier it asks for, for `PriceBook.resolve`."""
    contents: Contents

    @property
    def cache_lifetime(self) -> str:
        """The longest cache lifetime it asks for, for `read_reply`: `1h`, `5m` or empty."""
        return next((ttl for ttl in ("1h", "5m") if ttl in self.contents.caches), "")


def read_body(
    api: str,
    body: Mapping[str, Any],
    *,
    headers: Mapping[str, str] | None = None,
    provider: str = "",
    model: str | None = None,
    allowed: Collection[str] = (),
    kept: KeptTokens | None = None,
) -> RequestReading:
    """Return what the decoded request *body* holds, for `bound_request`.

    Args:
        api: The API's name: one of `earmark.apis.api.APIS` that has a request table.
        body: The decoded JSON body, as it is sent.
        headers: The request's headers; those that alter price or behaviour are options too.
        provider: Who is called, by the price list's id: a text; no bound depends on it.
        model: The model, where the URL names it and not the body.
        allowed: Options beyond the table that the user vouches for, by name or by path without
            indices, and values of headers such as a beta's name: text at most.
        kept: What the provider keeps that *body* may name; `None` for all, at a bound of its own.

    Raises:
        BudgetExceeded: With reason `unpriced`: an option, a content part, a tool or a header that
            nothing bounds, or that no table lists; names its place and what to do.
        InvalidUsage: It is no request of this API, or there is no such API.
    """
    table = request_table(api)
    _check_types(body, headers or {}, provider, allowed)
    named = request_model(body, model, provider)
    if not isinstance(body.get(table.messages), str | list | tuple):
        detail = f"{table.messages} is no list, as a request to API '{api}' has one"
        raise InvalidUsage(detail=detail)
    _check_headers(api, table, headers or {}, allowed)
    contents = read_contents(api, table, body, allowed, kept)
    output = requested_output_tokens(table, body)
    if table.fixed_output is not None:
        output = contents.least_output_tokens = table.fixed_output(body, named)
    if table.billed_units is not None:
        contents.fees.update(table.billed_units(body))
    return RequestReading(
        api=api,
        model=named,
        stream=bool(body.get("stream")),
        max_output_tokens=output,
        choices=(whole_number(body, table.choices, minimum=1) or 1) if table.choices else 1,
        tier=_tier(table, body),
        contents=contents,
    )


def request_model(body: Mapping[str, Any], model: str | None, provider: str) -> str:
    """Return the model that *body* is for: *model* where the URL names it, else the body's.

    Raises:
        InvalidUsage: Neither is named, or each names another. At Azure the body may name a
            deployment, which the URL names too: *model* says what it is.
    """
    inside = body.get("model")
    named = model or inside
    if not isinstance(named, str) or not named:
        raise InvalidUsage(detail="the request names no model")
    if inside is not None and inside != named and provider != "azure":
        detail = f"the body names model '{shown(inside)}', and model= '{shown(named)}': give one"
        raise InvalidUsage(detail=detail)
    return named


def copy_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of *body* that shares nothing with it that can change.

    Taken before a request is bounded, it makes what is sent what was bounded. Objects of an SDK
    are read as the JSON that it sends for them.

    Raises:
        InvalidUsage: It is nested too deeply, holds itself, or holds what is no JSON.
    """
    try:
        return copy_json(body, sdk_object_to_json)
    except TypeError:
        raise not_json_error(body) from None
    except RecursionError:
        raise InvalidUsage(detail="the request is nested too deeply: use fewer levels") from None


def tier_to_bill(api: str, body: Mapping[str, Any], provider: str) -> str:
    """Return the tier that *body* is billed at as it is, for `PriceBook.resolve`.

    Where it leaves the tier to the account, that is what *provider* makes of it;
    `with_output_limit` adds the standard one instead.

    Raises:
        InvalidUsage: It names what is no tier.
    """
    table = request_table(api)
    asked = _tier(table, body)
    if any(value_at(body, path) for path in table.tiers):
        return asked
    return table.unset_tiers.get(provider, asked)


def _check_types(body: object, headers: object, provider: object, allowed: object) -> None:
    """Refuse arguments that are not what they are declared to be, which have no bound."""
    for name, value, kind, what in (
        ("the request is", body, Mapping, "a JSON object"),
        ("the headers are", headers, Mapping, "a mapping"),
        ("provider is", provider, str, "a text"),
    ):
        if not isinstance(value, kind):
            raise InvalidUsage(detail=f"{name} {type(value).__name__}, not {what}")
    if isinstance(allowed, str | bytes) or not isinstance(allowed, Collection):
        # Of a bare text, every part would be allowed.
        detail = f"the allowed options are {quoted(allowed)}, not a collection of their names"
        raise InvalidUsage(detail=detail)
    for name, value in cast("Mapping[object, object]", headers).items():
        if not isinstance(name, str) or not isinstance(value, str):
            wrong = type(value if isinstance(name, str) else name).__name__
            raise InvalidUsage(detail=f"the header {str(name)!r} is {wrong}, not a text")


def _check_headers(
    api: str, table: RequestTable, headers: Mapping[str, str], allowed: Collection[str]
) -> None:
    """Refuse values that alter the bill without bound, or that no table lists, of its headers.

    A header that the table does not name passes: it is none that alters price or behaviour.
    """
    for name, value in headers.items():
        known = table.headers.get(name.lower())
        for each in value.split(",") if known is not None else ():
            beta = each.strip()
            row = (known or {}).get(beta)
            if row is None and beta and beta not in allowed:
                raise unpriced(
                    f"header '{name.lower()}: {beta[:60]}' is not known to be bounded: leave it"
                    f" out, or, if it adds text at most, allow it: {allow_advice(api, beta[:60])}"
                )
            if row is not None and row.effect == "refused":
                raise unpriced(f"header '{name.lower()}: {beta}': {row.detail}")


def _tier(table: RequestTable, body: Mapping[str, Any]) -> str:
    """Return the service tier a request asks for; every option that alters the rate is part."""
    tiers: list[str] = []
    for path in table.tiers:
        asked = value_at(body, path)
        if asked is not None and (not isinstance(asked, str) or not asked):
            raise InvalidUsage(detail=f"{path} is {str(asked)[:40]!r}, not the name of a tier")
        tiers += [tier_name(asked)] if asked else []
    if str(body.get("inference_geo")).lower() == "us":
        tiers.append("inference_geo=us")
    return "+".join(tier for tier in tiers if tier != STANDARD) or STANDARD
