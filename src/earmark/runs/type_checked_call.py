"""A stage's call whose input and output are checked against the declared types, as JSON copies."""

from dataclasses import replace

from earmark.admission.call import Call, Grant, Reply, WrappedCall
from earmark.composition.subtype import fits_all, validate
from earmark.composition.types import NType
from earmark.errors import CallFailed
from earmark.runs.attempt import Leaf
from earmark.stages.kinds.jsontext import Json, validated_json
from earmark.stages.kinds.kind import Tools, tail


def checked_call(leaf: Leaf, value: Json, tools: Tools) -> "TypeCheckedCall":
    """Return the stage's call for a copy of *value*; its reply will be checked.

    Raises:
        CallFailed: The input is not of the type the stage takes; nothing was billed.
        BudgetExceeded, NotFound: As `StageKind.call`.
    """
    try:
        value = validated_json(value)
    except ValueError as error:
        detail = f"its input is not JSON: {error}"
        raise CallFailed(detail=tail(detail), billed="no") from None
    if problem := _problem(value, leaf.input_type):
        raise CallFailed(detail=tail(f"its input is not {leaf.input_type}: {problem}"), billed="no")
    return TypeCheckedCall(leaf.kind.call(value, tools), leaf.output_type)


class TypeCheckedCall(WrappedCall):
    """A stage's call whose reply is JSON of the stage's output type, or a failure that is billed.

    The check is inside the call: what the guard books is already known to be good or bad.
    """

    __slots__ = ("_output",)

    def __init__(self, inner: Call, output: NType) -> None:
        super().__init__(inner)
        self._output = output

    def rewrap(self, inner: Call) -> "TypeCheckedCall":
        """Return *inner*, checked for the same type."""
        return TypeCheckedCall(inner, self._output)

    async def send(self, grant: Grant) -> Reply:
        """Make the call; the value of its reply is a copy that nobody else has.

        Raises:
            CallFailed: As the call does; or its output is not JSON or of another type than
                declared: that was billed as the reply says.
        """
        reply = await self.inner.send(grant)
        try:
            value = validated_json(reply.value)
        except ValueError as error:
            raise reply.failure(tail(f"its output is not JSON: {error}")) from None
        if problem := _problem(value, self._output):
            raise reply.failure(tail(f"its output is not {self._output}: {problem}"))
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
