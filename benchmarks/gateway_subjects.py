"""The gateways that are measured: how each is installed, set up, started, and asked what it booked.

    python -m benchmarks.gateway_subjects    installs the peers, so that a benchmark need not

Each is used as its own documents show, in one process, with books that outlive it where it has any.
"""

import json
import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from benchmarks.gateway_load import Door, get_json
from benchmarks.gateway_upstream import MODEL, OUTPUT_USD, TOKENS
from benchmarks.peer_places import environment, free_port, run_quietly, wait_for_port
from benchmarks.settings import NotHereError, tell
from benchmarks.worker import ROOT
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.workspace.gateway_access import GatewayAccess
from earmark.workspace.tokens import Tokens

#: Where peers are installed; a former run's are used.
INSTALLED: Final = ROOT / "build/bench/peers"
_KEY: Final = "sk-bench"
_EARMARK: Final = (sys.executable, "-m", "earmark.cli.main")
#: Seconds for a gateway to answer at its port: LiteLLM loads for ten to thirty.
_START_S: Final = 300.0
_INSTALL_S: Final = 900.0


class Subject(ABC):
    """A gateway, and the books that it has."""

    name: str
    used: str
    """Which way of using it, and what its books promise."""
    has_budget: bool = True
    forgets_after_s: float = 0.0
    """How long after its end a gateway's open holds are still counted; 0 for ever, or never."""

    def install(self) -> None:  # noqa: B027 - Earmark is here
        """Install it unless it is.

        Raises:
            NotHereError: It cannot be.
        """

    @abstractmethod
    def write(self, folder: Path, upstream: str, usd: int, redis: str) -> None:
        """Write its configuration, with new books of *usd*, into the empty *folder*."""

    @abstractmethod
    def command(self, folder: Path, port: int) -> Sequence[str]:
        """Return what starts it."""

    @abstractmethod
    def door(self, folder: Path, url: str) -> Door:
        """Return how its clients ask it at *url*."""

    def variables(self, folder: Path) -> Mapping[str, str]:
        """Return the environment variables that it is started with."""
        del folder
        return {}

    def spent(self, door: Door) -> Decimal:
        """Return what it says is spent or held, in USD."""
        raise NotImplementedError

    @contextmanager
    def started(self, folder: Path) -> Generator[Door]:
        """Run it in a process of its own; killed with SIGKILL in the end."""
        port = free_port()
        with (folder / "output.txt").open("ab") as output:
            process = subprocess.Popen(
                self.command(folder, port),
                cwd=folder,
                env={**os.environ, **self.variables(folder)},
                stdout=output,
                stderr=output,
            )
        try:
            if not wait_for_port(process, port, _START_S):
                tell((folder / "output.txt").read_text("utf-8", "replace")[-2000:])
                raise NotHereError(f"{self.name} does not start")
            door = self.door(folder, f"http://127.0.0.1:{port}")
            yield Door(url=door.url, pid=process.pid, path=door.path, headers=door.headers)
        finally:
            process.kill()
            process.wait()


class Earmark(Subject):
    """This gateway, on a file of SQLite."""

    name = "Earmark"
    used = "SQLite; each hold and each settlement is on the disk before it is answered"

    def write(self, folder: Path, upstream: str, usd: int, redis: str) -> None:
        """Write `earmark.toml`, and make a token of a budget."""
        del redis
        (folder / "earmark.toml").write_text(
            f"""\
[providers.openai]
api = "openai"
base_url = "{upstream}/v1"
api_key_env = "OPENAI_API_KEY"

[prices."openai/{MODEL}"]
input_mtok = "0"
output_mtok = "{OUTPUT_USD}"
""",
            encoding="utf-8",
        )
        url = f"sqlite:///{folder / 'books.db'}"
        with open_ledger(url) as ledger, closing(open_tables(ledger.store)) as tables:
            ledger.set_budget("acme", limits=[f"{usd} usd total"])
            access = GatewayAccess(budget="acme")
            _, token = Tokens(tables, ledger.clock).create_for_gateway("bench", access)
        (folder / "token").write_text(token, encoding="utf-8")

    def command(self, folder: Path, port: int) -> Sequence[str]:
        """Return the command of its users."""
        del folder
        return [*_EARMARK, "gateway", "--config", "earmark.toml", "--port", str(port)]

    def variables(self, folder: Path) -> Mapping[str, str]:
        """Return the provider's key, and nobody's configuration."""
        return {
            "OPENAI_API_KEY": _KEY,
            "EARMARK_STORE": f"sqlite:///{folder / 'books.db'}",
            "HOME": str(folder),
        }

    def door(self, folder: Path, url: str) -> Door:
        """Return a door for the token."""
        token = (folder / "token").read_text(encoding="utf-8")
        return Door(url=url, headers={"authorization": f"Bearer {token}"})

    def spent(self, door: Door) -> Decimal:
        """Return what is settled and held of the budget."""
        (limit,) = get_json(door, "/v1/earmark/balance")["limits"]
        return Decimal(limit["settled"]) + Decimal(limit["held"])


class LiteLLM(Subject):
    """LiteLLM's proxy with a provider's budget, counted in Redis."""

    name = "LiteLLM"
    used = (
        "proxy, one worker, provider_budget_config with Redis (appendfsync always); budgets of keys"
        " need its PostgreSQL client, whose engine is in no package registry"
    )
    forgets_after_s = 3.0  # it writes to Redis once a second
    _packages = ("litellm[proxy]==1.108.7",)

    def install(self) -> None:
        """Install it into an environment of its own."""
        self._python()

    def _python(self) -> Path:
        return environment(INSTALLED / "litellm", self._packages, (3, 11), _INSTALL_S)

    def write(self, folder: Path, upstream: str, usd: int, redis: str) -> None:
        """Write its `config.yaml`; JSON is YAML."""
        port = int(redis.rpartition(":")[2].partition("/")[0])
        call = {
            "model": f"openai/{MODEL}",
            "api_base": f"{upstream}/v1",
            "api_key": _KEY,
            "input_cost_per_token": 0,
            "output_cost_per_token": OUTPUT_USD / 1_000_000,
        }
        config: dict[str, Any] = {
            "model_list": [{"model_name": MODEL, "litellm_params": call}],
            "router_settings": {
                "provider_budget_config": {"openai": {"budget_limit": usd, "time_period": "1d"}},
                "redis_host": "127.0.0.1",
                "redis_port": port,
                "num_retries": 0,
            },
            "general_settings": {"master_key": _KEY},
        }
        (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")

    def command(self, folder: Path, port: int) -> Sequence[str]:
        """Return its documented command."""
        program = self._python().parent / "litellm"
        config = ("--config", str(folder / "config.yaml"))
        return [str(program), *config, "--host", "127.0.0.1", "--port", str(port)]

    def variables(self, folder: Path) -> Mapping[str, str]:
        """Return what keeps it from asking the network at its start."""
        del folder
        return {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}

    def door(self, folder: Path, url: str) -> Door:
        """Return a door for its master key."""
        del folder
        return Door(url=url, headers={"authorization": f"Bearer {_KEY}"})

    def spent(self, door: Door) -> Decimal:
        """Return what it says the provider's budget has spent."""
        found = get_json(door, "/provider/budgets")["providers"]["openai"]
        return Decimal(str(found["spend"] or 0))


class Hardcap(Subject):
    """hardcap with its budgets of tokens in Redis; 100 tokens of output are a dollar."""

    name = "hardcap"
    used = (
        "Redis (appendfsync always), its default estimator; 100 output tokens are a dollar;"
        " reservation_ttl_s 2 instead of 120"
    )
    forgets_after_s = 3.0
    _packages = ("hardcap==0.1.0",)

    def install(self) -> None:
        """Install it into an environment of its own."""
        self._python()

    def _python(self) -> Path:
        return environment(INSTALLED / "hardcap", self._packages, (3, 11), _INSTALL_S)

    def write(self, folder: Path, upstream: str, usd: int, redis: str) -> None:
        """Write its configuration; JSON is YAML."""
        target = {"upstream": "stub", "model": MODEL}
        # A day, so that no budget begins anew while it is measured.
        budget = {"window_s": 86_400, "output": usd * TOKENS}
        config = {
            "redis_url": redis,
            "key_prefix": folder.name,
            "budget": {"reservation_ttl_s": 2.0},
            "upstreams": {"stub": {"base_url": upstream}},
            "routes": {MODEL: {"targets": [target]}},
            "tenants": {"bench": {"api_keys": [_KEY], "budget": budget}},
        }
        (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")

    def command(self, folder: Path, port: int) -> Sequence[str]:
        """Return its documented command."""
        program = self._python().parent / "hardcap"
        config = ("-c", str(folder / "config.yaml"))
        return [str(program), "serve", *config, "--host", "127.0.0.1", "--port", str(port)]

    def door(self, folder: Path, url: str) -> Door:
        """Return a door for the tenant."""
        del folder
        return Door(url=url, headers={"authorization": f"Bearer {_KEY}"})

    def spent(self, door: Door) -> Decimal:
        """Return what the tenant has used and reserved."""
        found = get_json(door, "/v1/hardcap/usage")
        return Decimal(found["used"]["output"] + found["reserved"]["output"]) / TOKENS


class Portkey(Subject):
    """Portkey's open gateway, which has no budgets."""

    name = "Portkey"
    used = "its open gateway for Node.js, which has no budget"
    has_budget = False
    _package = "@portkey-ai/gateway@1.15.2"

    def install(self) -> None:
        """Install it from npm."""
        folder = INSTALLED / "portkey"
        done = folder / "installed.txt"
        if done.exists() and done.read_text(encoding="utf-8") == self._package:
            return
        npm = shutil.which("npm")
        if npm is None:
            raise NotHereError("it needs Node.js and npm")
        tell(f"gateway: installing {self._package}")
        folder.mkdir(parents=True, exist_ok=True)
        install = [npm, "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder)]
        run_quietly([*install, self._package], "npm cannot install it", _INSTALL_S)
        done.write_text(self._package, encoding="utf-8")

    def write(self, folder: Path, upstream: str, usd: int, redis: str) -> None:
        """Note where its requests go: its clients say that, in a header."""
        del usd, redis
        (folder / "upstream").write_text(upstream, encoding="utf-8")

    def command(self, folder: Path, port: int) -> Sequence[str]:
        """Return its documented command."""
        del folder
        script = INSTALLED / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
        return ["node", str(script), f"--port={port}", "--headless"]

    def variables(self, folder: Path) -> Mapping[str, str]:
        """Return what lets it ask this machine."""
        del folder
        return {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost", "NODE_ENV": "production"}

    def door(self, folder: Path, url: str) -> Door:
        """Return a door that names the provider."""
        upstream = (folder / "upstream").read_text(encoding="utf-8")
        headers = {
            "authorization": f"Bearer {_KEY}",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"{upstream}/v1",
        }
        return Door(url=url, headers=headers)


OURS: Final = Earmark()
PEERS: Final[tuple[Subject, ...]] = (LiteLLM(), Hardcap(), Portkey())


def main() -> None:
    """Install what the benchmark of the gateways needs, and say what cannot be had."""
    for each in PEERS:
        try:
            each.install()
        except NotHereError as reason:
            tell(f"{each.name}: {reason}")


if __name__ == "__main__":
    main()
