"""What a stage does besides computing: the effects it declares, among them its price.

Nothing is dropped in silence: an effect nobody knows is refused, and a set with nothing in it is
`Unknown`, not `Pure`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, assert_never, get_args

from earmark.composition.canonical import cost_json
from earmark.composition.document import Fields, check_value, invalid, is_whole_number, shown
from earmark.errors import InvalidAmount
from earmark.money import LARGEST_NANOS, NANOS_PER_USD, Money

#: The names of effects, as policies write them.
EffectName = Literal[
    "cost",
    "fallible",
    "fs-read",
    "fs-write",
    "llm",
    "network",
    "non-deterministic",
    "process",
    "pure",
    "unknown",
]
EFFECT_NAMES: tuple[EffectName, ...] = get_args(EffectName)

SimpleKind = Literal["Fallible", "Network", "NonDeterministic", "Process", "Pure", "Unknown"]


@dataclass(frozen=True, slots=True)
class CostEffect:
    """Running the stage once costs *amount*."""

    amount: Money


@dataclass(frozen=True, slots=True)
class FsRead:
    """The stage reads a path of its host."""

    path: str


@dataclass(frozen=True, slots=True)
class FsWrite:
    """The stage writes a path of its host."""

    path: str


@dataclass(frozen=True, slots=True)
class Llm:
    """The stage calls a language model."""

    model: str


@dataclass(frozen=True, slots=True)
class Simple:
    """An effect that its name says all about."""

    kind: SimpleKind


Effect = CostEffect | FsRead | FsWrite | Llm | Simple

FALLIBLE = Simple("Fallible")
NETWORK = Simple("Network")
NON_DETERMINISTIC = Simple("NonDeterministic")
PROCESS = Simple("Process")
PURE = Simple("Pure")
UNKNOWN = Simple("Unknown")

_SIMPLE: dict[str, tuple[Simple, EffectName]] = {
    "Fallible": (FALLIBLE, "fallible"),
    "Network": (NETWORK, "network"),
    "NonDeterministic": (NON_DETERMINISTIC, "non-deterministic"),
    "Process": (PROCESS, "process"),
    "Pure": (PURE, "pure"),
    "Unknown": (UNKNOWN, "unknown"),
}
_KINDS = ("Cost", "Fallible", "FsRead", "FsWrite", "Llm", *list(_SIMPLE)[1:])


@dataclass(frozen=True, slots=True, init=False)
class EffectSet:
    """The effects of a stage: each once, in the format's order, so that identities agree."""

    effects: tuple[Effect, ...]

    def __init__(self, effects: Iterable[Effect] = (UNKNOWN,)) -> None:
        # Two spellings of one path are one effect: the lesser text stays, in whatever order given.
        ordered = sorted(set(effects), key=lambda effect: (_sort_key(effect), str(effect)))
        unique = {_sort_key(effect): effect for effect in reversed(ordered)}
        object.__setattr__(self, "effects", tuple(reversed(unique.values())))

    @property
    def names(self) -> frozenset[EffectName]:
        """The names of the effects; of an empty set `unknown`, for nothing was declared."""
        return frozenset(effect_name(effect) for effect in self.effects) or frozenset({"unknown"})

    @property
    def cost(self) -> Money | None:
        """The declared price of one run, all `Cost` effects together; None where there is none."""
        costs = [effect.amount for effect in self.effects if isinstance(effect, CostEffect)]
        return sum(costs, Money()) if costs else None

    @property
    def is_pure(self) -> bool:
        """Whether the stage declares itself `Pure`: equal inputs give equal outputs."""
        return PURE in self.effects

    def to_json(self) -> dict[str, Any]:
        """Return the set in the format's JSON form."""
        return {"effects": [effect_json(effect) for effect in self.effects]}


def effect_name(effect: Effect) -> EffectName:
    """Return the name policies know the effect by."""
    match effect:
        case CostEffect():
            return "cost"
        case FsRead():
            return "fs-read"
        case FsWrite():
            return "fs-write"
        case Llm():
            return "llm"
        case Simple(kind):
            return _SIMPLE[kind][1]
        case _:
            assert_never(effect)


def effect_json(effect: Effect) -> dict[str, Any]:
    """Return the effect in the format's JSON form; a price of whole cents is written in cents."""
    match effect:
        case CostEffect(amount):
            return {"effect": "Cost", **cost_json(amount)}
        case FsRead(path):
            return {"effect": "FsRead", "path": path}
        case FsWrite(path):
            return {"effect": "FsWrite", "path": path}
        case Llm(model):
            return {"effect": "Llm", "model": model}
        case Simple(kind):
            return {"effect": kind}
        case _:
            assert_never(effect)


def parse_effect_set(raw: object, pointer: str = "") -> EffectSet:
    """Return the set that `{"effects": [{"effect": "Pure"}, …]}` describes.

    Raises:
        InvalidComposition: Of another shape, or an effect nobody knows.
    """
    form = Fields.of(raw, pointer, "a set of effects")
    return EffectSet(parse_effect(item, at) for at, item in form.array("effects"))


def parse_effect(raw: object, pointer: str = "") -> Effect:
    """Return the effect that `{"effect": "CostEffect", "cents": 5}` or its like describes."""
    form = Fields.of(raw, pointer, "an effect")
    kind = form.text("effect")
    match kind:
        case "Cost":
            return CostEffect(parse_cost(form))
        case "FsRead":
            return FsRead(_text(form, "path"))
        case "FsWrite":
            return FsWrite(_text(form, "path"))
        case "Llm":
            return Llm(_text(form, "model"))
        case _ if kind in _SIMPLE:
            return _SIMPLE[kind][0]
        case _:
            known = ", ".join(_KINDS)
            raise invalid(form.at("effect"), f"{shown(kind)} is no effect: it is one of {known}")


def parse_author_effect(raw: object, pointer: str = "") -> Effect:
    """Return an effect as an author writes it: an object, or its bare name where that says all."""
    if not isinstance(raw, str):
        return parse_effect(raw, pointer)
    if raw in {"Cost", "FsRead", "FsWrite", "Llm"}:
        want = {"Cost": '"usd": "0.05"', "Llm": '"model": "…"'}.get(raw, '"path": "/…"')
        raise invalid(
            pointer, f'{shown(raw)} alone says too little: write {{"effect": "{raw}", {want}}}'
        )
    if raw not in _SIMPLE:
        raise invalid(pointer, f"{shown(raw)} is no effect: it is one of {', '.join(_KINDS)}")
    return _SIMPLE[raw][0]


def parse_cost(form: Fields) -> Money:
    """Return the price in a form's `cents` (a whole number) or `usd` (a decimal string)."""
    if ("cents" in form.members) == ("usd" in form.members):
        raise invalid(form.pointer, "a price is either 'cents' or 'usd'")
    if "usd" in form.members:
        return _dollars(form)
    cents = form.need("cents")
    if not is_whole_number(cents) or not 0 <= cents <= LARGEST_NANOS * 100 // NANOS_PER_USD:
        raise invalid(form.at("cents"), f"{shown(cents)} is no price: give whole cents, 0 or more")
    return Money.nanos(cents * NANOS_PER_USD // 100)


def _dollars(form: Fields) -> Money:
    usd = form.need("usd")
    if not isinstance(usd, str):
        raise invalid(
            form.at("usd"), f"{shown(usd)} is no price: give US dollars as a decimal string"
        )
    try:
        amount = Money(usd)
    except InvalidAmount as error:
        raise invalid(form.at("usd"), f"{shown(usd)} is no price: give {error.want}") from None
    if amount.in_nanos > LARGEST_NANOS:
        raise invalid(
            form.at("usd"), f"{shown(usd)} is no price: at most {Money.nanos(LARGEST_NANOS)} USD"
        )
    return amount


def _text(form: Fields, name: str) -> str:
    value = form.text(name)
    check_value(value, form.at(name))
    return value


def _sort_key(effect: Effect) -> tuple[int, int, tuple[tuple[int, str], ...]]:
    match effect:
        case CostEffect(amount):
            return 0, amount.in_nanos, ()
        case FsRead(path):
            return 2, 0, _components(path)
        case FsWrite(path):
            return 3, 0, _components(path)
        case Llm(model):
            return 4, 0, ((0, model),)
        case Simple(kind):
            return _RANK[kind], 0, ()
        case _:
            assert_never(effect)


def _components(path: str) -> tuple[tuple[int, str], ...]:
    """Return what a path is compared by: root, `.` at the beginning, `..`, then names.

    The format compares paths as Rust's `std::path::Path` does on Unix, component by component:
    `/a/b` comes before `/a-b`, and `/a//b/.` is `/a/b`.
    """
    root = ((0, ""),) if path.startswith("/") else ()
    here = ((1, ""),) if path == "." or path.startswith("./") else ()
    parts = (part for part in path.split("/") if part not in {"", "."})
    return (*root, *here, *(((2, "") if part == ".." else (3, part)) for part in parts))


_RANK = {"Fallible": 1, "Network": 5, "NonDeterministic": 6, "Process": 7, "Pure": 8, "Unknown": 9}
