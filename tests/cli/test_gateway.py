"""`earmark gateway` as its users have it: a process, killed and ended; and its tokens."""

import json
import signal
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from earmark.stores.open import open_ledger
from support.last_resort import LAST_RESORT_S
from support.served import EARMARK, earmark, environment
from support.stub_server import chunks, completion
from support.upstream_stub import STREAM, Answer, UpstreamStub

ASK: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "stream": True,
    "messages": [{"role": "user", "content": "Name one planet."}],
}
USAGE = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
CHAT = chunks(["Ma", "rs"], USAGE, model="gpt-4o-mini")


def prepared(folder: Path, stub: UpstreamStub) -> str:
    """Write a configuration before *stub* and return a token of the budget `acme/agent`."""
    (folder / "earmark.toml").write_text(
        f"""
[budgets.acme]
limits = ["1 usd total"]

[providers.openai]
api = "openai"
base_url = "{stub.url}/v1"
api_key_env = "OPENAI_API_KEY"
""",
        "utf-8",
    )
    made = earmark(
        folder, "token", "create", "agent", "--budget", "acme/agent", "--most", "0.50",
        "--provider", "openai", "--config", "earmark.toml", "--json",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return str(json.loads(made.stdout)["token"])


@contextmanager
def served(folder: Path, command: str = "gateway") -> Generator[tuple[subprocess.Popen[str], str]]:
    """Give the process of a gateway, and its URL; killed in the end if it is still there."""
    with (folder / "gateway.err").open("a") as errors:
        process = subprocess.Popen(
            [*EARMARK, command, "--config", "earmark.toml", "--port", "0", "--json"],
            cwd=folder,
            env=environment() | {"OPENAI_API_KEY": "sk-the-providers-own"},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    try:
        said = ""
        while not said.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, (folder / "gateway.err").read_text()
            said += line
        yield process, str(json.loads(said)["url"])
    finally:
        process.kill()
        process.wait(LAST_RESORT_S)
        process.stdout.close()


def test_a_gateway_that_is_killed_leaves_its_holds_counted(tmp_path: Path) -> None:
    """In the middle of a stream: what it may cost stays held, and another gateway counts it."""
    with UpstreamStub() as stub:
        token = prepared(tmp_path, stub)
        gate = threading.Event()
        stub.answer(
            Answer(headers=STREAM, events=CHAT, waits={1: gate}),
            Answer(headers=STREAM, events=CHAT),
        )
        headers = {"authorization": f"Bearer {token}"}
        with (
            served(tmp_path) as (process, url),
            httpx2.Client(base_url=url, headers=headers, timeout=LAST_RESORT_S) as client,
            client.stream("POST", "/v1/chat/completions", json=ASK) as reply,
        ):
            assert next(reply.iter_raw())
            process.kill()
            process.wait(LAST_RESORT_S)
        gate.set()
        with open_ledger(f"sqlite:///{tmp_path}/earmark.db") as ledger:
            (hold,) = ledger.holds("acme", state=None)
            assert (hold.state, hold.budget) == ("open", "acme/agent")
            (balance,) = ledger.balances("acme")
            assert balance.held == hold.amount
        with served(tmp_path) as (process, url):
            with httpx2.Client(base_url=url, headers=headers, timeout=LAST_RESORT_S) as client:
                with client.stream("POST", "/v1/chat/completions", json=ASK) as reply:
                    assert b"[DONE]" in reply.read()
                statement = client.get("/v1/earmark/statement").json()
            process.send_signal(signal.SIGTERM)
            assert process.wait(LAST_RESORT_S) == 0
        assert [call["state"] for call in statement["calls"]] == ["open", "settled"]
        said = (tmp_path / "gateway.err").read_text()
        assert token not in said
        assert "sk-the-providers-own" not in said
        assert earmark(tmp_path, "audit", "--config", "earmark.toml").returncode == 0


def test_a_token_is_of_the_service_or_of_the_gateway(tmp_path: Path) -> None:
    """It has a scope or a budget, and `list` shows which."""
    store = ("--store", "sqlite:///books.db")
    assert earmark(tmp_path, "token", "create", "x", *store).returncode == 1
    both = earmark(tmp_path, "token", "create", "x", "--scope", "read", "--budget", "a", *store)
    assert both.returncode == 1
    odd = earmark(tmp_path, "token", "create", "x", "--scope", "read", "--most", "1", *store)
    assert odd.returncode == 1
    made = earmark(tmp_path, "token", "create", "x", "--budget", "acme", "--model", "gpt-*", *store)
    assert made.returncode == 0, made.stderr
    (row,) = json.loads(earmark(tmp_path, "token", "list", "--json", *store).stdout)["tokens"]
    assert (row["budget"], row["models"], row["scopes"]) == ("acme", ["gpt-*"], ["gateway"])
    assert made.stdout.strip() not in str(row)


def test_a_service_has_the_gateway_where_its_configuration_says_so(tmp_path: Path) -> None:
    """On one port and one store, to its end; without that line there is no such path."""
    ask = {**ASK, "stream": False}
    with UpstreamStub() as stub:
        token = prepared(tmp_path, stub)
        key = {"authorization": f"Bearer {token}"}
        patient: dict[str, Any] = {"headers": key, "timeout": LAST_RESORT_S}
        stub.answer(Answer(body=completion(USAGE, model="gpt-4o-mini")))
        with served(tmp_path, "serve") as (_, url):
            missing = httpx2.post(f"{url}/v1/chat/completions", json=ask, **patient)
            assert missing.status_code == 404
        with (tmp_path / "earmark.toml").open("a", encoding="utf-8") as settings:
            settings.write("\n[gateway]\nserve = true\n")
        with served(tmp_path, "serve") as (process, url):
            reply = httpx2.post(f"{url}/v1/chat/completions", json=ask, **patient)
            assert reply.status_code == 200, reply.text
            assert httpx2.get(f"{url}/readyz", timeout=LAST_RESORT_S).status_code == 200
            balance = httpx2.get(f"{url}/v1/earmark/balance", **patient).json()
            assert balance["available_usd"] == "0.9999946"
            assert httpx2.get(f"{url}/v1/budgets", **patient).status_code in {401, 403}
            process.send_signal(signal.SIGTERM)
            assert process.wait(LAST_RESORT_S) == 0
        assert len(stub.requests) == 1
        assert "Traceback" not in (tmp_path / "gateway.err").read_text()


@pytest.mark.parametrize("command", ["gateway", "serve"])
def test_a_bare_install_names_the_extra(tmp_path: Path, command: str) -> None:
    """Before anything is opened."""
    (tmp_path / "earmark.toml").write_text("[gateway]\nserve = true\n", "utf-8")
    code = (
        "import importlib.util, sys\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'aiohttp' else found(name)\n"
        "from earmark.cli.main import main\n"
        f"sys.exit(main(['{command}', '--config', 'earmark.toml']))\n"
    )
    done = subprocess.run(
        [EARMARK[0], "-c", code],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=LAST_RESORT_S,
    )
    assert done.returncode == 1
    assert "pip install 'earmark[gateway]'" in done.stderr
    assert not (tmp_path / "earmark.db").exists()
