"""A provider's answer, and the output tokens of a stream as they are counted while it runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from earmark.admission.call import Grant
from earmark.apis.reply_cost import model_of

#: For a stream's own count: so many bytes of text are one token at least. Measured with o200k:
#: English 4.1, C++ 4.9, Chinese 4.3, JSON 2.6, digits 3.0 bytes a token. A piece is one token at
#: least, so text of shorter tokens is counted by its pieces.
BYTES_PER_TOKEN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider sent, read only as far as a reply and its bill need it."""

    body: Mapping[str, Any]
    """The body, or what a stream adds up to: `model`, `usage`, `service_tier` …"""
    value: Any
    finish: str | None
    written: int
    """How many choices hold any output at all."""
    fault: str = ""
    """Why this is no usable reply, though it came in full; empty if it is one."""

    @property
    def model(self) -> str | None:
        """The model that answered, as the provider names it."""
        return model_of(self.body)


@dataclass(slots=True)
class Progress:
    """Counts a stream's output tokens as they come and reports them to the guard.

    An estimate, for holds that grow: the provider's own count arrives only at the end. Tokens that
    are not streamed, such as hidden reasoning, are missing from it until then.
    """

    grant: Grant
    most: int
    """The output tokens asked for, of all choices together."""
    pieces: int = 0
    _bytes: int = field(default=0, repr=False)

    async def add(self, text: str) -> None:
        """Count one piece of output.

        Raises:
            BudgetExceeded: The hold cannot grow any further: stop the stream.
        """
        self.pieces += 1
        self._bytes += len(text.encode("utf-8", "surrogatepass"))
        estimate = min(-(-self._bytes // BYTES_PER_TOKEN), self.most)
        await self.grant.produced(max(self.pieces, estimate))
