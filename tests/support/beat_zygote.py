"""Heartbeats that start at once and can be killed: a program with everything loaded, forked.

As a program it reads one JSON list of arguments a line, forks, and runs `earmark` with them in the
child; `["reap", pid]` answers with how that child ended. Starting Python anew would take seconds of
every kill.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Final

_REAP: Final = "reap"


@dataclass(slots=True)
class Zygote:
    """Starts heartbeats in a folder, whose `earmark.toml` they go by."""

    folder: Path
    _process: "subprocess.Popen[str]"
    pids: list[int] = field(default_factory=list[int])
    """Of those that run."""

    def start(self, *arguments: str) -> int:
        """Start `earmark heartbeat` with *arguments*; return its process id."""
        config = str(self.folder / "earmark.toml")
        pid = int(self._ask(["heartbeat", "--config", config, *arguments]))
        self.pids.append(pid)
        return pid

    def end(self, pid: int, number: signal.Signals) -> int:
        """Send a signal, wait for the end, and return the exit code; minus the signal's number."""
        os.kill(pid, number)
        return self.ended(pid)

    def ended(self, pid: int) -> int:
        """Wait for the end of one and return its exit code."""
        code = int(self._ask([_REAP, pid]))
        self.pids.remove(pid)
        return code

    def said(self, pid: int) -> str:
        """Return what one told people."""
        return (self.folder / f"{pid}.err").read_text()

    def _ask(self, line: Sequence[Any]) -> str:
        stdin, stdout = self._pipes()
        stdin.write(json.dumps(line) + "\n")
        stdin.flush()
        answer = stdout.readline()
        assert answer, "the zygote is gone"
        return answer

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout


@contextmanager
def zygote(folder: Path, **variables: str) -> Generator[Zygote]:
    """Load everything once; whatever still runs in the end is killed."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("EARMARK_")}
    paths = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen(
        [sys.executable, "-m", "support.beat_zygote"],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**clean, "PYTHONPATH": paths, **variables},
    ) as process:
        made = Zygote(folder, process)
        try:
            yield made
        finally:
            for pid in made.pids:
                os.kill(pid, signal.SIGKILL)
            process.kill()


def _serve() -> None:
    # What a heartbeat would import first; no thread runs here, so that forking is safe.
    for each in ("cli.heartbeat", "provider.sender", "stores.postgres", "stores.sqlite"):
        import_module(f"earmark.{each}")
    from earmark.cli.main import main

    for line in sys.stdin:
        asked = json.loads(line)
        if asked[0] == _REAP:
            _, status = os.waitpid(asked[1], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork() or _run(main, asked)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _run(main: Any, arguments: list[str]) -> int:
    with Path(f"{os.getpid()}.err").open("w") as errors, Path(os.devnull).open("r+") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(nothing.fileno(), 1)
        os.dup2(errors.fileno(), 2)
        code = 1
        try:
            code = main(arguments)
        finally:
            sys.stderr.flush()
            os._exit(code)


if __name__ == "__main__":
    _serve()
