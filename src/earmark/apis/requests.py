"""What a model request holds, by its API's table: text, what needs a bound, what is refused."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, cast

from earmark.apis.api import request_table
from earmark.apis.options import TEXT, Option, RequestTable
from earmark.apis.output_limit import asked_output_tokens, whole_number
from earmark.errors import InvalidUsage
from earmark.pricing.bill import unpriced
from earmark.pricing.json_values import items, mapping
from earmark.pricing.units import MODALITIES, UNITS, Unit
from earmark.pricing.usage import LARGEST_COUNT, STANDARD, Usage, tier_name

#: Fields of the body that an SDK takes apart.
_BESIDE_THE_BODY: Final = frozenset({"extra_body", "extra_headers"})
#: Options that the reader looks at itself, and those that ask for a tier.
_TIERS: Final = ("service_tier", "speed")


@dataclass(slots=True)
class Contents:
    """What a request holds, sorted by how it can be bounded."""

    texts: list[str] = field(default_factory=list[str])
    """Plain texts of messages; a tokenizer counts each exactly."""
    json: str = ""
    """Everything else that becomes text, as JSON."""
    messages: int = 0
    has_schema: bool = False
    """Whether tools or an output schema add a hidden system prompt."""
    uncounted: list[str] = field(default_factory=list[str])
    """What needs an explicit bound, with its place."""
    modalities: set[str] = field(default_factory=lambda: {"text"})
    outputs: frozenset[str] = frozenset({"text"})
    asked_modalities: set[str] = field(default_factory=set[str])
    """`input_audio`, `output_audio` …: what the request names, which must have a price."""
    fees: dict[str, int] = field(default_factory=dict[str, int])
    loops: bool = False
    """Whether the provider samples several times, each with its own input."""
    caches: frozenset[str] = frozenset()
    """Lifetimes of the cache writes asked for."""
    least_output_tokens: int = 1
    """With fewer output tokens the provider refuses the request."""

    def never(self, provider: str) -> frozenset[str]:
        """Return the kinds of tokens and durations this request cannot be billed in."""
        return _never(provider, frozenset(self.modalities), self.outputs, self.caches)

    def needs(self) -> frozenset[str]:
        """Return the kinds this request asks for by name, which must have a price."""
        kinds = {"5m": "cache_write_tokens", "1h": "cache_write_1h_tokens"}
        caches = {kinds[ttl] for ttl in self.caches}
        return frozenset(caches | {f"{asked}_tokens" for asked in self.asked_modalities})


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
) -> RequestReading:
    """Return what the decoded request *body* holds, for `bound_request`.

    Args:
        api: `openai` (Chat Completions) or `anthropic` (Messages).
        body: The decoded JSON body, as it is sent.
        headers: The request's headers; those that change price or behaviour are options too.
        provider: Who is called, by the price list's id.
        model: The model, where the URL names it and not the body.
        allowed: Options beyond the table that the user vouches for: text at most.

    Raises:
        BudgetExceeded: With reason `unpriced`: an option, a content part or a tool that nothing
            bounds, or that no table lists; names its place and what to do.
        InvalidUsage: It is no request of this API, or there is no such API.
    """
    del headers, provider
    table = request_table(api)
    named = model or body.get("model")
    if not isinstance(named, str) or not named:
        raise InvalidUsage(detail="the request names no model")
    options = {name: value for name, value in body.items() if name != "messages"}
    return RequestReading(
        api=api,
        model=named,
        stream=bool(body.get("stream")),
        max_output_tokens=asked_output_tokens(table, body),
        choices=(whole_number(body, table.choices, least=1) or 1) if table.choices else 1,
        tier=request_tier(body),
        contents=read_request(
            _listed(body.get("messages"), "messages"), options, api=api, allowed=allowed
        ),
    )


def read_request(
    messages: Sequence[Any],
    options: Mapping[str, Any],
    *,
    api: str = "openai",
    allowed: Collection[str] = (),
) -> Contents:
    """Return what a request holds.

    Args:
        messages: What is sent.
        options: The other fields of the body; those of `extra_body` are among them.
        api: Whose table bounds it: `openai` or `anthropic`.
        allowed: Options beyond the table that somebody vouches for: text at most.

    Raises:
        BudgetExceeded: With reason `unpriced`: an option or a tool that nothing bounds, or that no
            table lists; names its place and what to do.
        InvalidUsage: It is no request: a message that is no object, a body that is no JSON.
    """
    try:
        return _read(messages, options, api, allowed)
    except RecursionError:
        raise InvalidUsage(detail="the request is nested too deeply") from None


def _read(
    messages: Sequence[Any],
    options: Mapping[str, Any],
    api: str,
    allowed: Collection[str],
) -> Contents:
    table = request_table(api)
    found = Contents(messages=len(messages))
    asked = _flat(options)
    if api == "openai":
        # Not said, a model that can may answer in any modality.
        found.outputs = frozenset(MODALITIES)
    rest = [_message(message, f"messages[{n}]", table, found) for n, message in enumerate(messages)]
    for name, value in asked.items():
        rule = table.options.get(name) or (TEXT if name in allowed else None)
        _option(name, value, rule, found)
    outputs = asked.get("modalities")
    if outputs:
        found.outputs = frozenset({"text", *(str(each).lower() for each in items(outputs))})
        found.asked_modalities |= {f"output_{each}" for each in found.outputs}
    for number, tool in enumerate(_listed(asked.get("tools"), "tools")):
        found.has_schema = True
        _tool(tool, f"tools[{number}]", table, found)
    thinking = mapping(asked.get("thinking")).get("budget_tokens")
    if isinstance(thinking, int):
        found.least_output_tokens = thinking + 1
    found.json = _to_json([rest, asked])
    found.caches = _cache_lifetimes(messages, asked)
    return found


def _option(place: str, value: object, rule: Option | None, found: Contents) -> None:
    """Sort one option, and what is in it, by its row; `None` is no row."""
    if value is None:
        return
    if rule is None:
        name = place.partition(".")[0]
        raise unpriced(
            f"option '{place}' is not known to be bounded: leave it out, or, if it adds text at"
            f' most, allow it: [providers.<name>.options] {name} = "text"'
        )
    for each in items(value) if _is_list(value) else (value,):
        _check_value(place, each, rule, found)
    if rule.effect == "refused" and value:
        raise unpriced(f"option '{place}': {rule.detail}")
    if rule.effect == "input" and value:
        _uncounted(found, rule.detail, frozenset(MODALITIES))
        found.loops = found.loops or rule.loops
    found.has_schema = found.has_schema or (rule.effect == "schema" and bool(value))


def _check_value(place: str, value: object, rule: Option, found: Contents) -> None:
    """Refuse a value that the option's row does not list, and sort the fields of an object."""
    if rule.values is not None and str(value).lower() not in rule.values:
        known = ", ".join(sorted(rule.values))
        raise unpriced(f"option '{place}' is {str(value)[:60]!r}; only {known} is bounded")
    if rule.fields is None:
        return
    if not isinstance(value, Mapping):
        raise InvalidUsage(detail=f"option '{place}' is no object")
    for name, inner in mapping(cast("object", value)).items():
        _option(f"{place}.{name}", inner, rule.fields.get(name), found)


def _message(
    message: object, place: str, table: RequestTable, found: Contents
) -> dict[str, Any] | None:
    """Return the message without what is counted elsewhere."""
    if not isinstance(message, Mapping):
        raise InvalidUsage(detail=f"{place} is no object with a role and a content")
    left: dict[str, Any] = {}
    for name, value in mapping(cast("object", message)).items():
        if name in table.message_fields:
            left[name] = value
        elif value:
            _uncounted(found, f"{place}.{name}", _modalities_named(name))
    content = left.get("content")
    if isinstance(content, str):
        found.texts.append(content)
        left["content"] = ""
    elif content is not None:
        left["content"] = _parts(items(content) or [content], f"{place}.content", table, found)
    return left


def _parts(
    parts: Iterable[object], place: str, table: RequestTable, found: Contents
) -> list[object]:
    kept = [_part(part, f"{place}[{n}]", table, found) for n, part in enumerate(parts)]
    return [part for part in kept if part is not None]


def _part(part: object, place: str, table: RequestTable, found: Contents) -> object:
    """Return one content part without what cannot be counted; `None` if that is all of it."""
    if isinstance(part, str):
        return part
    block = mapping(part)
    kind = str(block.get("type", ""))
    known = table.text_parts.get(kind)
    if known is None:
        named = table.media_parts.get(kind) or _modalities_named(kind)
        if kind in table.media_parts:
            found.asked_modalities |= {f"input_{each}" for each in named}
        _uncounted(found, f"{kind or 'content of no type'} at {place}", named)
        return None
    for name, value in block.items():
        if name != "type" and name not in known and value:
            _uncounted(found, f"{place}.{name}", frozenset(MODALITIES))
    inner = block.get("content")
    if inner is not None and not isinstance(inner, str):
        inside = _parts(items(inner) or [inner], f"{place}.content", table, found)
        return {**block, "content": inside}
    return block


def _modalities_named(what: str) -> frozenset[str]:
    """Return the modalities a name speaks of; all of them if it speaks of none: a file is any."""
    return frozenset(each for each in MODALITIES if each in what) or frozenset(MODALITIES)


def _uncounted(found: Contents, what: str, modalities: frozenset[str]) -> None:
    found.uncounted.append(what)
    found.modalities |= modalities


def _tool(tool: object, place: str, table: RequestTable, found: Contents) -> None:
    if not isinstance(tool, Mapping):
        raise InvalidUsage(detail=f"{place} is no object that describes a tool")
    described = mapping(cast("object", tool))
    kind = str(described.get("type") or "")
    if kind in table.function_tools or (not kind and {"name", "function"} & described.keys()):
        return
    if kind.startswith(table.client_tools) and table.client_tools:
        found.uncounted.append(f"tool {kind} at {place}")
        return
    rule = next((r for name, r in table.server_tools.items() if kind.startswith(name)), None)
    if rule is None:
        name = kind or ", ".join(described)[:60]
        raise unpriced(
            f"{place}, '{name}', costs what nothing bounds before the call: leave it out"
        )
    found.uncounted.append(f"tool {kind} at {place}")
    found.loops = True
    uses = described.get("max_uses")
    if rule.needs_max_uses and (type(uses) is not int or not 0 < uses <= LARGEST_COUNT):
        raise unpriced(f"{place}, '{kind}', has no maximum: give it max_uses")
    if rule.unit and isinstance(uses, int):
        found.fees[rule.unit] = found.fees.get(rule.unit, 0) + uses


def request_tier(options: Mapping[str, Any]) -> str:
    """Return the service tier a request asks for, for `PriceBook.resolve`."""
    asked = _flat(options)
    tiers = [tier_name(str(asked[key])) for key in _TIERS if asked.get(key)]
    if asked.get("inference_geo") == "us":
        tiers.append("inference_geo=us")
    return "+".join(tier for tier in tiers if tier != STANDARD) or STANDARD


def fees_of(found: Contents) -> Usage:
    """Return the units beside tokens the request may use up."""
    return Usage(found.fees)


def _flat(options: Mapping[str, Any]) -> dict[str, Any]:
    # The SDKs send `extra_body` as part of the body.
    own = {key: value for key, value in options.items() if key not in _BESIDE_THE_BODY}
    return {**own, **mapping(options.get("extra_body"))}


def _listed(value: object, place: str) -> Sequence[object]:
    if value is not None and not _is_list(value):
        raise InvalidUsage(detail=f"{place} is no list")
    return items(value)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _to_json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InvalidUsage(detail=f"the request is not JSON: {error}") from None


def _cache_lifetimes(*parts: object) -> frozenset[str]:
    """Return the lifetimes of the cache writes asked for, wherever in the request they stand."""
    found: set[str] = set()
    for part in parts:
        if isinstance(part, Mapping):
            inside = mapping(cast("object", part))
            control = inside.get("cache_control")
            if control is not None:
                found |= {"5m", "1h"} if mapping(control).get("ttl") == "1h" else {"5m"}
            found |= _cache_lifetimes(*inside.values())
        elif _is_list(part):
            found |= _cache_lifetimes(*items(part))
    return frozenset(found)


@lru_cache(maxsize=1024)
def _never(
    provider: str, inputs: frozenset[str], outputs: frozenset[str], caches: frozenset[str]
) -> frozenset[str]:
    return frozenset(
        kind
        for kind, unit in UNITS.items()
        if unit.family in {"tokens", "durations"}
        and _cannot(unit, provider, inputs, outputs, caches)
    )


def _cannot(
    unit: Unit,
    provider: str,
    inputs: frozenset[str],
    outputs: frozenset[str],
    caches: frozenset[str],
) -> bool:
    # A kind without a modality is for all of them.
    modality = unit.dimension("modality") or "text"
    if unit.dimension("direction") == "output":
        return modality not in outputs
    if unit.dimension("cache_ttl") == "1h" and "1h" not in caches:
        return True
    if unit.dimension("token_type") == "cache_write" and provider == "anthropic" and not caches:
        # Anthropic writes to the cache only where `cache_control` says so; others do by
        # themselves. Source: platform.claude.com, prompt caching, 2026-11.
        return True
    return modality not in inputs
