"""Reads a request by its API's table: text, what needs a bound, what is refused."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, Final, cast

import msgspec

from earmark.apis.contents import Contents
from earmark.apis.kept import KeptTokens, kept_tokens
from earmark.apis.options import (
    DEFAULT_MAX_TOOL_CALLS,
    INPUT,
    TEXT,
    Option,
    RequestTable,
    row_of_kind,
)
from earmark.apis.unlisted_options import check_allowed, check_no_client_argument, unlisted_refusal
from earmark.errors import InvalidUsage
from earmark.pricing.json_values import items, mapping
from earmark.pricing.rates import unpriced
from earmark.pricing.usage import LARGEST_COUNT

#: A value is removed from what is counted as JSON; a value is read field by field.
_REMOVED: Final = object()
_READ_FIELDS: Final = object()
#: Values that leave an option unset.
_UNSET: Final[tuple[object, ...]] = (None, "", False, 0, [])
_INDEX: Final = re.compile(r"\[\d+\]")
#: What ends the name of the option at the head of a path.
_OPTION: Final = re.compile(r"[.\[]")
#: Names that are compared with known ones, and how similar a suggestion is at least.
_MAX_NAME: Final = 60
_MAX_SUGGESTIONS: Final = 8
_SIMILARITY: Final = 0.75
#: Effects that read a list as a whole.
_WHOLE_LISTS: Final = frozenset({"tokens", "outputs", "thinking", "refused"})
#: An unlisted member that may name what a provider keeps.
_NAMES_ONE: Final = re.compile(r"ids?$", re.IGNORECASE)
_UNDERSCORE: Final = re.compile(r"_([a-z0-9])")


def read_contents(
    api: str,
    table: RequestTable,
    body: Mapping[str, Any],
    allowed: Collection[str],
    kept: KeptTokens | None = None,
) -> Contents:
    """Return what *body* holds.

    Args:
        api: The API's name, for the advice in a refusal.
        table: Its table.
        body: The decoded body.
        allowed: Options beyond the table that the user vouches for, by name, or by path without
            indices: text at most.
        kept: What the provider keeps that it may name; `None` for all, at a bound of its own.

    Raises:
        BudgetExceeded: With reason `unpriced`: something that nothing bounds; names its path.
        InvalidUsage: It is no request of this API, or no JSON.
    """
    reader = _Reader(api, table, body, allowed, kept)
    try:
        return reader.read(body)
    except RecursionError:
        raise InvalidUsage(detail="the request is nested too deeply: use fewer levels") from None


class _Reader:
    """Reads a body by its table in one pass, and removes what is counted elsewhere."""

    def __init__(
        self,
        api: str,
        table: RequestTable,
        body: Mapping[str, Any],
        allowed: Collection[str],
        kept: KeptTokens | None,
    ) -> None:
        self.contents = Contents(
            outputs=table.outputs,
            has_template=table.has_template,
        )
        self._api = api
        self._table = table
        self._allowed = allowed
        self._kept = kept
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
        contents = self.contents
        contents.messages = len(items(body.get(self._table.messages))) or 1
        remaining = self._read_fields(body, Option(fields=self._table.options), "")
        contents.json, contents.json_options = to_json(remaining), remaining
        contents.caches = frozenset(self._caches)
        return contents

    def _read_fields(self, value: Mapping[str, Any], row: Option, path: str) -> dict[str, Any]:
        """Return *value* with each of its fields read by the table of *row*."""
        remaining: dict[str, Any] = {}
        known = row.fields or {}
        prefix = f"{path}." if path else ""
        for name, inner in value.items():
            rule = known.get(name)
            if rule is None:
                if inner is None:
                    continue
                rule = self._find_rule(str(name), value, row, f"{prefix}{name}")
                if rule is row.others:
                    if inner in _UNSET:
                        continue
                    suggestion = (
                        self._suggestion(str(name), known) if rule.effect == "input" else ""
                    )
                    rule = replace(rule, detail=f"a member{suggestion}") if suggestion else rule
                    if rule.effect == "input" and _NAMES_ONE.search(str(name)):
                        rule = replace(rule, kept=True)
            remaining_value = self._read_value(inner, rule, f"{prefix}{name}")
            if remaining_value is not _REMOVED:
                remaining[name] = remaining_value
        return remaining

    def _find_rule(self, name: str, value: Mapping[str, Any], row: Option, path: str) -> Option:
        """Return the rule of a field in another spelling, or of one that no table lists."""
        known = row.fields or {}
        if self._table.camel_case:
            spelled = camel_case(name)
            if spelled in known and spelled in value:
                raise InvalidUsage(detail=f"{path} is there twice, as {spelled} too")
            if spelled in known:
                return known[spelled]
        check_no_client_argument(path)
        bare_path = _INDEX.sub("", path)
        if bare_path in self._allowed:
            check_allowed(bare_path, value.get(name))
            return TEXT
        if row.others is not None:
            return row.others
        raise unlisted_refusal(self._api, path, bare_path, known, name[:_MAX_NAME])

    def _suggestion(self, name: str, known: Collection[str]) -> str:
        """Return "did you mean …" with the known name most similar to *name*; empty for none.

        Only the first few names of a request are compared, and no long ones: it takes time.
        """
        if len(name) > _MAX_NAME or len(self.contents.uncounted) >= _MAX_SUGGESTIONS:
            return ""
        near = get_close_matches(name, known, n=1, cutoff=_SIMILARITY)
        return f" (did you mean '{near[0]}'?)" if near else ""

    def _read_value(self, value: object, rule: Option, path: str) -> object:
        """Read a value by its rule; return what remains to be counted as JSON."""
        if value is None or rule is TEXT:
            return value
        if isinstance(value, list | tuple) and rule.effect not in _WHOLE_LISTS:
            listed = items(cast("object", value))
            remaining_value = [
                self._read_one(each, rule, f"{path}[{n}]") for n, each in enumerate(listed)
            ]
            return [each for each in remaining_value if each is not _REMOVED]
        if rule.is_list:
            raise InvalidUsage(detail=f"{path} is no list")
        return self._read_one(cast("object", value), rule, path)

    def _read_one(self, value: object, rule: Option, path: str) -> object:
        """Read one object or scalar by its rule, or by that of its type."""
        if rule.kinds is None:
            return self._apply_effect(value, rule, path)
        if isinstance(value, str) and rule.effect == "prompt":
            self.contents.texts.append(value)
            return ""
        part = mapping(value)
        row = row_of_kind(rule.kinds, part)
        if row is not None and (part or rule.others is None):
            return self._apply_effect(value, row, path)
        name = str(part.get("type") or "")
        if rule.others is not None:
            if rule.others.effect != "input":
                return self._apply_effect(value, rule.others, path)
            if (rule.others.kept or part) and self._is_counted(value, rule.others, path):
                return _REMOVED
            description = f"{name[:60] or 'content of no type'}{self._suggestion(name, rule.kinds)}"
            return self._add_uncounted(value, rule.others, f"{description} at {path}")
        if not isinstance(value, Mapping):
            raise InvalidUsage(detail=f"{path} is no object")
        description = f"'{name[:60] or ', '.join(part)[:60]}'{self._suggestion(name, rule.kinds)}"
        raise unpriced(f"{path}, {description}, costs what nothing bounds: leave it out")

    def _is_counted(self, value: object, rule: Option, path: str) -> bool:
        """Return whether *value* names what the provider keeps and is known here: it is counted.

        Raises:
            BudgetExceeded: It names what this request may not name.
        """
        if self._kept is None:
            return False
        tokens = kept_tokens(value, self._kept, path)
        if tokens is None:
            return False
        self.contents.kept_tokens += tokens
        self.contents.modalities |= rule.modalities
        return True

    def _apply_effect(self, value: object, rule: Option, path: str) -> object:
        """Apply the effect of a rule to a value that is no list."""
        if rule.values is not None and str(value).lower() not in rule.values:
            known = ", ".join(sorted(rule.values))
            raise unpriced(f"option '{path}' is {str(value)[:60]!r}; only {known} is bounded")
        is_stored = bool(rule.holds) and _is_stored(mapping(value), rule.holds)
        if (rule.kept or is_stored) and self._is_counted(value, rule, path):
            return _REMOVED
        if is_stored:
            return self._add_uncounted(value, INPUT, f"an earlier item at {path}")
        effect = self._effects.get(rule.effect)
        if effect is not None:
            remaining_value = effect(value, rule, path)
            if remaining_value is not _READ_FIELDS:
                return remaining_value
        if rule.fields is None:
            return value
        if not isinstance(value, Mapping):
            raise InvalidUsage(detail=f"{path} is no object")
        return self._read_fields(mapping(cast("object", value)), rule, path)

    # Effects: each returns what remains to be counted as JSON, or `_READ_FIELDS`.

    def _prompt(self, value: object, rule: Option, path: str) -> object:
        del rule, path
        if not isinstance(value, str):
            return _READ_FIELDS
        self.contents.texts.append(value)
        return ""

    def _refused(self, value: object, rule: Option, path: str) -> object:
        # An empty object switches most of these on.
        is_unbounded = not rule.unbounded or str(value).strip().lower() in rule.unbounded
        if is_unbounded and value not in _UNSET:
            raise unpriced(f"option '{path}': {rule.detail}")
        return _READ_FIELDS

    def _schema(self, value: object, rule: Option, path: str) -> object:
        del rule
        if value:
            self.contents.schemas.add(_OPTION.split(path, maxsplit=1)[0])
        return _READ_FIELDS

    def _input(self, value: object, rule: Option, path: str) -> object:
        if value in _UNSET:
            return value
        if rule.fields is None:
            return self._add_uncounted(
                value, rule, f"{rule.detail} at {path}" if rule.detail else path
            )
        self._add_tool(mapping(value), rule, path)
        return _READ_FIELDS

    def _add_uncounted(self, value: object, rule: Option, description: str) -> object:
        """Remove what needs an explicit bound; it may request a cache write inside."""
        contents = self.contents
        contents.uncounted.append(description)
        contents.modalities |= rule.modalities
        contents.requested_modalities |= {f"input_{each}" for each in rule.requested}
        self._caches |= _cache_lifetimes(value)
        if rule.loops:
            contents.loops = True
            contents.rounds = None
        return _REMOVED

    def _add_tool(self, tool: Mapping[str, Any], rule: Option, path: str) -> None:
        """Add a tool that the provider runs: each use is a round, and may be a fee."""
        contents = self.contents
        name = tool.get("type") or next(iter(tool), "")
        contents.uncounted.append(f"tool {name} at {path}")
        if not rule.loops:
            return
        contents.loops = True
        of_request = bool(rule.maximum) and rule.maximum == self._table.tool_call_limit
        uses = self._tool_calls if of_request else tool.get(rule.maximum)
        if type(uses) is not int or not 0 < uses <= LARGEST_COUNT:
            if rule.unit or uses is not None:
                raise unpriced(f"{path}, '{name}', has no maximum: give it {rule.maximum}")
            contents.rounds = None
            return
        if rule.unit:
            contents.fees[rule.unit] = contents.fees.get(rule.unit, 0) + uses
        if contents.rounds is not None and not (of_request and self._calls_are_counted):
            contents.rounds += uses
        self._calls_are_counted = self._calls_are_counted or of_request

    def _cache(self, value: object, rule: Option, path: str) -> object:
        del rule, path
        self._caches |= _lifetimes(value)
        return _READ_FIELDS

    def _outputs(self, value: object, rule: Option, path: str) -> object:
        """Read the requested modalities: text always, and none without a bound."""
        del rule
        # Google takes a single value for a list.
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list | tuple):
            raise InvalidUsage(detail=f"{path} is no list")
        requested = [str(each).lower() for each in items(cast("object", listed))]
        for each in requested:
            if each not in self._table.bounded_outputs:
                known = ", ".join(sorted(self._table.bounded_outputs))
                raise unpriced(f"option '{path}' is {each[:60]!r}; only {known} is bounded")
        if requested:
            self.contents.outputs = frozenset({"text", *requested})
            self.contents.names_outputs = True
            self.contents.requested_modalities |= {
                f"output_{each}" for each in self.contents.outputs
            }
        return _READ_FIELDS

    def _thinking(self, value: object, rule: Option, path: str) -> object:
        del rule
        # Gemini's -1: as many as the model chooses.
        if type(value) is not int or value < -1:
            raise InvalidUsage(detail=f"{path} is {str(value)[:40]!r}; it is a whole number")
        minimum = min(value + 1, LARGEST_COUNT)
        self.contents.least_output_tokens = max(self.contents.least_output_tokens, minimum)
        return value

    def _compaction(self, value: object, rule: Option, path: str) -> object:
        del value, rule
        self.contents.uncounted.append(f"a summary of the conversation at {path}")
        self.contents.loops = True
        self.contents.compacts = True
        return _READ_FIELDS

    def _tokens(self, value: object, rule: Option, path: str) -> object:
        """Count whole numbers, however deep, as a token each, and texts among them as texts."""
        if isinstance(value, list | tuple):
            for n, each in enumerate(items(cast("object", value))):
                if type(each) is int:
                    self.contents.tokens += 1
                else:
                    self._tokens(each, rule, f"{path}[{n}]")
        elif isinstance(value, str):
            self.contents.texts.append(value)
        else:
            self._add_uncounted(value, INPUT, path)
        return _REMOVED


def to_json(value: object) -> str:
    """Return *value* as JSON text."""
    try:
        encoded = msgspec.json.encode(value)
    except (UnicodeEncodeError, OverflowError):
        return _to_json_slowly(value)
    except (TypeError, ValueError) as error:
        raise InvalidUsage(detail=f"the request is not JSON: {error}") from None
    return encoded.decode()


def _to_json_slowly(value: object) -> str:
    """Return JSON also of unpaired surrogates and of integers of any size."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InvalidUsage(detail=f"the request is not JSON: {error}") from None


def _is_stored(part: Mapping[str, Any], content: Collection[str]) -> bool:
    """Whether *part* only references content that the provider has stored."""
    return part.get("id") is not None and not all(map(part.get, content))


def _lifetimes(control: object) -> set[str]:
    return {"5m", "1h"} if mapping(control).get("ttl") == "1h" else {"5m"}


def _cache_lifetimes(*parts: object) -> set[str]:
    """Return the lifetimes of the cache writes requested anywhere in *parts*."""
    lifetimes: set[str] = set()
    for part in parts:
        if isinstance(part, Mapping):
            inside = mapping(cast("object", part))
            control = inside.get("cache_control")
            if control is not None:
                lifetimes |= _lifetimes(control)
            lifetimes |= _cache_lifetimes(*inside.values())
        elif isinstance(part, list | tuple):
            lifetimes |= _cache_lifetimes(*items(cast("object", part)))
    return lifetimes


def camel_case(name: str) -> str:
    """Return *name* without its underscores: `system_instruction` is `systemInstruction`."""
    return _UNDERSCORE.sub(lambda match: match[1].upper(), name)
