"""Reads the counters of a reply by a table; a counter that no table lists is never dropped.

Each API has a `CounterTable`: the path of every counter its replies hold, and the kinds of
`earmark.pricing.units` it counts towards. A non-zero number at any other path makes the cost
unknown, and the reading names it.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Any, Final, TypeGuard

from earmark.errors import InvalidUsage
from earmark.errors.inputs import shown
from earmark.pricing.json_values import items, mapping

#: No provider nests its counters deeper; what lies beneath is reported as unknown.
_DEEPEST: Final = 6
#: So many unknown counters are named in one sentence.
_MAX_NAMED: Final = 5
_MAX_NAME: Final = 100
#: Far above the largest count of a `Usage`: what is as large is quick to write and slow to add.
_ABSURD: Final = 10**30
#: Types that hold nothing: most members of a usage, which is read once for each call.
_SCALAR_TYPES: Final = frozenset({int, float, bool, str, type(None)})
#: A text that is a number in the digits of any script; `²` is a digit and no number. The separators
#: U+001C to U+001F are spaces to `\s`, and none to `float`.
_NUMBER: Final = re.compile(r"[^\S\x1c-\x1f]*[+-]?(?:\d+\.?\d*|\.\d+)[^\S\x1c-\x1f]*")


@dataclass(frozen=True, slots=True)
class Counter:
    """The kinds a counter adds to; none if its units are in other counters, or cost nothing."""

    kinds: tuple[str, ...] = ()
    alias_of: str = ""
    """Counters with one alias are names of one number: the largest of them counts."""
    explains_total: bool = False
    """Whether tokens that only the total shows are billed by this counter, not as output."""


def counter(*kinds: str, alias_of: str = "", explains_total: bool = False) -> Counter:
    """Return a counter of *kinds*: a part is counted towards its whole where the API says so."""
    return Counter(kinds, alias_of, explains_total)


#: A counter whose units are part of another one's, or that costs nothing.
INFORMATION: Final = Counter()


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterTable:
    """Every counter of one API's usage object."""

    counters: Mapping[str, Counter]
    """By path, with dots: `prompt_tokens_details.cached_tokens`."""
    required: tuple[str, ...]
    """Counters without which the usage is no usage of this API."""
    output: tuple[str, ...] = ()
    """Counters of the output, or of all: without one of them nobody counted what was written."""
    total: str = ""
    """The counter of all tokens; what it has beyond input and output is billed as output."""
    labels: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    """For a list of counters: the members that hold a counter's name and its number.

    `promptTokensDetails: [{"modality": "TEXT", "tokenCount": 9}]` is read as the path
    `promptTokensDetails.TEXT`.
    """

    def merged(self, more: Mapping[str, Counter]) -> "CounterTable":
        """Return this table with the counters of one provider in it; they come first."""
        return CounterTable(
            counters={**self.counters, **more},
            required=self.required,
            output=self.output,
            total=self.total,
            labels=self.labels,
        )


@dataclass(frozen=True, slots=True)
class CounterReading:
    """What a table makes of a usage object."""

    counts: dict[str, int]
    unknown: tuple[str, ...] = ()
    """`path = number` of each non-zero counter that the table does not list."""


@dataclass(frozen=True, slots=True)
class Fees:
    """What only the content of a reply shows that is billed beside its tokens."""

    units: Mapping[str, int] = field(default_factory=dict[str, int])
    """Uses by kind; a usage may show the same uses."""
    unknown: tuple[str, ...] = ()
    """What is billed, or may be, and no counter and no kind of unit pays for, by its place."""

    @classmethod
    def of(cls, units: Mapping[str, int], unknown: Iterable[str]) -> "Fees":
        """Return the fees, of what is not known the first few."""
        return cls(units, tuple(each[:_MAX_NAME] for each in islice(unknown, _MAX_NAMED)))


def read_counters(usage: Mapping[str, Any], table: CounterTable) -> CounterReading:
    """Return the units of *usage* by kind, and the counters that *table* does not list.

    Raises:
        InvalidUsage: A required counter is missing, or a listed one is not a number.
    """
    for name in table.required:
        if usage.get(name) is None:
            raise InvalidUsage(detail=f"the usage has no {name}")
    if table.output and all(usage.get(name) is None for name in table.output):
        raise InvalidUsage(detail=f"the usage has no {table.output[0]}")
    found: dict[str, int] = {}
    kinds: dict[str, tuple[str, ...]] = {}
    unknown: list[str] = []
    is_explained = False
    for path, value in _leaves(usage, table, ""):
        counter = table.counters.get(path)
        if counter is None:
            if _is_counter(value):
                unknown.append(f"{path[:_MAX_NAME]} = {shown(value)[:20]}")
        elif counter.kinds and value is not None:
            name = counter.alias_of or path
            is_time = any(kind.endswith("_seconds") for kind in counter.kinds)
            count = _rounded_up(path, value) if is_time else _whole_count(path, value)
            found[name] = max(found.get(name, 0), count)
            kinds[name] = counter.kinds
            is_explained |= counter.explains_total and found[name] > 0
    total: dict[str, int] = {}
    for name, number in found.items():
        for kind in kinds[name]:
            total[kind] = total.get(kind, 0) + number
    counted = total if is_explained else _with_unreported_output(total, usage, table)
    return CounterReading(counted, tuple(unknown[:_MAX_NAMED]))


def _leaves(value: object, table: CounterTable, path: str) -> Iterator[tuple[str, object]]:
    """Yield the path and value of everything in *value* that is no object and no list.

    An object or a list that the table lists as a whole is left out.
    """
    if path in table.counters and isinstance(value, Mapping | list | tuple):
        return
    if path.count(".") + path.count("[") >= _DEEPEST:
        yield path, value
    elif found := mapping(value):
        for key, inner in found.items():
            inner_path = f"{path}.{key}" if path else str(key)
            if type(inner) in _SCALAR_TYPES:
                yield inner_path, inner
            else:
                yield from _leaves(inner, table, inner_path)
    elif listed := items(value):
        yield from _listed(path, listed, table)
    else:
        yield path, value


def _listed(
    path: str, listed: Sequence[object], table: CounterTable
) -> Iterator[tuple[str, object]]:
    """Yield the counters of a list: by their labels where the table names such, else by place."""
    label, number = table.labels.get(path, ("", ""))
    sums: dict[str, int] = {}
    for index, each in enumerate(listed):
        entry = mapping(each)
        if label and set(entry) == {label, number}:
            labelled = f"{path}.{entry[label]}"
            sums[labelled] = sums.get(labelled, 0) + _whole_count(labelled, entry[number] or 0)
        else:
            yield from _leaves(each, table, f"{path}[{index}]")
    yield from sums.items()


def _is_counter(value: object) -> bool:
    """Whether *value* counts something: a number that is not zero, or what may hide one."""
    if isinstance(value, bool) or not value:
        return False
    if isinstance(value, str):
        return _NUMBER.fullmatch(value) is not None and float(value) != 0
    return True


def _whole_count(path: str, value: object) -> int:
    """Return a count, which is a whole number however it is written: `9.0` is one."""
    count = _rounded_up(path, value)
    if count == value:
        return count
    raise InvalidUsage(detail=f"{path} is {shown(value)!r}; a count is a whole number")


def _rounded_up(path: str, value: object) -> int:
    """Return a duration in whole seconds, counted up."""
    if is_number(value) and 0 <= value < _ABSURD:
        return math.ceil(value)
    raise InvalidUsage(detail=f"{path} is {shown(value)!r}; a count is a whole number")


def _with_unreported_output(
    counted: dict[str, int], usage: Mapping[str, Any], table: CounterTable
) -> dict[str, int]:
    """Count tokens that only the total shows as output.

    Google's OpenAI-compatible API leaves reasoning out of `completion_tokens` and bills it.
    """
    total = usage.get(table.total) if table.total else None
    if total is None:
        return counted
    known = counted.get("input_tokens", 0) + counted.get("output_tokens", 0)
    hidden = _whole_count(table.total, total) - known
    if hidden > 0:
        counted["output_tokens"] = counted.get("output_tokens", 0) + hidden
    return counted


def larger_counts(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return two usages of one reply as one: of each counter the larger, of all else the later.

    A stream's usages are cumulative, but some servers repeat a counter as 0 or leave it out. List
    entries count the same where their texts are equal, such as `{"modality": "TEXT"}`.
    """
    return _merged(before, after, max, 1)


def summed_counts(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the usages of two replies as one: of each counter the sum, of all else the later."""
    return _merged(before, after, _sum, 1)


def _sum(first: Any, then: Any) -> Any:  # noqa: ANN401 - a JSON number
    if type(first) is int and type(then) is int:
        return first + then
    # The text of a float is its shortest decimal.
    return Decimal(str(first)) + Decimal(str(then))


def _merged(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    combine: Callable[[Any, Any], Any],
    depth: int,
) -> dict[str, Any]:
    merged: dict[str, Any] = dict(before)
    for name, value in after.items():
        merged[name] = _merged_value(merged.get(name), value, combine, depth)
    return merged


def larger_members(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object that `json.loads` read *pairs* of: of two of one name the larger counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        found = {}
        for name, value in pairs:
            found = larger_counts(found, {name: value})
    return found


def _merged_value(
    before: object, after: object, combine: Callable[[Any, Any], Any], depth: int
) -> Any:  # noqa: ANN401 - a JSON value
    if type(before) is int and type(after) is int:
        return combine(before, after)
    if after is None or depth > _DEEPEST:
        return before if after is None else after
    objects = mapping(before), mapping(after)
    if all(objects):
        return _merged(*objects, combine, depth + 1)
    lists = items(before), items(after)
    if all(lists):
        return _merged_entries(*lists, combine, depth)
    if is_number(before) and is_number(after):
        return combine(before, after)
    holds_counters = bool(objects[0] or lists[0])
    return before if holds_counters and not after else after


def is_number(value: object) -> TypeGuard[int | float | Decimal]:
    """Whether a JSON value is a number, and a finite one where it is a `Decimal`."""
    if isinstance(value, Decimal):
        return value.is_finite()
    return isinstance(value, int | float) and not isinstance(value, bool)


def _merged_entries(
    before: Sequence[Any], after: Sequence[Any], combine: Callable[[Any, Any], Any], depth: int
) -> list[Any]:
    merged: dict[object, Any] = dict(_by_texts(before))
    for texts, entry in _by_texts(after):
        merged[texts] = _merged_value(merged.get(texts), entry, combine, depth + 1)
    return list(merged.values())


def _by_texts(entries: Sequence[Any]) -> Iterator[tuple[object, Any]]:
    """Yield each entry with its texts, and how many of the same texts came before it."""
    seen: dict[object, int] = {}
    for entry in entries:
        members = mapping(entry).items()
        texts = tuple(sorted((name, each) for name, each in members if isinstance(each, str)))
        seen[texts] = seen.get(texts, 0) + 1
        yield (texts, seen[texts]), entry
