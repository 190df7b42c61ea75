"""How a run may differ from the usual, and whether what a caller gave can be used."""

from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Final, TypedDict

from earmark.admission.call import Call, Provider
from earmark.admission.policy import STRICT, Policy
from earmark.clock import Clock
from earmark.errors import InvalidConfig
from earmark.errors.inputs import quoted, shown
from earmark.ids import new_run_id
from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.requests import Duration
from earmark.runs.engine import Engine
from earmark.runs.events import OnEvent
from earmark.runs.journal import Journal
from earmark.runs.prepare import AnyStage

DEFAULT_CONCURRENCY: Final = 16
MAX_CONCURRENCY: Final = 1024
DEFAULT_REPEATS: Final = 10_000


class Options(TypedDict, total=False):
    """How a run may differ from the usual; every one may be left out."""

    stages: Iterable[AnyStage]
    """What the composition's references may mean: `@stage` functions and other kinds."""
    providers: Mapping[str, Provider]
    """Model providers by the name before the slash of a stage's model."""
    concurrency: int
    """How many attempts may be under way at once; 16 unless given."""
    max_repeats: int
    """How many attempts may repeat an earlier one, over all retries together; 10,000."""
    policy: Policy
    """How much to hold for a call; `STRICT` unless given."""
    wait: Duration | None
    """How long an attempt may wait in line for budget; 5 minutes, None asks once."""
    timeout: Duration
    """How long an attempt may take where its stage does not say; 10 minutes."""
    allow: Collection[str]
    """Effects (`llm`, `network`, `unknown`) that may go without a price; none."""
    journal: Journal | None
    """Where the run is written; beside the ledger's tables unless given."""
    engine: Engine | None
    """What walks the graph; the one of this event loop unless given."""
    run_id: str | None
    """A new one unless given."""
    on_event: OnEvent | None
    """Told of each step as it happens."""
    gate: Callable[[Call], Call]
    """Given each call that may cost something; what it returns is made in its place."""
    clock: Clock | None
    """The ledger's unless given."""


#: What is called of options that the caller brings along.
_PORTS: Final = {
    "providers": "get",
    "journal": "start",
    "engine": "execute",
    "on_event": "__call__",
    "gate": "__call__",
}


def check_call(ledger: AsyncLedger, options: Options) -> None:
    """Raise `TypeError` for another ledger, and for an option that there is none of.

    Raises:
        InvalidConfig: What is given as a journal, an engine or a function is none.
    """
    if not isinstance(ledger, AsyncLedger):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        raise TypeError("run_async takes an AsyncLedger: give ledger.as_async()")
    known = tuple(Options.__annotations__)
    for name in options.keys() - set(known):
        matches = get_close_matches(name, known, n=1)
        there_are = f"did you mean '{matches[0]}'?" if matches else f"there are {', '.join(known)}"
        raise TypeError(f"run() got an unexpected option '{name}': {there_are}")
    for name, method in _PORTS.items():
        value = options.get(name)
        if value is not None and not callable(getattr(value, method, None)):
            raise InvalidConfig(place=name, detail=f"{quoted(value)} is none: it has no {method}")


def run_id_of(options: Options, clock: Clock) -> str:
    """Return the id of the run: a new one unless it is given."""
    value = options.get("run_id")
    if value is None:
        return new_run_id(clock)
    if not isinstance(value, str) or "/" in value:  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        detail = f"'{shown(value)}' is not the last part of a budget path, such as nightly-7"
        raise InvalidConfig(place="run_id", detail=detail)
    return value


def stages_of(options: Options) -> tuple[AnyStage, ...]:
    """Return the stages, each of which is one."""
    value: object = options.get("stages", ())
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise InvalidConfig(place="stages", detail=f"{quoted(value)} is no list of stages")
    stages = tuple(options.get("stages", ()))
    for number, each in enumerate(stages):
        if not hasattr(each, "spec"):
            detail = f"{shown(each)} is no stage: give a function declared by @earmark.stage"
            raise InvalidConfig(place=f"stages[{number}]", detail=detail)
    return stages


def policy_of(options: Options) -> Policy:
    """Return the admission policy."""
    value = options.get("policy", STRICT)
    if not isinstance(value, Policy):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        detail = f"{shown(value)} is none: give earmark.Strict(), Elastic() or Soft()"
        raise InvalidConfig(place="policy", detail=detail)
    return value


def concurrency_of(options: Options) -> int:
    """Return how many attempts may be under way at once."""
    value = options.get("concurrency", DEFAULT_CONCURRENCY)
    if not _is_whole_number(value) or not 1 <= value <= MAX_CONCURRENCY:
        detail = f"{shown(value)} attempts at once: it takes 1 to {MAX_CONCURRENCY:,}"
        raise InvalidConfig(place="concurrency", detail=detail)
    return value


def repeats_of(options: Options) -> int:
    """Return how many attempts may repeat an earlier one."""
    value = options.get("max_repeats", DEFAULT_REPEATS)
    if not _is_whole_number(value) or value < 0:
        detail = f"{shown(value)} repeats: it is a whole number, 0 for none"
        raise InvalidConfig(place="max_repeats", detail=detail)
    return value


def _is_whole_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
