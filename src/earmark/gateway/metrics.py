"""What a gateway's process counts of its requests: by token, by model, by what became of them.

Its size is bounded, whatever clients send: a name beyond the first so many counts as `other`.
Nothing is read from the books: what a scrape costs does not grow with them.
"""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from earmark.admission.ticket import AsyncTicket
from earmark.clock import Clock
from earmark.errors import BudgetExceeded, CallFailed, EarmarkError
from earmark.gateway.denied import Denied
from earmark.serving.asgi import Message, Send

#: Tokens, models and pairs of them that have a line of their own; all others share `other`.
MOST_TOKENS: Final = 100
MOST_MODELS: Final = 100
MOST_PAIRS: Final = 1_000
MOST_REASONS: Final = 50
OTHER: Final = "other"

_Pair = tuple[str, str]
"""A token's id and a model, `provider/model`; each may be empty where it is not known."""


@dataclass(slots=True)
class RequestRecord:
    """What becomes of one request, written down on its way."""

    token: str = ""
    model: str = ""
    """As it was priced, `provider/model`; empty until it is."""
    ticket: AsyncTicket | None = None
    """Of a call that was let in."""
    let_in_at: int = 0
    error: Exception | None = None
    """What the client was answered with, if it was refused or failed."""


class GatewayMetrics:
    """The counts of one process; its methods belong to the event loop's thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tokens: set[str] = set()
        self._models: set[str] = set()
        self._pairs: set[_Pair] = set()
        self._reasons: set[str] = set()
        self.requests: Counter[tuple[str, str, str, str]] = Counter()
        """By token, model, outcome (`settled`, `presumed`, `released`, `refused`) and reason."""
        self.settled: Counter[_Pair] = Counter()
        """Nano-USD, what is presumed included."""
        self.held_ns: Counter[_Pair] = Counter()
        """For how long calls were held for, those that ended."""
        self.streamed_bytes = 0
        self.streams = 0
        """Streams that are passed on now."""
        self.waiting = 0
        """Requests whose hold is not there yet."""

    def let_in(self, record: RequestRecord, ticket: AsyncTicket) -> None:
        """Note that the call of *record* has its hold."""
        record.ticket, record.let_in_at = ticket, self._clock.elapsed()

    def counted(self, send: Send) -> Send:
        """Return *send*, whose bytes are counted as those of a stream."""

        async def counting(message: Message) -> None:
            self.streamed_bytes += len(message.get("body", b""))
            await send(message)

        return counting

    def ended(self, record: RequestRecord) -> None:
        """Count a request that was answered."""
        pair = self._known_pair(record)
        if record.ticket is not None:
            self.held_ns[pair] += self._clock.elapsed() - record.let_in_at
            charge = record.ticket.charge
            if charge is not None:
                self.requests[(*pair, str(charge.state), "")] += 1
                self.settled[pair] += charge.settled.in_nanos
        elif record.error is not None and not isinstance(record.error, CallFailed):
            reason = self._known(self._reasons, refusal_reason(record.error), MOST_REASONS)
            self.requests[(*pair, "refused", reason)] += 1

    @contextmanager
    def in_line(self) -> Generator[None]:
        """Count a request that waits for its hold while the block runs."""
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    @contextmanager
    def streaming(self) -> Generator[None]:
        """Count a stream that is passed on while the block runs."""
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1

    def _known_pair(self, record: RequestRecord) -> _Pair:
        pair = (
            self._known(self._tokens, record.token, MOST_TOKENS),
            self._known(self._models, record.model, MOST_MODELS),
        )
        if pair not in self._pairs:
            if len(self._pairs) >= MOST_PAIRS:
                return OTHER, OTHER
            self._pairs.add(pair)
        return pair

    def _known(self, names: set[str], name: str, most: int) -> str:
        if name not in names:
            if len(names) >= most:
                return OTHER
            names.add(name)
        return name


def refusal_reason(error: Exception) -> str:
    """Return why a request was refused, in a word."""
    if isinstance(error, BudgetExceeded):
        return str(error.reason)
    return error.code if isinstance(error, EarmarkError | Denied) else "error"
