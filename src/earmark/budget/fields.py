"""The fields of a budget that callers set: the one list from which all that sets or shows is made.

To add a plain field, write it in `PlainFields` and in `GivenFields`. The library, the operation and
its entry, the audit, the stores, `earmark.toml`, the command line, the API and the pages follow.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypedDict, get_args, get_type_hints

from earmark.budget.limit import Limit
from earmark.budget.window import check_zone
from earmark.errors import InvalidLimit
from earmark.errors.inputs import shown
from earmark.money import LARGEST_NANOS

BudgetKind = Literal["budget", "run", "session"]
"""Who opened a budget: a person or a program, a run for itself, a session for itself."""

PlainValue = str | int | bool

LONGEST_NOTE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRules:
    """What people are told of a plain field, and what it may be."""

    about: str
    """One sentence of help, for the command line and the API."""
    label: str = ""
    """What people call it; the field's name unless given."""
    metavar: str | None = None
    """What stands for its value in the help of the command line."""
    longest: int = LONGEST_NOTE
    """The most characters of a text."""
    check: Callable[[Any], object] | None = None
    """Raises an `InputError` for a value that is of the type and cannot be."""
    root_only: bool = False
    """Whether it is said of a whole tree, so that a budget below another has its default."""
    always_kept: bool = False
    """Whether it is kept at its default too, as what budgets had from the beginning is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainFields:
    """A text, a whole number or a flag each, kept and shown as it was set, inherited by nothing.

    Where a field has its default it is not kept: the default of a field may never change.
    """

    timezone: Annotated[
        str,
        FieldRules(
            about="The IANA zone in which its days turn; UTC for a new one.",
            label="time zone",
            metavar="ZONE",
            longest=64,
            check=check_zone,
            always_kept=True,
        ),
    ] = "UTC"
    observed: Annotated[
        bool,
        FieldRules(
            about="Whether its tree counts without refusing: what does not fit is held, and marked"
            " with the limit that would have refused it.",
            root_only=True,
        ),
    ] = False


class GivenFields(TypedDict, total=False):
    """What may be given of a budget; what is absent or `None` stays as it is."""

    limits: Sequence[str | Limit] | None
    """Replace all there are."""
    alerts: Iterable[float | str] | None
    """Shares of each limit; replace all there are."""
    kind: BudgetKind | None
    """Of a new budget. Changed from `session` to `budget` alone, where others set its fields."""
    timezone: str | None
    observed: bool | None


# What follows from the declaration ----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainField:
    """One plain field as it was declared."""

    name: str
    type: type[PlainValue]
    default: PlainValue
    rules: FieldRules

    @property
    def label(self) -> str:
        """What people call it."""
        return self.rules.label or self.name.replace("_", " ")

    def read(self, value: object) -> PlainValue:
        """Return *value* if the field can have it.

        Raises:
            InvalidLimit: It is of another type, or none that the field allows.
        """
        if type(value) is not self.type or not self._is_bounded(value):
            raise InvalidLimit(text=shown(value), want=self._want, kind=self.label)
        if self.rules.check is not None:
            self.rules.check(value)
        return value  # pyright: ignore[reportReturnType] - it is of the field's type

    def check_place(self, value: PlainValue, path: str) -> None:
        """Refuse *value* if no budget at *path* can have it.

        Raises:
            InvalidLimit: It is said of a whole tree, and *path* is within one.
        """
        if self.rules.root_only and value != self.default and "/" in path:
            root = path.partition("/")[0]
            want = f"a whole tree: set it on '{root}', or not at all"
            raise InvalidLimit(text=path, want=want, kind=f"path of an {self.label} budget")

    def of(self, fields: PlainFields) -> PlainValue:
        """Return its value in *fields*."""
        return getattr(fields, self.name)

    def is_kept(self, value: PlainValue) -> bool:
        """Return whether *value* is written, for it may not be what is read where none is."""
        return self.rules.always_kept or value != self.default

    def _is_bounded(self, value: Any) -> bool:  # noqa: ANN401 - of the field's type
        if self.type is str:
            return len(value) <= self.rules.longest and (not value or value.isprintable())
        return 0 <= value <= LARGEST_NANOS

    @property
    def _want(self) -> str:
        if self.type is str:
            return f"at most {self.rules.longest} printable characters"
        if self.type is bool:
            return "true or false"
        return f"a whole number from 0 to {LARGEST_NANOS}"


def show_plain(value: PlainValue) -> str:
    """Return *value* as people read it; a flag as `yes` or `no`, no text as `none`."""
    return ("no", "yes")[value] if isinstance(value, bool) else str(value) or "none"


#: Set by callers too, and each read, kept and shown in a way of its own.
SPECIAL_FIELDS: Final = ("limits", "alerts", "kind")
#: Members of a budget, of its entries and of its JSON form, arguments and options beside fields.
_TAKEN: Final = frozenset({
    *SPECIAL_FIELDS, "path", "paused", "extensions", "balances", "below", "opened", "count_back",
    "actor", "reason", "operation", "limit", "until", "alert", "no_limits", "deadline", "labels",
    "store", "config", "json", "help", "session", "self",
})  # fmt: skip


def declared_fields(of: type[PlainFields], given: type[Any]) -> tuple[PlainField, ...]:
    """Return the plain fields that *of* declares, each of which *given* names too.

    Raises:
        TypeError: A field is declared by half, or cannot be one; it says what to write.
    """
    hints, names = get_type_hints(of, include_extras=True), get_type_hints(given)
    found = [_field(each, hints[each.name]) for each in dataclasses.fields(of)]
    want = {each.name: each.type | None for each in found}
    have = {name: hint for name, hint in names.items() if name not in SPECIAL_FIELDS}
    for name in sorted(want.keys() | have.keys()):
        if want.get(name) != have.get(name):
            raise TypeError(
                f"'{name}': write it in PlainFields, and its type | None in GivenFields"
            )
    return tuple(found)


def _field(declared: "dataclasses.Field[Any]", hint: Any) -> PlainField:  # noqa: ANN401 - a type
    name, default = declared.name, declared.default
    match get_args(hint):
        case (kind, FieldRules() as rules) if kind in {str, int, bool} and type(default) is kind:
            pass
        case _:
            raise TypeError(f"'{name}': annotate str, int or bool with FieldRules; give a default")
    if name in _TAKEN:
        raise TypeError(f"'{name}' is taken by something else of a budget: name it otherwise")
    field = PlainField(name=name, type=kind, default=default, rules=rules)
    field.read(default)
    return field


PLAIN_FIELDS: Final = declared_fields(PlainFields, GivenFields)
