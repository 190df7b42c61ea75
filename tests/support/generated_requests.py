"""Generates requests from the request tables: whatever they list, of any depth."""

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from earmark.apis.api import request_table
from earmark.apis.options import Option
from earmark.apis.output_limit import value_at
from earmark.pricing.json_values import mapping

#: Options with a meaning of their own, set by `requests`; tiers have prices of their own.
_SET_APART = {"model", "stream", "service_tier", "serviceTier", "speed", "inference_geo"}
_DEEPEST = 4
_WORDS = st.text("ab é漢", min_size=1, max_size=20)
_PLAIN = st.one_of(_WORDS, st.integers(1, 400), st.booleans(), st.just({"k": ["v", 1]}))
#: Of rows whose effect says what they are.
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "thinking": st.integers(1, 300),
    "outputs": st.just(["text"]),
    "tokens": _WORDS,
}


@st.composite
def requests(draw: st.DrawFn, api: str) -> dict[str, Any]:
    """Draw a request of *api* that its table lists, option by option."""
    table = request_table(api)
    messages = _value(table.options[table.messages], 0)
    body: dict[str, Any] = {"model": "m", table.messages: [draw(messages), draw(messages)]}
    if api == "openai-embeddings":
        body[table.messages] = draw(st.lists(st.integers(1, 99) | _WORDS, max_size=9))
    names = sorted(
        name
        for name, row in table.options.items()
        if row.effect != "refused" and name not in _SET_APART | {table.messages}
    )
    for name in draw(st.lists(st.sampled_from(names), max_size=4, unique=True)):
        row = table.options[name]
        value = draw(_value(row, 0))
        body[name] = [value] if row.is_list else value
    numbers = {table.tool_call_limit: 3, table.choices: 3}
    numbers |= dict.fromkeys(table.output_limits, 500)
    for path, most in numbers.items():
        parent, _, leaf = path.rpartition(".")
        inside = body.setdefault(parent, {}) if parent else body
        inside.pop(leaf, None)
        if path and draw(st.booleans()):
            inside[leaf] = draw(st.integers(1, most))
    budget = value_at(body, table.thinking_budget) if table.thinking_budget else None
    if isinstance(budget, int):
        # A provider refuses a limit that is not above the thinking budget.
        (limit,) = table.output_limits
        body.update({limit: body[limit] + budget} if limit in body else {})
    return body


def _value(row: Option, depth: int) -> st.SearchStrategy[Any]:
    """Return the values a row allows; those that nothing bounds are left out."""
    if row.values is not None:
        return st.sampled_from(sorted(row.values))
    if row.effect in _VALUES:
        return _VALUES[row.effect]
    if row.kinds is not None:
        known = {name: each for name, each in row.kinds.items() if each.effect != "refused"}
        deep = depth >= _DEEPEST
        parts = [_object(each, name, depth) for name, each in known.items() if not deep]
        texts = [_WORDS] if row.effect == "prompt" or deep else []
        return st.one_of(*parts, *texts)
    if row.fields is not None:
        return _object(row, None, depth)
    if row.effect == "input":
        return st.sampled_from(["x", {"id": "x"}])
    return _WORDS if row.effect == "prompt" else _PLAIN


@st.composite
def _object(draw: st.DrawFn, row: Option, kind: str | None, depth: int) -> Any:
    """Draw an object of some of the row's fields."""
    if row.fields is None:
        value = draw(_value(row, depth + 1))
        return value if kind is None else {"type": kind, "value": value}
    found: dict[str, Any] = {"type": kind} if kind else {}
    names = sorted(
        name for name, each in row.fields.items() if each.effect != "refused" and name != "type"
    )
    if row.needs:
        found["name"] = "f"
    for name in draw(st.lists(st.sampled_from(names), max_size=3, unique=True)) if names else ():
        if depth < _DEEPEST:
            found[name] = draw(_value(row.fields[name], depth + 1))
    if row.maximum in row.fields:
        found[row.maximum] = draw(st.integers(1, 3))
    return found


def every_request(api: str) -> Iterator[dict[str, Any]]:
    """Yield a request for each row of the table that is not refused: one that holds just that."""
    table = request_table(api)
    plain = {"model": "m", table.messages: [{"role": "user"}]}
    for name, row in table.options.items():
        if row.effect != "refused" and name not in _SET_APART:
            for value in _every_value(row, frozenset()):
                yield {**plain, name: [value] if row.is_list or name == table.messages else value}


def _every_value(row: Option, above: frozenset[int]) -> Iterator[Any]:
    """Yield a value for each row at or below *row*."""
    if row.effect == "refused" or id(row) in above:
        return
    inside = above | {id(row)}
    for kind, each in (row.kinds or {}).items():
        for value in _every_value(each, inside):
            scalar = isinstance(value, str | int | list)
            whole: dict[str, Any] = {"value": value} if scalar else dict(mapping(value))
            yield {**whole, **({"type": kind} if kind else {})}
    needed: dict[str, Any] = {"name": "f"} if row.needs else {}
    if row.maximum in (row.fields or {}):
        needed[row.maximum] = 3
    for name, each in (row.fields or {}).items():
        for value in _every_value(each, inside) if name != "type" else ():
            yield {name: value, **needed}
    if row.values is not None:
        yield min(row.values)
    elif row.effect in _SAMPLES:
        yield _SAMPLES[row.effect]
    elif row.fields is not None:
        yield dict(needed)
    elif row.kinds is None:
        yield from (400, "x")


_SAMPLES: dict[str, Any] = {
    "prompt": "x" * 99,
    "thinking": 300,
    "outputs": ["text"],
    "tokens": [1, 2],
}
