"""How long replies really are: online quantiles of output tokens, per model and route.

An expectation, never a bound: the ledger's promise does not rest on it, only how well a budget is
used. Exact over the last replies, in constant memory.
"""

import threading
from bisect import bisect_left, insort
from collections import OrderedDict, deque
from typing import Final

#: Replies kept for each route. Source: the admission simulation; longer windows changed nothing.
WINDOW: Final = 1000
#: With fewer replies the 99th percentile is unknown: the prior is used.
MIN_REPLIES: Final = 100
#: The expected output of a route with fewer replies. A prior of `max_tokens` would deadlock: under
#: a small budget no call is admitted, so no reply is ever observed.
PRIOR_TOKENS: Final = 1024
#: Routes remembered; the one unused for longest is forgotten first.
ROUTES_MAX: Final = 4096
#: The 99th percentile, in parts per million.
P99: Final = 990_000

_MILLION: Final = 1_000_000


class WindowQuantile:
    """The last `WINDOW` values, in order of arrival and of size.

    `add` costs two binary searches and a move of at most 8 kB, `quantile` one look-up.
    """

    __slots__ = ("_arrived", "_sorted")

    def __init__(self) -> None:
        self._arrived: deque[int] = deque()
        self._sorted: list[int] = []

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, value: int) -> None:
        """Append *value*; drop the oldest of a full window."""
        if len(self._arrived) == WINDOW:
            del self._sorted[bisect_left(self._sorted, self._arrived.popleft())]
        self._arrived.append(value)
        insort(self._sorted, value)

    def quantile(self, parts_per_million: int) -> int:
        """Return the smallest value that so many of the window do not exceed (nearest rank)."""
        rank = -(-len(self._sorted) * parts_per_million // _MILLION)
        return self._sorted[max(rank, 1) - 1]


class OutputQuantiles:
    """Output tokens by (model, route); shared by threads and tasks."""

    def __init__(self) -> None:
        self._routes: OrderedDict[tuple[str, str], WindowQuantile] = OrderedDict()
        self._lock = threading.Lock()

    def observe(self, model: str, route: str, tokens: int) -> None:
        """Add a reply of *tokens* output tokens."""
        with self._lock:
            window = self._routes.setdefault((model, route), WindowQuantile())
            window.add(max(tokens, 0))
            self._routes.move_to_end((model, route))
            if len(self._routes) > ROUTES_MAX:
                self._routes.popitem(last=False)

    def expected(self, model: str, route: str, *, parts_per_million: int = P99) -> int:
        """Return the output tokens so many replies did not exceed; `PRIOR_TOKENS` when cold."""
        with self._lock:
            window = self._routes.get((model, route))
            if window is None or len(window) < MIN_REPLIES:
                return PRIOR_TOKENS
            return window.quantile(parts_per_million)


def reply_length(produced: int, *, granted: int | None, wanted: int | None) -> int:
    """Return the length to observe for a reply: more than *produced* where a clamp cut it.

    Counting a cut reply as its cut length would keep the quantile at the clamp for ever; doubling
    lets it grow back to what the route needs.
    """
    if granted is None or wanted is None or produced < granted or granted >= wanted:
        return produced
    return min(2 * granted, wanted)
