"""What bounding a coding agent's request takes, and pricing its reply: processor time.

Bodies are those that real clients sent (tests/fixtures/requests). Each is timed in slices that
alternate with `json.loads` of the same text, the least that anybody who looks at a body pays; of
each the fastest slice of a round counts, the one that other work on the machine disturbed least.
"""

import json
import statistics
from collections.abc import Callable, Mapping
from time import process_time_ns
from typing import Any, Final

from benchmarks.figure import Figure, at_most, micros
from benchmarks.settings import Settings, tell
from benchmarks.worker import ROOT
from earmark.apis.bounds import bound_request
from earmark.apis.replies import read_reply
from earmark.apis.requests import read_body
from earmark.clock import SystemClock
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.pricing.tokens import byte_bound

AREA: Final = "bounds"
_RECORDED: Final = ROOT / "tests" / "fixtures" / "requests"
_SLICES: Final = 20
_CLAUDE: Final = "claude-code-interactive-*-2.json"
#: Every counter of the Messages API that a coding agent's reply has.
_REPLY: Final[Mapping[str, Any]] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5-5",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "usage": {
        "input_tokens": 3,
        "cache_creation_input_tokens": 1200,
        "cache_read_input_tokens": 14_000,
        "cache_creation": {"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 200},
        "output_tokens": 420,
        "output_tokens_details": {"thinking_tokens": 300},
        "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0},
        "service_tier": "standard",
    },
}


def measure(settings: Settings) -> list[Figure]:
    """Return the figures of bounding and of pricing."""
    recorded = json.loads(next(_RECORDED.glob(_CLAUDE)).read_text(encoding="utf-8"))
    body: dict[str, Any] = recorded["body"]
    headers: dict[str, str] = recorded["headers"]
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    book = PriceBook()
    now = SystemClock().instant()

    def bound() -> int:
        reading = read_body("anthropic", body, headers=headers, provider="anthropic")
        price = book.resolve(reading.model, provider="anthropic", at=now, tier=reading.tier)
        return bound_request(reading, price, default_max_tokens=4096).input_tokens

    price = book.resolve("claude-opus-5-5", provider="anthropic", at=now)

    def cost() -> Money:
        return price.cost(read_reply(_REPLY, provider="anthropic", api="anthropic").usage)

    size = f"{len(text.encode()) / 1000:.0f} kB of Claude Code"
    # Without a length of its own a second body of the same size would be timed.
    sixty = (text * 2).encode()[:60_000].decode("utf-8", "ignore")
    timed: dict[str, tuple[Callable[[], object], float]] = {
        "byte bound of 60 kB, ms": (lambda: byte_bound(sixty), 0.6),
        f"request to bound, {size}, ms": (bound, 0.8),
        "reply to usage to cost, ms": (cost, 0.1),
    }
    return [
        figure
        for what, (run, most) in timed.items()
        for figure in _figures(what, run, text, most, settings)
    ]


def _figures(
    what: str, run: Callable[[], object], text: str, most: float, settings: Settings
) -> list[Figure]:
    tell(f"bounds: {what}: {settings.rounds} rounds")
    rounds = [_round(run, text) for _ in range(settings.rounds)]
    ours, parsed = (tuple(each) for each in zip(*rounds, strict=True))
    detail = f"{micros(statistics.median(ours))} / {micros(statistics.median(parsed))}"
    return [
        Figure(
            area=AREA,
            what=what,
            samples=tuple(each / 1e6 for each in ours),
            target=at_most(most),
            detail="processor time",
        ),
        Figure(
            area=AREA,
            what=f"{what.removesuffix(', ms')} / json.loads of Claude Code's body",
            samples=tuple(mine / bare for mine, bare in rounds),
            detail=detail,
        ),
    ]


def _round(run: Callable[[], object], text: str) -> tuple[float, float]:
    run()
    slices = [(_timed(run), _timed(lambda: json.loads(text))) for _ in range(_SLICES)]
    return min(ours for ours, _ in slices), min(parsed for _, parsed in slices)


def _timed(run: Callable[[], object], times: int = 10) -> float:
    """Return the nanoseconds of processor time that *run* takes, on the average of a slice."""
    began = process_time_ns()
    for _ in range(times):
        run()
    return (process_time_ns() - began) / times
