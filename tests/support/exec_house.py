"""`earmark exec` in processes of its own, before a provider that is a stub with a bill."""

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from earmark.stores.open import open_ledger
from support.last_resort import LAST_RESORT_S
from support.served import EARMARK
from support.stub_server import completion
from support.upstream_stub import Answer, UpstreamStub, cost

KEY: Final = "sk-the-providers-own"
#: Asks as often as its argument says, and says what it was answered.
ASK: Final = """
import sys, openai
client = openai.OpenAI()
for _ in range(int(sys.argv[1])):
    try:
        reply = client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "Name one planet."}],
            max_tokens=200,
        )
    except openai.APIError as error:
        print("error:", type(error).__name__, error, flush=True)
        sys.exit(9)
    print(reply.choices[0].message.content, flush=True)
"""
#: Of a call of the script: what it is billed, and about what it holds.
COST: Final = cost(12, 100, rates=("0.15", "0.60"))
HOLD: Final = Decimal("0.00015")
REPLY: Final = completion(
    {"prompt_tokens": 12, "completion_tokens": 100, "total_tokens": 112},
    model="gpt-4o-mini",
    texts=["Mars."],
)
_CONFIG: Final = """
[store]
url = "sqlite:///books.db"
[budgets.acme]
limits = ["1 usd total"]
[providers.openai]
api = "openai"
base_url = "{url}/v1"
api_key_env = "OPENAI_API_KEY"
"""


@dataclass(kw_only=True)
class ExecHouse:
    """A folder with a configuration, a client's script and, once they are used, books."""

    folder: Path
    stub: UpstreamStub

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of `earmark exec` with these arguments."""
        return [*EARMARK, "--config", "house.toml", "exec", *arguments]

    def asking(self, *options: str, calls: int = 1) -> list[str]:
        """Return one whose command asks so often."""
        return self.command(*options, "--", sys.executable, "ask.py", str(calls))

    def start(self, command: list[str], *, own_group: bool = False) -> "subprocess.Popen[str]":
        """Start a command line of its own, its output and errors piped."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=own_group,
        )

    def run(self, command: list[str], **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run one to its end."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment(), **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LAST_RESORT_S,
        )

    def environment(self) -> dict[str, str]:
        """Return the variables of a developer with one key."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return {**kept, "OPENAI_API_KEY": KEY}

    def statement(self, name: str = "statement.json") -> Any:
        """Return the statement that was written to a file."""
        return json.loads((self.folder / name).read_text("utf-8"))

    def spent(self) -> Decimal:
        """Return what is settled and held on the budget, the books audited."""
        with open_ledger(f"sqlite:///{self.folder}/books.db") as ledger:
            (balance,) = ledger.balances("acme")
            assert ledger.audit().ok
        return Decimal(str(balance.settled)) + Decimal(str(balance.held))


@contextmanager
def exec_house(folder: Path) -> Generator[ExecHouse]:
    """Open one; every call is answered, and billed `COST`."""
    with UpstreamStub() as stub:
        stub.answer(Answer(body=REPLY, cost=COST))
        (folder / "house.toml").write_text(_CONFIG.format(url=stub.url), "utf-8")
        (folder / "ask.py").write_text(ASK, "utf-8")
        yield ExecHouse(folder=folder, stub=stub)
