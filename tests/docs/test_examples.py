"""The code in README and docs runs and prints what the page prints."""

import json
import os
import pydoc
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import pytest

import earmark
from earmark.composition.nodes import Node
from earmark.config.load import load_settings
from support.last_resort import LAST_RESORT_S
from support.model_server import ModelServer
from support.served import earmark as typed
from support.served import environment

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# A Python block and the text block right below it, if there is one.
_EXAMPLE = re.compile(
    r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL
)
EXAMPLES = [
    pytest.param(page, code, printed, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, (code, printed) in enumerate(_EXAMPLE.findall(page.read_text("utf-8")), start=1)
]


@pytest.fixture(scope="module")
def models() -> Iterator[ModelServer]:
    """Where the official SDKs are sent."""
    with ModelServer() as server:
        yield server


@pytest.mark.parametrize(("page", "code", "printed"), EXAMPLES)
def test_an_example_prints_what_its_page_prints_every_time(
    page: Path, code: str, printed: str, tmp_path: Path, models: ModelServer
) -> None:
    """Each Python block, run in an empty folder and again there, prints the text block below it.

    The figures are those of a plain install, without `earmark[tokenizers]`.
    """
    for module in re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    (tmp_path / "example.py").write_text(code, "utf-8")
    (tmp_path / "toktok.py").write_text("raise ModuleNotFoundError(__name__)", "utf-8")
    empty = set(tmp_path.iterdir())
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "example.py"],
            cwd=tmp_path,
            env=environment() | models.variables(),
            capture_output=True,
            text=True,
            check=False,
            timeout=LAST_RESORT_S,
        )
        assert (done.stderr, done.stdout) == ("", printed), page.name
        if {each for each in tmp_path.iterdir() if each.name != "__pycache__"} <= empty:
            return  # It leaves nothing that another run could find.


def test_a_task_of_the_readme_moves_its_bar_visibly(tmp_path: Path) -> None:
    """One answer takes a part of the shortest limit that a person sees, and several fit in it."""
    blocks = re.findall(
        r"^```toml\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    (tmp_path / "readme.toml").write_text(
        next(each for each in blocks if "[heartbeat]" in each), "utf-8"
    )
    named = ("--config", "readme.toml", "--json")
    assert not typed(tmp_path, "task", "add", "Write a haiku about budgets", *named).returncode
    shown = typed(tmp_path, "heartbeat", "--simulate", *named)
    (task,) = json.loads(shown.stdout)["tasks"]
    settings = load_settings(tmp_path / "readme.toml", {})
    least = min(
        limit.amount for limit in settings.budgets[settings.heartbeat.budget].limits or ()
        if limit.unit == "usd"
    )  # fmt: skip
    share = Decimal(task["bound_usd"]) * 10**9 / least
    assert Decimal("0.05") < share < Decimal("0.34"), task["bound_usd"]


def test_every_settings_example_is_a_settings_file(tmp_path: Path) -> None:
    """Each TOML block of the docs is accepted as an `earmark.toml`."""
    blocks = [
        block
        for page in PAGES
        for block in re.findall(
            r"^```toml\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
        )
    ]

    for number, block in enumerate(blocks):
        tomllib.loads(block)
        file = tmp_path / f"{number}.toml"
        file.write_text(block, "utf-8")
        assert load_settings(file, {}).file == file.absolute()
    assert blocks, "the configuration page shows a file"


def test_the_first_screen_shows_guarantee_example_and_commands() -> None:
    """The README's first 40 lines hold the guarantee, the commands, an example and its output."""
    screen = "\n".join((ROOT / "README.md").read_text("utf-8").splitlines()[:40])

    for part in ("cannot be overspent", "earmark exec", "```console", "make demo", "make test"):
        assert part in screen


def test_every_public_name_is_in_the_reference() -> None:
    """`docs/library.md` names all that `earmark` offers, and the compositions page every node."""
    names = set(re.findall(r"`(\w+)", (ROOT / "docs/library.md").read_text("utf-8")))
    assert set(earmark.__all__) - names == set()
    nodes = set(
        re.findall(r"^\| `(\w+)`", (ROOT / "docs/compositions.md").read_text("utf-8"), re.MULTILINE)
    )
    assert nodes >= {kind.__name__ for kind in get_args(Node)}


def test_every_field_that_the_reference_names_can_be_read() -> None:
    """Of the values that are read; all that a charge has is named."""
    page = (ROOT / "docs/library.md").read_text("utf-8")
    for value in (earmark.Reservation, earmark.Entry, earmark.Charge, earmark.Money):
        (row,) = re.findall(rf"^\| `{value.__name__}` \| (.*) \|$", page, re.MULTILINE)[-1:]
        fields = re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", row))
        assert [name for name in fields if not hasattr(value, name)] == []
        if value is earmark.Charge:
            assert set(fields) == set(value.__dataclass_fields__)


def test_every_link_of_the_docs_leads_somewhere() -> None:
    """A relative link in README, ARCHITECTURE, CHANGELOG or docs names a file that is there."""
    for page in [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
    assert os.path.exists(ROOT / "LICENSE")  # noqa: PTH110


def test_the_options_of_a_ticket_are_documented_where_each_is_looked_for() -> None:
    """The page's table and `help(earmark.OpenOptions)` say of each option what it means."""
    options = set(earmark.OpenOptions.__annotations__)
    page = (ROOT / "docs" / "guard.md").read_text("utf-8")
    rows = page.split("| option of `open` |")[1].split("\n\n")[0].splitlines()[2:]
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(listed) == sorted(options)
    described = re.findall(r"^[ |]+(\w+): \S", pydoc.render_doc(earmark.OpenOptions), re.MULTILINE)
    assert set(described) >= options
    assert "earmark.OpenOptions" in pydoc.render_doc(earmark.Guard.open)
