"""A real site: `earmark serve` and `earmark heartbeat` as processes, a stub for a provider."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from earmark.clock import SystemClock
from earmark.workspace.tokens import Tokens
from support.last_resort import LAST_RESORT_S
from support.stub_server import Scene, StubServer, completion
from support.tables_at import tables_at

#: What the first requirements' task used, and what that costs at 3 and 15 USD a million.
USAGE = {"prompt_tokens": 163, "completion_tokens": 3025, "total_tokens": 3188}
COST = "0.045864"
CONFIG = """
[store]
url = "sqlite:///{folder}/books.db"
[providers.stub]
api = "openai"
base_url = "{stub}/v1"
api_key_env = "STUB_KEY"
[prices."stub/m"]
input_mtok = "3"
output_mtok = "15"
[budgets."c8"]
limits = ["10 usd per day"]
[budgets."c8/cloud-lu"]
limits = ["0.50 usd per 30min", "100 calls per 30min"]
[service]
open_reads = true
[heartbeat]
budget = "c8/cloud-lu"
model = "stub/m"
interval = "300ms"
"""


@dataclass
class Site:
    """Where it is, and what goes on behind it."""

    folder: Path
    stub: StubServer
    environment: dict[str, str]
    url: str = ""
    token: str = ""
    """May do everything, under the name of Carlos."""
    service: "Running | None" = None
    processes: ExitStack = field(default_factory=ExitStack)

    def command(self, *words: str) -> list[str]:
        """Return an `earmark` command on the site's books."""
        config = str(self.folder / "earmark.toml")
        return [sys.executable, "-m", "earmark.cli.main", *words, "--config", config]

    def add(self, title: str, **more: object) -> str:
        """Put a task on the board as a program does; return its id."""
        work = {"kind": "model", "max_tokens": 100}
        return self.send("/v1/tasks", {"title": title, "work": work, **more})["id"]

    def send(self, address: str, form: Mapping[str, object]) -> dict[str, str]:
        """Send JSON to the API; return its answer."""
        head = {"authorization": f"Bearer {self.token}"}
        answer = httpx2.post(f"{self.url}{address}", json=form, headers=head)
        assert answer.is_success, answer.text
        found: dict[str, str] = answer.json()
        return found

    def start(self, *words: str) -> "Running":
        """Start a command that stays, until it is stopped or the site ends."""
        process = subprocess.Popen(
            self.command(*words), env=self.environment, stderr=subprocess.PIPE, text=True
        )
        running = Running(process)
        self.processes.callback(running.stop)
        return running

    @property
    def store(self) -> str:
        """Where the books are."""
        return f"sqlite:///{self.folder}/books.db"

    def serve(self, port: str = "0", *more: str) -> "Running":
        """Start the service; it answers at the site's URL."""
        service = self.start("serve", "--port", port, *more)
        self.url = service.says("serving ").rsplit(" at ", 1)[1].strip()
        return service

    def answers(
        self, text: str = "I'll implement it.", waits: threading.Event | None = None
    ) -> None:
        """Let the provider answer from now on; with *waits* once that is set."""
        body = completion(USAGE, model="m", texts=[text])
        self.stub.play(Scene(body=body, billed=USAGE, waits=waits))


@contextmanager
def page_site(folder: Path) -> Generator[Site]:
    """Start a service and a heartbeat on new books; ended with the block."""
    with StubServer() as stub:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("EARMARK_")}
        site = Site(folder, stub, {**environment, "STUB_KEY": "sk-none"})
        config = CONFIG.format(folder=folder, stub=stub.url)
        (folder / "earmark.toml").write_text(config, encoding="utf-8")
        with site.processes:
            site.answers()
            heartbeat = site.start("heartbeat")
            site.service = site.serve()
            heartbeat.says("beats every")
            site.token = _token(folder)
            yield site


def _token(folder: Path) -> str:
    """Return a token for everything, in the books that the service has made by now."""
    with closing(tables_at(f"sqlite:///{folder / 'books.db'}")) as tables:
        return Tokens(tables, SystemClock()).create("Carlos", ["admin"])[1]


class Running:
    """A command that stays."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        assert process.stderr is not None
        self._said = process.stderr
        # Whatever it says later is read, so that it never waits for a reader.
        self._rest = threading.Thread(target=self._said.read)

    def says(self, until: str) -> str:
        """Return the line on which it first says *until*."""
        seen: list[str] = []
        for line in self._said:
            seen.append(line)
            if until in line:
                self._rest.start()
                return line
        raise AssertionError(f"it ended without saying {until!r}: {''.join(seen)}")

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait(LAST_RESORT_S)

    def stop(self) -> None:
        """End it as an operator would; a second time does nothing."""
        self._process.send_signal(signal.SIGTERM)
        with self._process:
            try:
                self._process.wait(LAST_RESORT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
            if self._rest.ident is not None:
                self._rest.join()
