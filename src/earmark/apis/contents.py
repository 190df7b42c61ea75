"""Reads what a request holds by its API's table: text, what needs a bound, what is refused."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final, cast

import msgspec

from earmark.apis.options import (
    DEFAULT_MAX_TOOL_CALLS,
    INPUT,
    TEXT,
    Option,
    RequestTable,
    row_of_kind,
)
from earmark.apis.unlisted import check_allowed, check_no_client_argument, not_listed
from earmark.errors import InvalidUsage
from earmark.pricing.bill import unpriced
from earmark.pricing.json_values import items, mapping
from earmark.pricing.units import MODALITIES, UNITS, Unit
from earmark.pricing.usage import LARGEST_COUNT

#: Nothing is left to be counted as JSON; a value is sorted by its fields.
_NOTHING: Final = object()
_GO_ON: Final = object()
#: Values that ask for nothing.
_OFF: Final[tuple[object, ...]] = (None, "", False, 0, [])
_INDEX: Final = re.compile(r"\[\d+\]")
#: What ends the name of an option at the head of a place.
_OPTION: Final = re.compile(r"[.\[]")
#: What is compared with known names, and from when it may be one that was mistyped.
_LONGEST_NAME: Final = 60
_ASKED_ABOUT: Final = 8
_ALIKE: Final = 0.75
#: Effects that look at a list as a whole.
_WHOLE_LISTS: Final = frozenset({"tokens", "outputs", "thinking", "refused"})
_UNDERSCORE: Final = re.compile(r"_([a-z0-9])")


@dataclass(slots=True)
class Contents:
    """What a request holds, sorted by how it can be bounded."""

    texts: list[str] = field(default_factory=list[str])
    """Plain texts of messages; a tokenizer counts each exactly."""
    json: str = ""
    """Everything else that becomes text, as JSON."""
    rest: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The same by option, as the request names it."""
    tokens: int = 0
    """Tokens the request holds as such."""
    messages: int = 0
    has_template: bool = True
    """Whether the provider wraps the conversation in words of its own."""
    schemas: set[str] = field(default_factory=set[str])
    """The options with tools or an output schema, which add a hidden system prompt."""
    uncounted: list[str] = field(default_factory=list[str])
    """What needs an explicit bound, with its place."""
    modalities: set[str] = field(default_factory=lambda: {"text"})
    outputs: frozenset[str] = frozenset(MODALITIES)
    names_outputs: bool = False
    """Whether it says what the answer is to consist of."""
    asked_modalities: set[str] = field(default_factory=set[str])
    """`input_audio`, `output_audio` …: what the request names, which must have a price."""
    fees: dict[str, int] = field(default_factory=dict[str, int])
    loops: bool = False
    """Whether the provider samples several times, each with its own input."""
    rounds: int | None = 1
    """How often it samples at most; `None` if nothing says so."""
    compacts: bool = False
    """Whether each round may be preceded by one that summarises the conversation."""
    caches: frozenset[str] = frozenset()
    """Lifetimes of the cache writes asked for."""
    least_output_tokens: int = 1
    """With fewer output tokens the provider refuses the request."""

    def never(self, provider: str) -> frozenset[str]:
        """Return the kinds of tokens and durations this request cannot be billed in."""
        return _never(provider, frozenset(self.modalities), self.outputs, self.caches)

    def needs(self) -> frozenset[str]:
        """Return the kinds this request asks for by name, which must have a price."""
        lifetimes = {"5m": "cache_write_tokens", "1h": "cache_write_1h_tokens"}
        caches = {lifetimes[ttl] for ttl in self.caches}
        return frozenset(caches | {f"{asked}_tokens" for asked in self.asked_modalities})


def read_contents(
    api: str, table: RequestTable, body: Mapping[str, Any], allowed: Collection[str]
) -> Contents:
    """Return what *body* holds.

    Args:
        api: The API's name, for the advice in a refusal.
        table: Its table.
        body: The decoded body.
        allowed: Options beyond the table that the user vouches for, by name, or by path without
            indices: text at most.

    Raises:
        BudgetExceeded: With reason `unpriced`: something that nothing bounds; names its place.
        InvalidUsage: It is no request of this API, or no JSON.
    """
    reader = _Reader(api, table, body, allowed)
    try:
        return reader.read(body)
    except RecursionError:
        raise InvalidUsage(detail="the request is nested too deeply") from None


class _Reader:
    """Walks a body along its table once, and leaves out of it what is counted elsewhere."""

    def __init__(
        self, api: str, table: RequestTable, body: Mapping[str, Any], allowed: Collection[str]
    ) -> None:
        self.found = Contents(
            outputs=table.outputs,
            has_template=table.has_template,
        )
        self._api = api
        self._table = table
        self._allowed = allowed
        self._caches: set[str] = set()
        limit = body.get(table.tool_call_limit)
        self._tool_calls = DEFAULT_MAX_TOOL_CALLS if limit is None else limit
        self._calls_are_counted = False
        self._effects = {
            "prompt": self._prompt,
            "refused": self._refused,
            "schema": self._schema,
            "input": self._input,
            "cache": self._cache,
            "outputs": self._outputs,
            "thinking": self._thinking,
            "compaction": self._compaction,
            "tokens": self._tokens,
        }

    def read(self, body: Mapping[str, Any]) -> Contents:
        found = self.found
        found.messages = len(items(body.get(self._table.messages))) or 1
        left = self._fields(body, Option(fields=self._table.options), "")
        found.json, found.rest = to_json(left), left
        found.caches = frozenset(self._caches)
        return found

    def _fields(self, value: Mapping[str, Any], row: Option, place: str) -> dict[str, Any]:
        """Return *value* with each of its fields sorted by the row's table."""
        left: dict[str, Any] = {}
        known = row.fields or {}
        prefix = f"{place}." if place else ""
        for name, inner in value.items():
            rule = known.get(name)
            if rule is None:
                if inner is None:
                    continue
                rule = self._rule_of(str(name), value, row, f"{prefix}{name}")
                if rule is row.others:
                    if inner in _OFF:
                        continue
                    meant = self._meant(str(name), known) if rule.effect == "input" else ""
                    rule = replace(rule, detail=f"a member{meant}") if meant else rule
            kept = self._value(inner, rule, f"{prefix}{name}")
            if kept is not _NOTHING:
                left[name] = kept
        return left

    def _rule_of(self, name: str, value: Mapping[str, Any], row: Option, place: str) -> Option:
        """Return the rule of a field that stands under another spelling, or in no table."""
        known = row.fields or {}
        if self._table.camel_case:
            spelled = camel_case(name)
            if spelled in known and spelled in value:
                raise InvalidUsage(detail=f"{place} is there twice, as {spelled} too")
            if spelled in known:
                return known[spelled]
        check_no_client_argument(place)
        plain = _INDEX.sub("", place)
        if plain in self._allowed:
            check_allowed(plain, value.get(name))
            return TEXT
        if row.others is not None:
            return row.others
        raise not_listed(self._api, place, plain, known, name[:_LONGEST_NAME])

    def _meant(self, name: str, known: Collection[str]) -> str:
        """Return a question about the known name that *name* is nearly; empty where none is.

        Only a few names of a request are compared, and no long ones: it takes time.
        """
        if len(name) > _LONGEST_NAME or len(self.found.uncounted) >= _ASKED_ABOUT:
            return ""
        near = get_close_matches(name, known, n=1, cutoff=_ALIKE)
        return f" (did you mean '{near[0]}'?)" if near else ""

    def _value(self, value: object, rule: Option, place: str) -> object:
        """Sort a value by its rule; return what is left of it to be counted as JSON."""
        if value is None or rule is TEXT:
            return value
        if isinstance(value, list | tuple) and rule.effect not in _WHOLE_LISTS:
            listed = items(cast("object", value))
            kept = [self._one(each, rule, f"{place}[{n}]") for n, each in enumerate(listed)]
            return [each for each in kept if each is not _NOTHING]
        if rule.is_list:
            raise InvalidUsage(detail=f"{place} is no list")
        return self._one(cast("object", value), rule, place)

    def _one(self, value: object, rule: Option, place: str) -> object:
        """Sort one object or scalar by its rule, or by that of its type."""
        if rule.kinds is None:
            return self._apply(value, rule, place)
        if isinstance(value, str) and rule.effect == "prompt":
            self.found.texts.append(value)
            return ""
        part = mapping(value)
        row = row_of_kind(rule.kinds, part)
        if row is not None and (part or rule.others is None):
            return self._apply(value, row, place)
        name = str(part.get("type") or "")
        if rule.others is not None:
            if rule.others.effect != "input":
                return self._apply(value, rule.others, place)
            what = f"{name[:60] or 'content of no type'}{self._meant(name, rule.kinds)}"
            return self._bring(value, rule.others, f"{what} at {place}")
        if not isinstance(value, Mapping):
            raise InvalidUsage(detail=f"{place} is no object")
        what = f"'{name[:60] or ', '.join(part)[:60]}'{self._meant(name, rule.kinds)}"
        raise unpriced(f"{place}, {what}, costs what nothing bounds: leave it out")

    def _apply(self, value: object, rule: Option, place: str) -> object:
        """Do what a rule's effect says with a value that is no list."""
        if rule.values is not None and str(value).lower() not in rule.values:
            known = ", ".join(sorted(rule.values))
            raise unpriced(f"option '{place}' is {str(value)[:60]!r}; only {known} is bounded")
        if rule.holds and _is_stored(mapping(value), rule.holds):
            return self._bring(value, INPUT, f"an earlier item at {place}")
        effect = self._effects.get(rule.effect)
        if effect is not None:
            kept = effect(value, rule, place)
            if kept is not _GO_ON:
                return kept
        if rule.fields is None:
            return value
        if not isinstance(value, Mapping):
            raise InvalidUsage(detail=f"{place} is no object")
        return self._fields(mapping(cast("object", value)), rule, place)

    # Effects: each returns what is left to be counted as JSON, or `_GO_ON` for the fields.

    def _prompt(self, value: object, rule: Option, place: str) -> object:
        del rule, place
        if not isinstance(value, str):
            return _GO_ON
        self.found.texts.append(value)
        return ""

    def _refused(self, value: object, rule: Option, place: str) -> object:
        # An empty object switches most of these on.
        is_unbounded = not rule.unbounded or str(value).strip().lower() in rule.unbounded
        if is_unbounded and value not in _OFF:
            raise unpriced(f"option '{place}': {rule.detail}")
        return _GO_ON

    def _schema(self, value: object, rule: Option, place: str) -> object:
        del rule
        if value:
            self.found.schemas.add(_OPTION.split(place, maxsplit=1)[0])
        return _GO_ON

    def _input(self, value: object, rule: Option, place: str) -> object:
        if value in _OFF:
            return value
        if rule.fields is None:
            return self._bring(value, rule, f"{rule.detail} at {place}" if rule.detail else place)
        self._tool(mapping(value), rule, place)
        return _GO_ON

    def _bring(self, value: object, rule: Option, what: str) -> object:
        """Leave out what needs an explicit bound; a cache write may be asked for inside."""
        found = self.found
        found.uncounted.append(what)
        found.modalities |= rule.modalities
        found.asked_modalities |= {f"input_{each}" for each in rule.asked}
        self._caches |= _cache_lifetimes(value)
        if rule.loops:
            found.loops = True
            found.rounds = None
        return _NOTHING

    def _tool(self, tool: Mapping[str, Any], rule: Option, place: str) -> None:
        """Take in a tool that the provider runs: each use is a round, and maybe a fee."""
        found = self.found
        name = tool.get("type") or next(iter(tool), "")
        found.uncounted.append(f"tool {name} at {place}")
        if not rule.loops:
            return
        found.loops = True
        of_request = bool(rule.maximum) and rule.maximum == self._table.tool_call_limit
        uses = self._tool_calls if of_request else tool.get(rule.maximum)
        if type(uses) is not int or not 0 < uses <= LARGEST_COUNT:
            if rule.unit or uses is not None:
                raise unpriced(f"{place}, '{name}', has no maximum: give it {rule.maximum}")
            found.rounds = None
            return
        if rule.unit:
            found.fees[rule.unit] = found.fees.get(rule.unit, 0) + uses
        if found.rounds is not None and not (of_request and self._calls_are_counted):
            found.rounds += uses
        self._calls_are_counted = self._calls_are_counted or of_request

    def _cache(self, value: object, rule: Option, place: str) -> object:
        del rule, place
        self._caches |= _lifetimes(value)
        return _GO_ON

    def _outputs(self, value: object, rule: Option, place: str) -> object:
        """Take in the modalities asked for: text at least, and none that has no bound."""
        del rule
        # Google takes a single value for a list.
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list | tuple):
            raise InvalidUsage(detail=f"{place} is no list")
        asked = [str(each).lower() for each in items(cast("object", listed))]
        for each in asked:
            if each not in self._table.bounded_outputs:
                known = ", ".join(sorted(self._table.bounded_outputs))
                raise unpriced(f"option '{place}' is {each[:60]!r}; only {known} is bounded")
        if asked:
            self.found.outputs = frozenset({"text", *asked})
            self.found.names_outputs = True
            self.found.asked_modalities |= {f"output_{each}" for each in self.found.outputs}
        return _GO_ON

    def _thinking(self, value: object, rule: Option, place: str) -> object:
        del rule
        # Gemini's -1: as many as the model chooses.
        if type(value) is not int or value < -1:
            raise InvalidUsage(detail=f"{place} is {str(value)[:40]!r}; it is a whole number")
        least = min(value + 1, LARGEST_COUNT)
        self.found.least_output_tokens = max(self.found.least_output_tokens, least)
        return value

    def _compaction(self, value: object, rule: Option, place: str) -> object:
        del value, rule
        self.found.uncounted.append(f"a summary of the conversation at {place}")
        self.found.loops = True
        self.found.compacts = True
        return _GO_ON

    def _tokens(self, value: object, rule: Option, place: str) -> object:
        """Count whole numbers, however deep, as a token each, and texts among them as texts."""
        if isinstance(value, list | tuple):
            for n, each in enumerate(items(cast("object", value))):
                if type(each) is int:
                    self.found.tokens += 1
                else:
                    self._tokens(each, rule, f"{place}[{n}]")
        elif isinstance(value, str):
            self.found.texts.append(value)
        else:
            self._bring(value, INPUT, place)
        return _NOTHING


def to_json(value: object) -> str:
    """Return *value* as JSON text, with the blanks that a renderer puts between its members."""
    try:
        encoded = msgspec.json.encode(value)
    except (UnicodeEncodeError, OverflowError):
        return _to_json_slowly(value)
    except (TypeError, ValueError) as error:
        raise InvalidUsage(detail=f"the request is not JSON: {error}") from None
    return encoded.decode()


def _to_json_slowly(value: object) -> str:
    """Return JSON also of halves of surrogate pairs and of integers of any size."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InvalidUsage(detail=f"the request is not JSON: {error}") from None


def _is_stored(part: Mapping[str, Any], content: Collection[str]) -> bool:
    """Whether *part* is no more than the name of what the provider has stored."""
    return part.get("id") is not None and not all(map(part.get, content))


def _lifetimes(control: object) -> set[str]:
    return {"5m", "1h"} if mapping(control).get("ttl") == "1h" else {"5m"}


def _cache_lifetimes(*parts: object) -> set[str]:
    """Return the lifetimes of the cache writes asked for, wherever in *parts* they stand."""
    found: set[str] = set()
    for part in parts:
        if isinstance(part, Mapping):
            inside = mapping(cast("object", part))
            control = inside.get("cache_control")
            if control is not None:
                found |= _lifetimes(control)
            found |= _cache_lifetimes(*inside.values())
        elif isinstance(part, list | tuple):
            found |= _cache_lifetimes(*items(cast("object", part)))
    return found


def camel_case(name: str) -> str:
    """Return *name* without its underscores: `system_instruction` is `systemInstruction`."""
    return _UNDERSCORE.sub(lambda found: found[1].upper(), name)


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
