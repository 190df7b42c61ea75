"""What goes into a stage and what comes out of it: its own copy, JSON, of the declared type."""

from dataclasses import replace

from earmark.admission.call import Call, CountInput, Grant, Reply, counting_inside
from earmark.composition.subtype import fits_all, validate
from earmark.composition.types import NType
from earmark.errors import CallFailed
from earmark.pricing.bound import Bound
from earmark.runs.attempt import Leaf
from earmark.stages.kinds.jsontext import Json, own_json
from earmark.stages.kinds.kind import Tools, tail


def checked_call(leaf: Leaf, value: Json, tools: Tools) -> "TypeCheckedCall":
    """Return the stage's call for a copy of *value*; its reply will be checked.

    Raises:
        CallFailed: The input is not of the type the stage takes; nothing was billed.
        BudgetExceeded, NotFound: As `StageKind.call`.
    """
    try:
        own = own_json(value)
    except ValueError as error:
        detail = f"its input is not JSON: {error}"
        raise CallFailed(detail=tail(detail), billed="no") from None
    if problem := _problem(own, leaf.wanted):
        raise CallFailed(detail=tail(f"its input is not {leaf.wanted}: {problem}"), billed="no")
    return TypeCheckedCall(leaf.kind.call(own, tools), leaf.gives)


class TypeCheckedCall:
    """A stage's call whose reply is JSON of the stage's output type, or a failure that is billed.

    The check is inside the call: what the guard books is already known to be good or bad.
    """

    __slots__ = ("_gives", "_inner")

    def __init__(self, inner: Call, gives: NType) -> None:
        self._inner = inner
        self._gives = gives

    @property
    def name(self) -> str:
        """The call's own name."""
        return self._inner.name

    @property
    def bound(self) -> Bound:
        """The call's own bound."""
        return self._inner.bound

    @property
    def streams(self) -> bool:
        """As the call."""
        return self._inner.streams

    @property
    def count_input(self) -> CountInput | None:
        """As the call."""
        return counting_inside(self._inner, lambda counted: TypeCheckedCall(counted, self._gives))

    async def send(self, grant: Grant) -> Reply:
        """Make the call; the value of its reply is a copy that nobody else has.

        Raises:
            CallFailed: As the call does; or its output is not JSON or of another type than
                declared: that was billed as the reply says.
        """
        reply = await self._inner.send(grant)
        try:
            value = own_json(reply.value)
        except ValueError as error:
            raise _bad(reply, f"its output is not JSON: {error}") from None
        if problem := _problem(value, self._gives):
            raise _bad(reply, f"its output is not {self._gives}: {problem}")
        if value is reply.value:
            # What cannot be changed, such as a text, is not copied.
            return reply
        return replace(reply, value=value)


def _problem(value: Json, type_: NType) -> str:
    if fits_all(type_):
        return ""
    try:
        return "; ".join(validate(value, type_))
    except RecursionError:
        return "nested too deeply to be checked"


def _bad(reply: Reply, detail: str) -> CallFailed:
    return CallFailed(
        detail=tail(detail),
        billed="unknown" if reply.cost is None else "yes",
        retryable=True,
        usage=reply.usage,
        cost=reply.cost,
        known_cost=reply.known_cost,
        unknown=reply.unknown,
        model=reply.model,
        request_id=reply.request_id,
    )
