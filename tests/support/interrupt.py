"""An interrupt, as by Ctrl-C, at a chosen line of the package."""

import ast
import os
import sys
import threading
from collections.abc import Callable
from dis import findlinestarts
from functools import cache, wraps
from pathlib import Path
from types import FrameType
from typing import Any, Final, ParamSpec, Self

import earmark
from support.last_resort import LAST_RESORT_S

P = ParamSpec("P")

_PACKAGE = str(Path(earmark.__file__).parent)
STEP: Final = 1 if "EARMARK_FIRE_SECONDS" in os.environ else 31

#: A line of a file, and how many calls deep it is run.
Place = tuple[str, int, int]


class Interrupt:
    """Raises `KeyboardInterrupt` before a line of the package that this thread runs.

    Of the lines that are not among *passed*, which become so, it is the one after *skip* others;
    without *passed* of all lines, each as often as it is run.
    Once: whatever then cleans up is not interrupted again.
    """

    def __init__(self, passed: set[Place] | None, skip: int) -> None:
        self._passed = passed
        self._left = skip
        self.at = ""
        """The line before which it struck, if it did."""

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _call(self, frame: FrameType, _: str, __: Any) -> Callable[..., Any] | None:
        code = frame.f_code
        # What a finaliser raises is not raised anywhere.
        is_ours = code.co_filename.startswith(_PACKAGE) and code.co_name != "__del__"
        return self._line if is_ours and not self.at else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        if event == "line" and not _is_nothing(frame):
            place = (frame.f_code.co_filename, frame.f_lineno, _depth(frame))
            if self._passed is None or place not in self._passed:
                if self._passed is not None:
                    self._passed.add(place)
                self._left -= 1
                if self._left < 0 and not self.at:
                    self.at = f"{place[0]}:{place[1]}"
                    self.strike()
        return self._line

    def strike(self) -> None:
        """Do what a signal handler would."""
        raise KeyboardInterrupt


def _depth(frame: FrameType) -> int:
    depth, above = 0, frame.f_back
    while above is not None:
        depth, above = depth + 1, above.f_back
    return depth


def _is_nothing(frame: FrameType) -> bool:
    """Return whether *frame* is at a line of which only the tracer knows.

    That is a `try:`, and a `with` that is left: the interpreter looks for a signal between calls,
    and there is none between a body's end and the call that leaves, or in a `try:`.
    """
    code = frame.f_code
    tries, withs = _blocks(code.co_filename)
    starts = [start for start, line in findlinestarts(code) if line == frame.f_lineno]
    return frame.f_lineno in tries or (frame.f_lasti != starts[0] and frame.f_lineno in withs)


@cache
def _blocks(file: str) -> tuple[frozenset[int], frozenset[int]]:
    nodes = list(ast.walk(ast.parse(Path(file).read_text(encoding="utf-8"))))
    tries = {node.lineno for node in nodes if isinstance(node, ast.Try)}
    withs = [node for node in nodes if isinstance(node, ast.With | ast.AsyncWith)]
    heads = {line for node in withs for line in range(node.lineno, node.body[0].lineno)}
    return frozenset(tries), frozenset(heads)


def on_a_thread_of_its_own(test: Callable[P, None]) -> Callable[P, None]:
    """Run *test* on another thread, on which no exception is being handled, now or after it.

    Where a tracer raises in an `except` block, CPython 3.11 may go on to take the block's exception
    for one that is being handled, for as long as the thread lives.
    """

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        failed: list[BaseException] = []

        def work() -> None:
            try:
                test(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - raised in the test
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]

    return run


def in_thread(work: Callable[[], None], at: str) -> None:
    """Do *work* in another thread: what this one holds, it would not notice."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised in the test
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LAST_RESORT_S)
    assert not thread.is_alive(), f"it waits for what was not let go at {at}"
    if failed:
        raise failed[0]
