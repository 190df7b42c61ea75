"""A command as a child that has the terminal: its signals, its exit code, its files."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from earmark.cli.child_process import ChildProcess, CommandNotStarted, check_program
from support.last_resort import LAST_RESORT_S

#: Runs the command of its arguments as a child, and says so on its way.
PARENT = """
import sys
from earmark.cli.child_process import ChildProcess
child = ChildProcess()
with child.signals():
    print("parent ready", flush=True)
    code = child.run(sys.argv[1:], {"PATH": "/usr/bin:/bin"})
    print("code", code, flush=True)
    if "--linger" in sys.argv:
        sys.stdin.readline()
        print("still here", flush=True)
"""
#: Says which signals come, and ends at the second.
CHILD = """
import signal, sys
numbers = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP}
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
print("child ready", flush=True)
for _ in range(2):
    print("child got", signal.Signals(signal.sigwait(numbers)).name, flush=True)
sys.exit(42)
"""


class Terminal:
    """A pseudo-terminal with a parent and its child in its foreground."""

    def __init__(self, *command: str) -> None:
        self.pid, self._fd = os.forkpty()
        if not self.pid:
            os.execv(sys.executable, [sys.executable, "-c", PARENT, *command])  # noqa: S606
        self.seen = b""
        self._read = 0
        """How much of that was waited for."""

    def type(self, keys: bytes) -> None:
        """Press keys; a terminal makes signals of some."""
        os.write(self._fd, keys)

    def read_until(self, text: str) -> None:
        """Return once *text* is on the screen, after what was waited for before."""
        while (place := self.seen.find(text.encode(), self._read)) < 0:
            try:
                part = os.read(self._fd, 4096)
            except OSError:  # its programs have ended
                part = b""
            assert part, self.seen.decode()
            self.seen += part
        self._read = place + len(text)

    def close(self) -> None:
        """Take the terminal away, which ends what is left in it."""
        os.close(self._fd)

    def code(self) -> int:
        """Return the parent's exit code, once it has ended."""
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)


@contextmanager
def terminal(*command: str) -> Generator[Terminal]:
    """Give a terminal in which *command* runs as a child; whatever is left of it is ended."""
    made = Terminal(*command)
    try:
        yield made
    finally:
        made.close()


def test_the_terminal_s_signals_are_the_child_s() -> None:
    """Ctrl-C and Ctrl+Backslash reach the child, once each; the parent ends by none, ever."""
    with terminal(sys.executable, "-c", CHILD, "--linger") as seen:
        seen.read_until("child ready")
        seen.type(b"\x03")
        seen.read_until("child got SIGINT")
        seen.type(b"\x1c")
        seen.read_until("code 42")
        seen.type(b"\x03")  # a second Ctrl-C that comes after the child has ended
        seen.read_until("^C")  # the terminal has forgotten what was typed before it
        seen.type(b"\n")
        seen.read_until("still here")
        assert seen.code() == 0
    assert seen.seen.count(b"child got") == 2


def test_the_child_has_the_terminal() -> None:
    """Its input, output and errors are the terminal, and it is in the foreground."""
    script = (
        "import os, sys; print(all(map(os.isatty, range(3))), os.tcgetpgrp(0) == os.getpgrp());"
        " print(input())"
    )
    with terminal(sys.executable, "-c", script) as seen:
        seen.read_until("True True")
        seen.type(b"typed words\n")
        seen.read_until("code 0")
        assert seen.seen.count(b"typed words") == 2, "echoed, and read"
        assert seen.code() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_comes_to_the_parent_alone_is_passed_on(number: signal.Signals) -> None:
    """SIGTERM and SIGHUP, as systemd and a closed terminal send them."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, sys.executable, "-c", CHILD],
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        lines = iter(parent.stdout.readline, "")
        assert [next(lines), next(lines)] == ["parent ready\n", "child ready\n"]
        for _ in range(2):
            parent.send_signal(number)
            assert next(lines) == f"child got {number.name}\n"
        assert next(lines) == "code 42\n"
        assert parent.wait(LAST_RESORT_S) == 0


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)],
)
def test_its_exit_code_is_kept(script: str, code: int) -> None:
    """As it is, or as a shell shows that a signal ended it."""
    assert ChildProcess().run(["sh", "-c", script], {"PATH": "/usr/bin:/bin"}) == code


def test_a_signal_that_the_parent_ignores_stays_ignored() -> None:
    """A command in the background, where Ctrl-C is not for it, does not end by it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = ChildProcess()
    try:
        with child.signals():
            assert child.run(["sh", "-c", "kill -INT $$; exit 5"], {"PATH": "/usr/bin:/bin"}) == 5
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_signals_are_the_parent_s_again_afterwards() -> None:
    """What was set before the block is set after it."""
    numbers = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(each) for each in numbers]
    with ChildProcess().signals():
        assert [signal.getsignal(each) for each in numbers] != before
    assert [signal.getsignal(each) for each in numbers] == before


def test_a_signal_before_the_child_is_the_child_s() -> None:
    """SIGTERM while the parent is still getting ready ends the child at once."""
    child = ChildProcess()
    with child.signals():
        os.kill(os.getpid(), signal.SIGTERM)
        assert child.run(["sleep", "600"], {"PATH": "/usr/bin:/bin"}) == 128 + signal.SIGTERM


def test_what_cannot_be_started(tmp_path: Path) -> None:
    """A program that is not there is 127, one that may not be executed 126, as shells have it."""
    (tmp_path / "notes").write_text("no program")
    script = tmp_path / "broken"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    path = {"PATH": str(tmp_path)}
    for name, code in (("nosuch", 127), ("/no/such/program", 127), ("notes", 126)):
        with pytest.raises(CommandNotStarted, match=name) as refused:
            check_program(name, path)
        assert refused.value.exit_code == code
    check_program("broken", path)
    with pytest.raises(CommandNotStarted, match="broken") as refused:
        ChildProcess().run([str(script)], path)
    assert refused.value.exit_code == 127


def test_files_that_were_left_open_for_it_are_open_and_no_others(tmp_path: Path) -> None:
    """A shell's `<(…)` works; a file that this process opened for itself is not inherited."""
    (tmp_path / "given").write_text("of the shell")
    given = os.open(tmp_path / "given", os.O_RDONLY)
    os.set_inheritable(given, True)  # noqa: FBT003 - its only argument
    with (tmp_path / "own").open("w") as own:
        script = (
            f"import os\nassert os.read({given}, 99) == b'of the shell'\n"
            f"try:\n    os.fstat({own.fileno()})\nexcept OSError:\n    os._exit(42)"
        )
        code = ChildProcess().run([sys.executable, "-c", script], {})
    os.close(given)
    assert code == 42
