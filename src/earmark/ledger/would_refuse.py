"""Which limit would have refused an operation that an observed tree accepted; pure."""

import msgspec

from earmark.errors import Reason


class WouldRefuse(msgspec.Struct, frozen=True, gc=False):
    """The most lasting reason why amounts did not fit, and by how much; kept in their entry.

    Amounts are whole nano-USD or counts.
    """

    reason: Reason
    budget: str
    unit: str
    window: str
    limit: int
    over: int
    """How much more it was than what was available."""

    def to_line(self) -> str:
        """Return it as one line of JSON."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_line(cls, text: str) -> "WouldRefuse":
        """Return what `to_line` wrote.

        Raises:
            msgspec.DecodeError: It is something else.
        """
        return msgspec.json.decode(text.encode(), type=cls)
