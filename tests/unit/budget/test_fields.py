"""The declaration of a budget's fields: a field that is declared by half is nobody's."""

from dataclasses import dataclass
from typing import Annotated

import pytest

from earmark.budget.fields import FieldRules, GivenFields, PlainFields, declared_fields
from earmark.errors import InvalidLimit

ABOUT = FieldRules(about="Who answers for it.", longest=5)


class Given(GivenFields, total=False):
    """What is given, a text more."""

    next_text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WithText(PlainFields):
    """A budget's fields, with a text more."""

    next_text: Annotated[str, ABOUT] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WithNumber(PlainFields):
    """It is a number here."""

    next_text: Annotated[int, ABOUT] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WithoutRules(PlainFields):
    """Nothing is said of it."""

    next_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfAnotherType(PlainFields):
    """A type that no door reads."""

    next_text: Annotated[float, ABOUT] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken(PlainFields):
    """A name that entries use."""

    reason: Annotated[str, ABOUT] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongDefault(PlainFields):
    """A default that is no value of the field."""

    next_text: Annotated[str, ABOUT] = "nobody"


def test_a_field_is_declared_once_for_budgets_and_once_for_callers() -> None:
    """Both of the same type: then it is known by its name."""
    assert [each.name for each in declared_fields(WithText, Given)][-1] == "next_text"


@pytest.mark.parametrize(
    ("of", "given", "said"),
    [
        (WithText, GivenFields, "'next_text': write it in PlainFields"),
        (PlainFields, Given, "'next_text': write it in PlainFields"),
        (WithNumber, Given, "'next_text': write it in PlainFields"),
        (WithoutRules, Given, "'next_text': annotate str, int or bool with FieldRules"),
        (OfAnotherType, Given, "'next_text': annotate str, int or bool with FieldRules"),
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
    with pytest.raises(InvalidLimit, match="'nobody' is not a next text: give at most 5 printable"):
        declared_fields(WrongDefault, Given)
