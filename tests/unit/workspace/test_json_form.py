"""JSON forms: values, schema and what requests bring follow from the types of a class's fields."""

from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Literal

import msgspec
import pytest
from msgspec import Struct

from earmark.clock import Instant, InstantOrZero
from earmark.errors import InvalidDuration
from earmark.money import Money
from earmark.workspace.json_form import Computed, Extra, JsonForm, fields_of, schemas_of
from earmark.workspace.json_request import RequestForm

NOON = 1_795_348_800_000_000_000


class Rank(IntEnum):
    """In JSON its name."""

    LOW = 0
    HIGH = 1


class Colour(StrEnum):
    """In JSON its value."""

    RED = "red"
    BLUE = "blue"


class Circle(Struct, frozen=True, tag="circle"):
    """One of two."""

    radius: int = 1


class Square(Struct, frozen=True, tag="square"):
    """The other one."""

    side: int


class Plain(Struct, frozen=True, kw_only=True):
    """A thing as a request brings it."""

    name: str
    rank: Rank = Rank.LOW
    colour: Colour = Colour.RED
    shape: Circle | Square = Circle()
    shapes: tuple[Circle, ...] = ()
    sold_at: InstantOrZero = 0
    size: Literal["s", "l"] = "s"
    count: int | None = None


class Thing(Plain, frozen=True, kw_only=True):
    """A thing.

    With more to say.
    """

    price: Money | None = None
    amount: Money | int = 0
    made_at: Instant = NOON
    until: Instant | None = None
    data: Mapping[str, Any] = {}

    @property
    def title(self) -> str:
        """Of two fields."""
        return f"{self.rank.name} {self.name}"


def length(thing: Thing) -> int:
    """Return how long its name is."""
    return len(thing.name)


FORM = JsonForm(
    Thing, *fields_of(Thing, without=("size",)), "title",
    Computed("length", length), Extra("seen_at", datetime | None),
)  # fmt: skip


def test_every_type_has_its_json() -> None:
    """Amounts are text, instants RFC 3339 or null, priorities names, nested structs their forms."""
    thing = Thing(
        name="a",
        rank=Rank.HIGH,
        shape=Square(side=2),
        shapes=(Circle(),),
        price=Money("0.5"),
        amount=Money(2),
        until=NOON,
    )
    assert FORM.encode(thing, seen_at=None) == {
        "name": "a",
        "rank": "HIGH",
        "colour": "red",
        "shape": {"kind": "square", "side": 2},
        "shapes": [{"kind": "circle", "radius": 1}],
        "sold_at": None,
        "count": None,
        "price": "0.5",
        "amount": "2",
        "made_at": "2026-11-22T12:00:00Z",
        "until": "2026-11-22T12:00:00Z",
        "data": {},
        "title": "HIGH a",
        "length": 1,
        "seen_at": None,
    }
    assert FORM.encode(Thing(name="b", amount=3), seen_at=None)["amount"] == 3


def test_a_given_member_that_is_not_given_is_an_error() -> None:
    """A form is whole or it is not written."""
    with pytest.raises(KeyError, match="seen_at"):
        FORM.encode(Thing(name="a"))


def test_the_schema_says_the_same() -> None:
    """All members are required; what may be null says so; a union is told apart by its kind."""
    thing = schemas_of([FORM.json_type])["Thing"]
    assert thing["description"] == "A thing."
    assert thing["required"] == [
        each["name"] for each in [{"name": n} for n in thing["properties"]]
    ]
    of = thing["properties"]
    assert of["rank"] == {"type": "string", "enum": ["HIGH", "LOW"]}
    assert of["made_at"] == {"type": "string", "format": "date-time"}
    assert of["sold_at"] == {"anyOf": [of["made_at"], {"type": "null"}]}
    assert set(of["shape"]["discriminator"]["mapping"]) == {"circle", "square"}
    assert of["length"] == {"type": "integer"}


def test_what_a_request_brings_is_read_back() -> None:
    """Fields with a default may be left out; JSON's types become the struct's."""
    form = RequestForm(Plain)
    assert form.decode({"name": "a"}) == Plain(name="a")
    sent = {"name": "a", "rank": "HIGH", "shape": {"kind": "square", "side": 3},
            "shapes": [{"kind": "circle", "radius": 2}],
            "sold_at": "2026-11-22T13:00:00+01:00"}  # fmt: skip
    assert form.decode(sent) == Plain(
        name="a", rank=Rank.HIGH, shape=Square(side=3), shapes=(Circle(radius=2),), sold_at=NOON
    )
    assert form.decode({"name": "a", "sold_at": None}).sold_at == 0


@pytest.mark.parametrize(
    "sent",
    [
        None, [], {}, {"name": 1}, {"name": "a", "rank": 1}, {"name": "a", "oops": 1},
        {"name": "a", "shape": {"side": 1}}, {"name": "a", "shape": {"kind": "line"}},
        {"name": "a", "sold_at": "2026-11-22T12:00:00"}, {"name": "a", "sold_at": 5},
    ],
)  # fmt: skip
def test_what_is_not_of_the_form_is_refused(sent: object) -> None:
    """Another type, a member that is not known or missing, a moment without a zone."""
    with pytest.raises(msgspec.ValidationError):
        RequestForm(Plain).decode(sent)


def test_a_moment_beyond_all_counting_is_refused() -> None:
    """No store counts so far, whoever asks."""
    with pytest.raises(InvalidDuration):
        RequestForm(Plain).decode({"name": "a", "sold_at": "9999-01-01T00:00:00Z"})
