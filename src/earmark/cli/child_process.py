"""A command as a child process that has the terminal; signals reach it, and its exit code is kept.

Child and parent are in one process group: the terminal sends its signals to both, and the child
decides what becomes of them. The parent lives until the child has ended.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

#: What shells answer for a program that is not there, and for one that may not be started.
NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
#: What they add a signal's number to, for a program that it ended.
_BY_SIGNAL: Final = 128

#: From a terminal, to the whole group: the child has them too.
_FROM_TERMINAL: Final = (signal.SIGINT, signal.SIGQUIT)
#: To this process alone.
_PASSED_ON: Final = (signal.SIGTERM, signal.SIGHUP)

_Handler = Callable[[int, FrameType | None], object]


class CommandNotStarted(Exception):
    """A program cannot be started; says why, with the exit code that shells have for it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def check_program(name: str, environ: Mapping[str, str]) -> None:
    """Refuse what cannot be started, before anything else is.

    Raises:
        CommandNotStarted: There is no program *name*, or it may not be executed.
    """
    path = environ.get("PATH", os.defpath)
    if shutil.which(name, path=path) is not None:
        return
    if shutil.which(name, os.F_OK, path) is not None:
        raise CommandNotStarted(f"'{name}' is no program that may be started", NOT_EXECUTABLE)
    where = "" if os.sep in name else " on the PATH"
    raise CommandNotStarted(f"there is no program '{name}'{where}", NOT_FOUND)


class ChildProcess:
    """Starts one command, and passes signals on to it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        """Signals that came before there was a child."""

    @contextmanager
    def signals(self) -> Generator[None]:
        """Give the child the signals of this process while the block runs.

        None of them ends this process in the block, before the child is there and after it neither.
        """
        before: dict[int, signal.Handlers | int | _Handler | None] = {}
        for number in (*_FROM_TERMINAL, *_PASSED_ON):
            if signal.getsignal(number) != signal.SIG_IGN:  # else the child ignores it, too
                handler = self._pass_on if number in _PASSED_ON else _ignored
                # A handler, for what is ignored stays so in the child.
                before[number] = signal.signal(number, handler)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def run(self, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
        """Run a command to its end; return its exit code, 128 and its number for a signal's.

        Raises:
            CommandNotStarted: It cannot be started.
        """
        try:
            # Files that whoever started this process left open for the command stay open; none of
            # this process's own are inherited.
            process = subprocess.Popen(arguments, env=environment, close_fds=False)  # noqa: S603
        except FileNotFoundError:
            raise CommandNotStarted(f"'{arguments[0]}' cannot be found", NOT_FOUND) from None
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise CommandNotStarted(f"'{arguments[0]}': {why}", NOT_EXECUTABLE) from None
        self._process = process
        for number in self._early:
            process.send_signal(number)
        code = process.wait()
        return code if code >= 0 else _BY_SIGNAL - code

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        if self._process is None:
            self._early.append(number)
        else:
            self._process.send_signal(number)


def _ignored(_number: int, _frame: FrameType | None) -> None:
    """Leave it to the child."""
