"""What moves output or price is refused in a JSON type that its table does not expect."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from earmark.apis.api import request_table
from earmark.apis.bounds import bound_request
from earmark.apis.options import Option
from earmark.apis.requests import read_body
from earmark.errors import BudgetExceeded, InvalidUsage
from earmark.pricing.book import PriceBook

APIS = ("openai", "openai-responses", "openai-embeddings", "anthropic", "gemini")
BOOK = PriceBook({"p/m": {"input_mtok": "3", "output_mtok": "15"}})
VALUES: tuple[Any, ...] = (
    *(True, False, 0, 7, -7, 1.5, "", "x", "7"),
    *([], [7], ["x"], [[]], [{}], {}, {"k": 1}),
)
#: Values that ask for nothing.
OFF: tuple[Any, ...] = (False, 0, "", [])
Make = Callable[[Any], Any]


def rows(row: Option, make: Make, above: frozenset[int] = frozenset()) -> Iterator[tuple[str, Any]]:
    """Yield the effect of each row at or below *row*, and how a request with a value there is made.

    Each row once, at the first place where it stands.
    """
    if id(row) in above:
        return
    inside = above | {id(row)}
    of_values = "values" if row.values is not None else row.effect
    yield of_values if row.fields is None and row.kinds is None else "object", make
    hold: Make = (lambda value: make([value])) if row.is_list else make
    needed: dict[str, Any] = dict.fromkeys(row.needs[:1], "f")
    needed |= {row.maximum: 3} if row.maximum in (row.fields or {}) else {}
    for name, each in (row.fields or {}).items():
        yield from rows(each, lambda value, name=name: hold({**needed, name: value}), inside)
    for kind, each in (row.kinds or {}).items():
        typed = {"type": kind} if kind else {}
        # A value that is no object is of no kind.
        for effect, inner in rows(each, lambda value: value, inside):
            if effect == "object" or each.fields is not None:
                yield effect, _of_kind(hold, inner, typed)


def _of_kind(hold: Make, inner: Make, typed: dict[str, str]) -> Make:
    return lambda value: hold(inner(value) | typed)


def outcome(api: str, body: dict[str, Any]) -> str:
    """Return what becomes of a request: refused, to be bounded by its caller, or bounded."""
    try:
        reading = read_body(api, body, model="m")
        price = BOOK.resolve("m", provider="p", at=0, tier=reading.tier)
        bound_request(reading, price, default_max_tokens=200)
    except InvalidUsage:
        return "refused"
    except BudgetExceeded as refusal:
        return "brought" if "extra_input_tokens" in str(refusal) else "refused"
    return "bounded"


def expected(effect: str, value: Any) -> set[str] | None:
    """Return what may become of *value* where a row of *effect* stands; `None` for anything."""
    is_off = any(type(value) is type(off) and value == off for off in OFF)
    match effect:
        case "thinking":
            return {"refused"} if type(value) is not int or value < -1 else None
        case "outputs" | "values":
            return None if value == [] else {"refused"}
        case "refused":
            return None if is_off else {"refused"}
        case "input":
            return None if is_off or value == [[]] else {"refused", "brought"}
        case _:
            return None


@pytest.mark.parametrize("api", APIS)
def test_a_wrong_type_is_nowhere_taken_for_text(api: str) -> None:
    """Each row of the tables, at any depth, with values of every type in its place."""
    table = request_table(api)
    tried = 0
    for name, row in table.options.items():
        plain = {"model": "m", table.messages: "hello"}
        for effect, make in rows(row, lambda value, name=name, plain=plain: {**plain, name: value}):
            for value in VALUES:
                allowed = expected(effect, value)
                if allowed is not None:
                    body = make(value)
                    assert outcome(api, body) in allowed, (effect, value, body)
                    tried += 1
    assert tried >= 20


@pytest.mark.parametrize("value", [each for each in VALUES if each != {}], ids=repr)
def test_what_is_read_by_its_place_is_what_it_must_be(value: Any) -> None:
    """A limit in a list is none that a bound could rest on; a tier that is no text, no tier."""
    contents = {"contents": [{"parts": [{"text": "x"}]}]}
    assert outcome("gemini", {**contents, "generationConfig": value}) == "refused"
    chat: dict[str, Any] = {"model": "m", "messages": []}
    anthropic: dict[str, Any] = {**chat, "max_tokens": 9}
    for api, body in (("openai", chat), ("anthropic", anthropic), ("gemini", contents)):
        tier = "serviceTier" if api == "gemini" else "service_tier"
        assert outcome(api, {**body, tier: value}) == "refused"
    assert outcome("anthropic", {**anthropic, "speed": value}) == "refused"
    assert outcome("anthropic", {**anthropic, "inference_geo": value}) == "refused" or value == []
    for name in ("n", "max_tokens"):
        right = type(value) is int and value > 0
        assert (outcome("openai", {**chat, name: value}) == "refused") != right


def test_a_place_is_read_in_any_case() -> None:
    """The price of a region does not depend on how it is written."""
    body: dict[str, Any] = {"model": "m", "messages": [], "max_tokens": 9}
    tiers = {read_body("anthropic", {**body, "inference_geo": each}).tier for each in ("us", "US")}
    assert len(tiers) == 1
    assert tiers != {read_body("anthropic", body).tier}
