"""The program as a shell sees it: exit codes, streams, pipes, and how fast it starts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.shell import DRAFT_AND_CRITICS, FAILING, STAGES

EARMARK = [sys.executable, "-m", "earmark.cli.main"]


def earmark(
    folder: Path, *arguments: str, stdin: bytes = b"", **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """Run the program in *folder*."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("EARMARK_")}
    return subprocess.run(
        [*EARMARK, *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        check=False,
        env={**environment, **variables},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with stages and compositions."""
    (tmp_path / "stages.py").write_text(STAGES)
    (tmp_path / "graph.json").write_text(DRAFT_AND_CRITICS)
    (tmp_path / "failing.json").write_text(FAILING)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--version"], 0),
        (["budget", "set", "acme", "--limit", "1 usd total"], 0),
        (["nosuch"], 1),
        (["plan", "missing.json"], 1),
        (["price", "nosuch"], 2),
        (["run", "graph.json", "--stages", "stages.py", "--input", '"x"', "--budget", "0.01"], 2),
        (["run", "failing.json", "--stages", "stages.py", "--input", '"x"', "--budget", "1"], 3),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else str(each),
)
def test_exit_codes(folder: Path, arguments: list[str], code: int) -> None:
    """0 done, 1 bad input, 2 refused, 3 a stage failed; never a traceback."""
    done = earmark(folder, *arguments)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    assert (done.stderr == b"") == (code == 0)


def test_with_json_nothing_else_is_on_standard_output(folder: Path) -> None:
    """Progress, a stage's prints and complaints go to standard error, the document to output."""
    for graph, code in (("graph.json", 0), ("failing.json", 3)):
        done = earmark(
            folder,
            *("run", graph, "--stages", "stages.py", "--input", '"x"', "--budget", "1", "--json"),
        )
        assert done.returncode == code
        assert json.loads(done.stdout)["run_id"]
        assert b"a stage may print" in done.stderr


def test_a_reader_that_goes_away(folder: Path) -> None:
    """A pipe that is closed early ends the program without a word, as a shell expects."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*EARMARK, "price", "gpt-4o"],
        cwd=folder,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == b""


def test_output_that_cannot_be_written(folder: Path) -> None:
    """A full disk under standard output is one sentence and exit code 1."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*EARMARK, "price", "gpt-4o"],
            cwd=folder,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert b"earmark: No space left on device\n" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_terminal_without_unicode(folder: Path) -> None:
    """What an encoding cannot say is escaped, and the command still succeeds."""
    done = earmark(folder, "plan", "graph.json", "--stages", "stages.py", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert b"Text \\u2192 " in done.stdout


@pytest.mark.parametrize(
    ("option", "kept_out"),
    [
        ("--version", {"typer", "click", "earmark.errors", "json", "asyncio"}),
        ("--help", {"earmark.cli.budget", "earmark.ledger", "msgspec", "asyncio"}),
    ],
)
def test_what_asks_for_no_command_loads_none(option: str, kept_out: set[str]) -> None:
    """`earmark --version` loads nothing and `--help` little: no command, nor what one needs."""
    heavy = {"apsw", "fastapi", "genai_prices", "httpx2", "psycopg", "pydantic", "rich"} | kept_out
    code = (
        f"import sys; from earmark.cli.main import main; assert main([{option!r}]) == 0;"
        f"print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b"[]\n"
