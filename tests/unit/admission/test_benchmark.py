"""The admission benchmark: its figures on a real trace, and the traces it reads."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
TRACE = ROOT / "../shared/data/AzureLLMInferenceTrace_code.csv"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmark as its users do."""
    script = str(ROOT / "benchmarks" / "admission.py")
    return subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=False
    )


def figures(*arguments: str) -> dict[str, dict[str, Any]]:
    """Return the figures by policy."""
    done = run("--json", *arguments)
    assert done.returncode == 0, done.stderr
    return {row["policy"]: row for row in json.loads(done.stdout)["policies"]}


def test_real_trace_is_used_up_without_overspending() -> None:
    """On a real trace nothing is overspent, 98 % of the limits is used, 1 % falsely refused."""
    if not TRACE.exists():
        pytest.skip(f"no trace at {TRACE}")
    rows = figures("--trace", str(TRACE), "--seeds", "1", "--policies", "strict", "elastic")
    for row in rows.values():
        assert row["overspent_usd"] == "0"
        assert row["used"] >= 0.98
        assert row["false_refusals"] <= 0.01


def test_both_formats_are_read(tmp_path: Path) -> None:
    """The same requests in Azure's and in Mooncake's format give the same figures."""
    azure, mooncake = tmp_path / "a.csv", tmp_path / "m.jsonl"
    lines = [f"2023-11-16 18:17:{n:02}.9799600,2000,{20 * n + 1}" for n in range(40)]
    azure.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *lines]))
    mooncake.write_text(
        "\n".join(
            json.dumps({"timestamp": 1000 * n, "input_length": 2000, "output_length": 20 * n + 1})
            for n in range(40)
        )
    )
    options = ("--shards", "2", "--seeds", "1", "--policies", "strict")
    first = figures("--trace", str(azure), *options)["strict"]
    second = figures("--trace", str(mooncake), *options)["strict"]
    assert first["used"] == second["used"] > 0.9


def test_without_a_trace_it_says_where_to_get_one() -> None:
    """Started without a trace, or with something else, it names the sources and fails."""
    for arguments in ((), ("--trace", str(ROOT / "pyproject.toml"))):
        done = run(*arguments)
        assert done.returncode == 1
        assert "https://github.com/Azure/AzurePublicDataset" in done.stderr
