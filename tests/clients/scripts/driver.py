"""What each script over a Python SDK does with it, by its first argument.

`plain` asks once; `stream` prints a reply as it comes; `cancel` closes it after its first piece;
`fan` asks 16 times at once.
"""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

AT_ONCE: Final = 16
MOST_TOKENS: Final = 200


@dataclass(frozen=True, slots=True)
class Stream:
    """A reply that comes in pieces."""

    pieces: Iterator[str]
    close: Callable[[], object]


def run(plain: Callable[[], str], stream: Callable[[], Stream]) -> None:
    """Do it; exits with 1 after an error, which is printed."""
    try:
        match sys.argv[1]:
            case "plain":
                print(plain(), flush=True)
            case "fan":
                _fan(plain)
            case mode:
                _read(stream(), cancels=mode == "cancel")
    except Exception as error:  # noqa: BLE001 - whatever an SDK raises
        print("error:", type(error).__name__, error, flush=True)
        sys.exit(1)


def _read(stream: Stream, *, cancels: bool) -> None:
    for piece in stream.pieces:
        print(piece, end="", flush=True)
        if cancels and piece:
            stream.close()
            return
    print(flush=True)


def _fan(plain: Callable[[], str]) -> None:
    def one(_: int) -> str:
        try:
            return plain()
        except Exception as error:  # noqa: BLE001 - whatever an SDK raises
            return f"error: {type(error).__name__} {error}"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        print(*pool.map(one, range(AT_ONCE)), sep="\n", flush=True)
