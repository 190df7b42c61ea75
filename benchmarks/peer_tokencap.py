"""tokencap in the peers' scenario, on its SQLite back end; $1 is 1,000 tokens.

Mode `client`: `Guard(policy, identifiers, backend).wrap_openai(client)` as in its README's
"Multi-agent shared budgets". Before a call it counts the tokens of the prompt, here half of what
the call uses, and the rest after it. The client is a stand-in, so no SDK's time is counted.
Mode `backend`: `SQLiteBackend.check_and_increment` with the whole call's tokens, the atomic step
beneath; nothing is left to book after the call.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from tokencap import (
    Action,
    ActionKind,
    BudgetExceededError,
    DimensionPolicy,
    Guard,
    Policy,
    Threshold,
)
from tokencap.backends.sqlite import SQLiteBackend
from tokencap.core.types import BudgetKey

from benchmarks.peer_scenario import Call, Order, Refused, answer, read_order

TOKENS_PER_USD: Final = 1_000
#: It counts four characters of this list as a token where it has no tokenizer: 500 in all.
_PROMPT: Final = [{"role": "user", "content": "." * (4 * TOKENS_PER_USD // 2 - 33)}]
assert len(str(_PROMPT)) == 4 * TOKENS_PER_USD // 2
_USAGE: Final = SimpleNamespace(
    prompt_tokens=TOKENS_PER_USD // 2, completion_tokens=TOKENS_PER_USD // 2
)


@contextmanager
def threads(order: Order, name: str, limit_usd: int) -> Generator[Call]:
    """Open a guard, or its back end alone."""
    backend = SQLiteBackend(path=str(Path(order.place) / f"{name}.db"))
    limit = limit_usd * TOKENS_PER_USD
    try:
        yield (_wrapped if order.mode == "client" else _primitive)(backend, name, limit)
    finally:
        backend.close()


def _wrapped(backend: SQLiteBackend, name: str, limit: int) -> Call:
    block = Threshold(at_pct=1.0, actions=[Action(kind=ActionKind.BLOCK)])
    policy = Policy(dimensions={"tenant": DimensionPolicy(limit=limit, thresholds=[block])})
    guard = Guard(policy=policy, identifiers={"tenant": name}, backend=backend, quiet=True)

    def call(provider: Callable[[], None]) -> None:
        def create(**_: Any) -> SimpleNamespace:  # noqa: ANN401 - as the SDK's
            provider()
            return SimpleNamespace(usage=_USAGE)

        stand_in = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))
        client = guard.wrap_openai(stand_in)
        try:
            client.chat.completions.create(model="gpt-4o", messages=_PROMPT)
        except BudgetExceededError as refusal:
            raise Refused from refusal

    return call


def _primitive(backend: SQLiteBackend, name: str, limit: int) -> Call:
    key = BudgetKey(dimension="tenant", identifier=name)
    backend.set_limit(key, limit)

    def call(provider: Callable[[], None]) -> None:
        if not backend.check_and_increment([key], TOKENS_PER_USD).allowed:
            raise Refused
        provider()

    return call


if __name__ == "__main__":
    answer(version("tokencap"), read_order(), threads=threads)
