"""From what callers give of a budget to what it has: the reader of every field they can set."""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast, get_args

from earmark.budget.budget import listed, parse_alerts
from earmark.budget.fields import PLAIN_FIELDS, BudgetKind, GivenFields
from earmark.budget.limit import Limit
from earmark.errors import InvalidKey
from earmark.errors.inputs import shown

_LIMITS: Final = "['10 usd per day', '3 calls per 30min']"


def read_given(given: GivenFields) -> dict[str, Any]:
    """Return what is *given* of a budget as it has it, by the name of the field; no `None`.

    Raises:
        TypeError: No field is called so.
        InvalidLimit, InvalidAmount, InvalidKey: A value is none that its field can have.
    """
    fields = cast("Mapping[str, object]", given)
    for name in fields:
        if name not in SETTABLE:
            raise TypeError(f"set_budget() got an unexpected keyword argument '{shown(name)}'")
    return {name: SETTABLE[name](value) for name, value in fields.items() if value is not None}


def read_limit(value: str | Limit) -> Limit:
    """Return the limit *value*, or the one that it describes.

    Raises:
        InvalidLimit, InvalidAmount: It describes none.
    """
    return value if isinstance(value, Limit) else Limit.parse(value)


def _read_limits(value: Any) -> tuple[Limit, ...]:  # noqa: ANN401 - untyped callers
    return tuple(map(read_limit, listed(value, "limits", _LIMITS)))


def read_kind(value: Any) -> BudgetKind:  # noqa: ANN401 - untyped callers
    """Return the kind of budgets *value*.

    Raises:
        InvalidKey: There is none of this name.
    """
    if value not in get_args(BudgetKind):
        want = f"one of {', '.join(get_args(BudgetKind))}"
        raise InvalidKey(text=shown(value), want=want, kind="kind of budget")
    return value


#: By the name of each field that can be set: from what a caller gives to what a budget has.
SETTABLE: Final[Mapping[str, Callable[[Any], Any]]] = {
    "limits": _read_limits,
    "alerts": parse_alerts,
    "kind": read_kind,
    **{each.name: each.read for each in PLAIN_FIELDS},
}
