"""The declaration of a budget's fields: a field that is declared by half is nobody's."""

from dataclasses import dataclass
from typing import Annotated

import pytest

from earmark.budget.fields import FieldRules, GivenFields, PlainFields, declared_fields
from earmark.errors import InvalidLimit

ABOUT = FieldRules(about="Who answers for it.", longest=5)


class Owned(GivenFields, total=False):
    """What is given, an owner too."""

    owner: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WithOwner(PlainFields):
    """A budget's fields, with an owner."""

    owner: Annotated[str, ABOUT] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WithNumber(PlainFields):
    """The owner is a number here."""

    owner: Annotated[int, ABOUT] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WithoutRules(PlainFields):
    """Nothing is said of it."""

    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfAnotherType(PlainFields):
    """A type that no door reads."""

    owner: Annotated[float, ABOUT] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken(PlainFields):
    """A name that entries use."""

    reason: Annotated[str, ABOUT] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongDefault(PlainFields):
    """A default that is no value of the field."""

    owner: Annotated[str, ABOUT] = "nobody"


def test_a_field_is_declared_once_for_budgets_and_once_for_callers() -> None:
    """Both of the same type: then it is known by its name."""
    assert [each.name for each in declared_fields(WithOwner, Owned)] == ["timezone", "owner"]


@pytest.mark.parametrize(
    ("of", "given", "said"),
    [
        (WithOwner, GivenFields, "'owner': write it in PlainFields"),
        (PlainFields, Owned, "'owner': write it in PlainFields"),
        (WithNumber, Owned, "'owner': write it in PlainFields"),
        (WithoutRules, Owned, "'owner': annotate str, int or bool with FieldRules"),
        (OfAnotherType, Owned, "'owner': annotate str, int or bool with FieldRules"),
        (Taken, GivenFields, "'reason' is taken"),
    ],
)
def test_a_declaration_by_half_is_refused(
    of: type[PlainFields], given: type[GivenFields], said: str
) -> None:
    """When the program starts, saying what to write."""
    with pytest.raises(TypeError, match=said):
        declared_fields(of, given)


def test_a_default_is_a_value_of_its_field() -> None:
    """Where a field is not kept it is read as its default, so that must be one."""
    with pytest.raises(InvalidLimit, match="'nobody' is not an owner: give at most 5 printable"):
        declared_fields(WrongDefault, Owned)
