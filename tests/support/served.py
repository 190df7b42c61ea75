"""A real `earmark serve`, in a process of its own, and somebody who asks it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx2

from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.workspace.tokens import Tokens
from support.last_resort import LAST_RESORT_S

EARMARK: Final = (sys.executable, "-m", "earmark.cli.main")


def environment() -> dict[str, str]:
    """Return the variables of a program that knows nothing of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith("EARMARK_")}


def earmark(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*EARMARK, *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=LAST_RESORT_S,
    )


class Served:
    """A process that serves the books at a URL; it may be killed and started again.

    It may have *files* file descriptors open, if that is not None.
    """

    def __init__(self, store: str, folder: Path, *options: str, files: int | None = None) -> None:
        self.store = store
        self._limit = () if files is None else ("sh", "-c", f'ulimit -n {files} && exec "$@"', "sh")
        self._folder = folder
        self._options = options
        self.url = ""
        self.said = folder / "serve.err"
        self._process: subprocess.Popen[str] | None = None
        self._port = 0
        """A free one; after the first start, that one."""
        with open_ledger(store) as ledger:
            ledger.set_budget("acme", limits=["1000 usd total"])
            tables = open_tables(ledger.store)
            _, self.token = Tokens(tables, ledger.clock).create("tests", ["admin"])
            tables.close()

    def start(self) -> None:
        """Start it; returns when it answers."""
        command = [*self._limit, *EARMARK, "serve", "--json", "--port", str(self._port)]
        with self.said.open("a") as errors:
            self._process = subprocess.Popen(
                [*command, "--store", self.store, *self._options],
                cwd=self._folder,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._process.stdout is not None
        said = ""
        while not said.rstrip().endswith("}"):
            line = self._process.stdout.readline()
            assert line, self.said.read_text()
            said += line
        self.url = str(json.loads(said)["url"])
        self._port = int(self.url.rpartition(":")[2])

    @property
    def process(self) -> "subprocess.Popen[str]":
        """The process that runs."""
        assert self._process is not None
        return self._process

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.wait(LAST_RESORT_S)
        self._shut()

    def terminate(self) -> int:
        """Ask it to end; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(LAST_RESORT_S)
        self._shut()
        return code

    def _shut(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()

    @contextmanager
    def client(self) -> Generator[httpx2.Client]:
        """Give a client with the token, which keeps its connections."""
        headers = {"Authorization": f"Bearer {self.token}"}
        with httpx2.Client(base_url=self.url, headers=headers, timeout=LAST_RESORT_S) as client:
            yield client

    def ask(self, method: str, path: str, **given: Any) -> httpx2.Response:
        """Send one request on a connection of its own."""
        with self.client() as client:
            return client.request(method, path, **given)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.kill()
