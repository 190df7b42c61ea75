"""A folder with books, settings and compositions, in which `earmark` really runs."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from contextlib import (
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    redirect_stderr,
    redirect_stdout,
)
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any, Final, cast

from earmark import run_async
from earmark.admission.call import Call, Grant, Reply
from earmark.admission.guard import AsyncGuard, Receipt
from earmark.cli.main import main
from earmark.clock import Clock
from earmark.config.assemble import Providers, no_key, price_book, stages_of
from earmark.config.load import load_settings
from earmark.errors import BudgetExceeded, StageFailed
from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.pricing.bound import Bound
from earmark.runs.statement import Statement
from earmark.stages.kinds.kind import StageKind
from earmark.stores.open import open_ledger
from support.calls import ask
from support.fire_till import Till
from support.last_resort import LAST_RESORT_S
from support.shell import graph, stage

SETTINGS: Final = """
[store]
url = "sqlite:///books.db"

[prices."till/m"]
input_mtok = "1"
output_mtok = "2"

[prices."till/dear"]
input_mtok = "3"
output_mtok = "6"

[prices."messages/m"]
input_mtok = "1"
output_mtok = "2"

[prices."local/smollm2-135m"]
input_mtok = "1"
output_mtok = "2"

[providers.till]
api = "openai"
base_url = "{url}/v1"

[providers.messages]
api = "anthropic"
base_url = "{url}"

[providers.local]
api = "openai"
base_url = "{url}/v1"
context_window = 2048

[stages.ask]
kind = "model"
model = "till/m"
prompt = "Write about {{topic}}."
max_tokens = 100

[stages.ask-messages]
kind = "model"
model = "messages/m"
prompt = "Write about {{topic}}."
max_tokens = 100

[stages.go-on]
kind = "model"
model = "local/smollm2-135m"
prompt = "Write about {{topic}}, and never stop."
max_tokens = 1500
options = {{ ignore_eos = true }}
"""

GRAPHS: Final[Mapping[str, dict[str, Any]]] = {
    "one.json": stage("ask"),
    "messages.json": stage("ask-messages"),
    "real.json": stage("go-on"),
    "two.json": {"op": "Sequential", "stages": [stage("ask"), stage("ask")]},
    "three.json": {"op": "Parallel", "branches": {name: stage("ask") for name in "abc"}},
    "again.json": {"op": "Retry", "stage": stage("ask"), "max_attempts": 3},
}

#: The reservation of one `ask`, however short its topic: 100 tokens out at 2,000 nano-USD each,
#: and at most so many in.
LEAST_HOLD: Final = 100 * 2000


#: Is told how many output tokens a stream has produced.
Told = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output as the one JSON document it is."""
        return json.loads(self.out)


class Place:
    """The folder, and the commands that are run in it.

    Args:
        folder: Where everything is; a second `Place` in the same folder has the same books.
        url: Where all the providers answer, without the APIs' own paths.
        limit: Of the budget `acme`, which pays for everything; as it stands if not given.
    """

    def __init__(self, folder: Path, url: str, limit: str | None = None) -> None:
        self.folder = folder
        self.books = f"sqlite:///{folder}/books.db"
        self._config = folder / "earmark.toml"
        _write(self._config, SETTINGS.format(url=url))
        for name, root in GRAPHS.items():
            _write(folder / name, graph(root))
        if limit is not None:
            with self.open() as ledger:
                ledger.set_budget("acme", limits=[limit])
                ledger.set_budget("acme/agent", limits=["1000 usd total"])

    # Commands -------------------------------------------------------------------------------------

    def started(self, *arguments: str) -> "AbstractContextManager[subprocess.Popen[str]]":
        """Start `earmark` in a process of its own, which the block outlives."""
        command = ("-m", "earmark.cli.main", *arguments, "--config", str(self._config))
        return started(*command, folder=self.folder)

    def here(self, *arguments: str) -> Done:
        """Run `earmark` in this process, which saves it the time to start."""
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
            code = main([*arguments, "--config", str(self._config)])
        return Done(code, out.getvalue(), err.getvalue())

    def ok(self, *arguments: str) -> Done:
        """Run a command here that is to succeed."""
        done = self.here(*arguments)
        assert done.code == 0, done.err
        return done

    def json(self, *arguments: str) -> Any:
        """Run a command here that is to succeed, and return its JSON."""
        return self.ok(*arguments, "--json").json

    def run(self, composition: str = "one.json", *more: str, budget: str = "0.01") -> Done:
        """Run a composition here."""
        return self.here(*self.order(composition, *more, budget=budget))

    def order(self, composition: str, *more: str, budget: str = "0.01") -> tuple[str, ...]:
        """Return the arguments that run a composition under `acme/agent`."""
        path = str(self.folder / composition)
        given = ("--input", '{"topic": "lamps"}', "--under", "acme/agent", "--budget", budget)
        return ("run", path, *given, *more)

    # What the books say ---------------------------------------------------------------------------

    def standing(self, path: str = "acme") -> tuple[Money, Money]:
        """Return what the budget has settled and held, as `earmark budget show` says it."""
        (budget,) = self.json("budget", "show", path)["budgets"]
        (balance,) = (each for each in budget["balances"] if each["unit"] == "usd")
        return Money(balance["settled"]), Money(balance["held"])

    def unresolved(self) -> list[dict[str, Any]]:
        """Return what `earmark holds` lists."""
        return cast("list[dict[str, Any]]", self.json("holds")["holds"])

    def audited(self) -> dict[str, Any]:
        """Return what `earmark audit` says; it is content."""
        report = cast("dict[str, Any]", self.json("audit"))
        assert report["ok"], report["problems"]
        return report

    def check(self, statement: Mapping[str, Any]) -> None:
        """Assert that a statement's totals and lines are the ledger's, to the nano-dollar."""
        spent, held = Money(statement["spent"]), Money(statement["held"])
        assert self.standing(statement["budget"]) == (spent, held)
        lines: list[dict[str, Any]] = statement["lines"]
        assert total(line.get("settled", "0") for line in lines) == spent
        booked = self.json("holds", "--run", statement["run_id"], "--state", "all")["holds"]
        told = {line["key"]: line for line in lines if "key" in line}
        assert {each["key"] for each in booked} == set(told)
        for each in booked:
            line = told[each["key"]]
            assert line["state"] == each["state"]
            assert Money(line.get("hold", "0")) == Money(each["amount"])
            assert Money(line.get("settled", "0")) == Money(each["settled"] or "0")
        assert statement["unaccounted"] == "0"
        self.audited()

    # Without the command line ---------------------------------------------------------------------

    def open(self, clock: Clock | None = None) -> Ledger:
        """Open the books, by another clock if one is given."""
        return open_ledger(self.books, clock=clock)

    @asynccontextmanager
    async def workspace(self, ledger: Ledger) -> AsyncGenerator["Workspace"]:
        """Open the providers, for as many runs and calls as there are to be made at once."""
        settings = load_settings(self._config, {})
        book = price_book(settings)
        providers = Providers(settings, book=book, clock=ledger.clock, key=no_key)
        try:
            yield Workspace(self.folder, ledger, providers, tuple(stages_of(settings)))
        finally:
            await providers.aclose()


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where runs and calls are made without the command line, on `acme/agent`."""

    folder: Path
    ledger: Ledger
    providers: Providers
    stages: tuple[StageKind, ...]

    async def run(
        self, composition: str, *, topic: str = "lamps", budget: str = "0.01", **options: Any
    ) -> Statement:
        """Run a composition to its end and return its statement, however it ended."""
        try:
            return await run_async(
                (self.folder / composition).read_text(),
                {"topic": topic},
                ledger=self.ledger.as_async(),
                under="acme/agent",
                stages=self.stages,
                providers=self.providers,
                budget=budget,
                **options,
            )
        except (BudgetExceeded, StageFailed) as end:
            return cast("Statement", end.statement)

    async def spend(
        self, guard: AsyncGuard, model: str, *, told: Told | None = None, **request: Any
    ) -> Receipt:
        """Make one guarded call of a model, without a composition."""
        provider, _, _ = model.partition("/")
        call = self.providers[provider].call(ask(model, "Write about lamps.", **request))
        made = call if told is None else _Loud(call, told)
        return await guard.spend("acme/agent", made, wait=None, labels={"model": call.name})


@dataclass(frozen=True, slots=True)
class _Loud:
    """A call that tells how far it is, each time after its guard was told."""

    inner: Call
    told: Told

    @property
    def name(self) -> str:
        """The call's own."""
        return self.inner.name

    @property
    def bound(self) -> Bound:
        """The call's own."""
        return self.inner.bound

    @property
    def streams(self) -> bool:
        """The call's own."""
        return self.inner.streams

    async def send(self, grant: Grant) -> Reply:
        """Make the call."""

        async def produced(tokens: int) -> None:
            await grant.produced(tokens)
            self.told(tokens)

        return await self.inner.send(replace(grant, produced=produced))


def _write(file: Path, text: str) -> None:
    # Workers come to the same folder while others read in it.
    if not file.exists() or file.read_text() != text:
        file.write_text(text)


@contextmanager
def started(
    *arguments: str, folder: Path | None = None, **variables: str
) -> "Generator[subprocess.Popen[str]]":
    """Start this Python in a process that ends with the block, whatever happens in it."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("EARMARK_")}
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean, **variables},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def total(amounts: Iterable[str]) -> Money:
    """Return the sum of *amounts* as they stand in JSON."""
    return Money.nanos(sum(Money(each).in_nanos for each in amounts))


def ended(process: "subprocess.Popen[str]") -> Done:
    """Return what a process left behind, once it has ended."""
    out, err = process.communicate(timeout=LAST_RESORT_S)
    return Done(process.returncode, out, err)


def booked(ledger: Ledger) -> int:
    """Return what the books count as spent or held by `acme`, in nano-USD."""
    # Of one reading: a settlement between two would be missing from both.
    balance = ledger.balances("acme")[0]
    assert isinstance(balance.settled, Money)
    assert isinstance(balance.held, Money)
    return balance.settled.in_nanos + balance.held.in_nanos


def check_mended(ledger: Ledger, till: Till) -> None:
    """Assert that the true bill, booked late for what was presumed, leaves nothing to explain."""
    for hold in ledger.holds(state="presumed"):
        assert hold.settled is not None
        known = booked(ledger) - hold.settled.in_nanos
        ledger.settle(hold.key, Money.nanos(till.owed - known))
    assert booked(ledger) == till.owed
    assert ledger.audit().ok
