"""What happens to a client: each situation, and what must hold in it beside the books."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from tests.clients.place import Plan
from tests.clients.programs import Mode
from tests.clients.replies import Asked

Act = Literal["", "client cancels", "kill client", "kill gateway"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One situation."""

    heading: str
    about: str
    """A sentence for people."""
    mode: Mode = "stream"
    plan: Callable[[int, Asked], Plan]
    """What the provider does with the request of that number."""
    act: Act = ""
    """What is done once the first words of a reply reached the client."""
    cap: str = "100"
    is_answered: bool = False
    """Whether every client must have its answer, at its first attempt."""


def _first(**plan: object) -> Callable[[int, Asked], Plan]:
    """Return what goes wrong once: the first request is treated so, and the others well."""
    bad = Plan(**plan)  # type: ignore[arg-type]
    return lambda number, _asked: Plan() if number else bad


def _well(_number: int, _asked: Asked) -> Plan:
    return Plan()


def _error(status: int, about: str, *, billed: bool) -> Situation:
    return Situation(
        heading=str(status),
        about=about,
        mode="plain",
        plan=_first(status=status, billed=billed),
    )


SITUATIONS: Final[Mapping[str, Situation]] = {
    "plain": Situation(
        heading="whole",
        about="one answer in one piece",
        mode="plain",
        plan=_well,
        is_answered=True,
    ),
    "stream": Situation(
        heading="stream",
        about="one answer as it is written",
        plan=_well,
        is_answered=True,
    ),
    "slow": Situation(
        heading="slow",
        about="a stream whose head and events each wait until the books were read a few times",
        plan=_first(steps=True),
        is_answered=True,
    ),
    "fan": Situation(
        heading="fan-out",
        about="16 calls at once of an SDK, on a budget for five and a half; four programs at once,"
        " on one for about one call's hold",
        mode="fan",
        plan=_well,
    ),
    "refused": Situation(
        heading="refused",
        about="a budget that is too small for any call",
        plan=_well,
        cap="0.00001",
    ),
    "cancelled": Situation(
        heading="cancelled",
        about="the client closes its stream, or gets Ctrl-C, in the middle of it",
        plan=_first(halts=True),
        act="client cancels",
    ),
    "client killed": Situation(
        heading="client killed",
        about="`kill -9` of the client in the middle of a stream",
        plan=_first(halts=True),
        act="kill client",
    ),
    "gateway killed": Situation(
        heading="gateway killed",
        about="`kill -9` of the gateway in the middle of a stream; it is started again at once",
        plan=_first(halts=True),
        act="kill gateway",
    ),
    "half a stream": Situation(
        heading="half a stream",
        about="the provider breaks its first stream off; it bills all of it",
        plan=_first(cut=True),
    ),
    "429": _error(429, "the first request is answered 429", billed=False),
    "500": _error(500, "the first request is answered 500, and billed", billed=True),
    "529": _error(529, "the first request is answered 529", billed=False),
    "small usage": Situation(
        heading="small usage",
        about="the usage of the first reply counts one token for a text of 150 words",
        plan=_first(lie="small usage"),
    ),
    "no usage": Situation(
        heading="no usage",
        about="the first reply has no usage",
        plan=_first(lie="no usage"),
    ),
    "another model": Situation(
        heading="another model",
        about="the first reply names a dearer model than was asked for, and is billed as its",
        plan=_first(lie="another model"),
    ),
    "wrong length": Situation(
        heading="wrong length",
        about="the first reply is shorter than its `content-length`",
        mode="plain",
        plan=_first(lie="wrong length"),
    ),
    "no JSON": Situation(
        heading="no JSON",
        about="the first reply is a 200 with a page of HTML",
        mode="plain",
        plan=_first(lie="no JSON"),
    ),
}
