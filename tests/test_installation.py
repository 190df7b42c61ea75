"""What `pip install .` brings, and beside which agents it can be installed."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from support.last_resort import LAST_RESORT_S

ROOT = Path(__file__).parents[1]
#: Without pip, and without what Python compiles when it likes.
LARGEST_INSTALLATION = 40_000_000
#: Agents and frameworks that pin the libraries they share with us, the SDKs among them.
NEIGHBOURS = ("crewai", "instructor", "aider-chat", "llama-index-llms-openai")


def dependencies() -> list[Requirement]:
    """Return what the project itself requires."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(text) for text in project["dependencies"]]


def brought_along(wanted: list[Requirement]) -> Iterator[str]:
    """Yield the names of *wanted* and of all that they require here, each once or more."""
    seen: set[str] = set()
    while wanted:
        requirement = wanted.pop()
        extras = ("", *requirement.extras)
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate({"extra": each}) for each in extras):
            continue
        name = requirement.name.lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        yield name
        for text in distribution(name).requires or ():
            inner = Requirement(text)
            evaluated = {"extra": ""}
            if inner.marker is None or any(
                inner.marker.evaluate({**evaluated, "extra": each}) for each in extras
            ):
                inner.marker = None
                wanted.append(inner)


def recorded_size(name: str) -> int:
    """Return the bytes of a distribution's files, as its RECORD lists them."""
    return sum(file.size or 0 for file in distribution(name).files or ())


def test_an_installation_is_small() -> None:
    """The package and all it requires have less than 40 MB of files, compiled caches left out."""
    names = list(brought_along(dependencies()))
    assert {"httpx2", "pydantic-core", "apsw"} <= set(names)
    own = sum(
        path.stat().st_size
        for path in (ROOT / "src").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    )
    sizes = {name: recorded_size(name) for name in names}
    assert all(sizes.values()), sizes
    assert own + sum(sizes.values()) < LARGEST_INSTALLATION, sizes


def test_no_sdk_is_brought_along() -> None:
    """The makers' SDKs pin what agents pin otherwise: tests use them, nothing else does."""
    assert {"openai", "anthropic", "google-genai", "httpx", "litellm"}.isdisjoint(
        brought_along(dependencies())
    )


@pytest.mark.parametrize(
    ("imported", "kept_out"),
    [
        ("earmark", {name.replace("-", "_") for name in brought_along(dependencies())}),
        ("earmark.config.assemble", {"httpx2", "rich", "typer"}),
        (
            "earmark.config.settings",
            {"earmark.apis.provider_count", "earmark.ledger", "earmark.runs", "httpx2", "apprise"},
        ),
    ],
)
def test_what_is_slow_is_imported_by_who_needs_it(imported: str, kept_out: set[str]) -> None:
    """`import earmark` loads no dependency; settings are read without HTTP client or ledger."""
    program = f"import sys, {imported}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert imported in done.stdout.split()
    assert kept_out.isdisjoint(done.stdout.split())


def pip_would_install(report: Path, *wanted: str) -> subprocess.CompletedProcess[str]:
    """Ask pip what it would install of *wanted*; it writes that to *report*."""
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    options = ["--dry-run", "--ignore-installed", "--no-input", "--report", str(report)]
    return subprocess.run(
        [*pip, *options, *wanted],
        env={**os.environ, "PIP_RETRIES": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=LAST_RESORT_S,
    )


def resolved(tmp_path: Path, *wanted: str) -> dict[str, str]:
    """Return the versions pip would install of *wanted*, by their names in lower case."""
    report = tmp_path / "report.json"
    done = pip_would_install(report, *wanted)
    assert done.returncode == 0, done.stderr[-2000:]
    installed: list[Any] = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {each["metadata"]["name"].lower(): each["metadata"]["version"] for each in installed}


@pytest.fixture
def package_index(tmp_path: Path) -> None:
    """Skip where no package index can be reached, and for that reason alone."""
    if not os.environ.get("EARMARK_TEST_INDEX"):
        pytest.skip("it asks the package index for minutes: make neighbours")
    done = pip_would_install(tmp_path / "probe.json", "--no-deps", "packaging")
    if done.returncode:
        pytest.skip(f"no package index: {done.stderr.strip()[-200:]}")


@pytest.mark.usefixtures("package_index")
@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_it_is_installed_beside_others(tmp_path: Path, neighbour: str) -> None:
    """Today's version of each neighbour and ours agree on all they share."""
    alone = resolved(tmp_path, "--no-deps", neighbour)[neighbour]
    together = resolved(tmp_path, str(ROOT), f"{neighbour}=={alone}")
    assert together[neighbour] == alone
    assert "earmark" in together
