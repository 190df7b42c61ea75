"""`--stages FILE`: stages from a .toml, a .json or a .py."""

import json

import pytest

from support.shell import Shell, graph, stage

TOML = """
[stages.shout]
kind = "process"
argv = ["python3", "-c", "import sys; print(sys.stdin.read().upper())"]
cost = "0.03"
"""
JSON = [
    {
        "name": "shout",
        "input": "Text",
        "output": "Text",
        "effects": [{"effect": "Cost", "cents": 4}],
        "implementation": "def shout(text): return text.upper()",
    }
]
PYTHON = """
import beside
from earmark.stages.kinds.python import stage

@stage(cost="0.05")
def shout(text):
    return text.upper() + beside.MARK

alias = shout
"""


@pytest.fixture
def shouting(shell: Shell) -> Shell:
    """A shell with a composition of one stage that nobody knows yet."""
    shell.write("graph.json", graph(stage("shout")))
    return shell


def cost(shell: Shell, file: str) -> str:
    """Return the most the composition costs with the stages of *file*."""
    return str(shell.json("plan", "graph.json", "--stages", file)["max"])


def test_of_a_toml(shouting: Shell) -> None:
    """The tables of earmark.toml, in a file of their own."""
    shouting.write("more.toml", TOML)
    assert cost(shouting, "more.toml") == "0.03"
    run = shouting.json(
        *("run", "graph.json", "--stages", "more.toml", "--input", '"hi"', "--budget", "1"),
    )
    assert (run["output"], run["spent"]) == ("HI", "0.03")


def test_of_a_json_is_enough_to_plan_with(shouting: Shell) -> None:
    """Stages in the composition format are priced and checked; running them is refused."""
    shouting.write("more.json", json.dumps(JSON))
    assert cost(shouting, "more.json") == "0.04"
    answer = shouting(
        *("run", "graph.json", "--stages", "more.json", "--input", '"hi"', "--budget", "1"),
    )
    assert answer.code == 2
    assert "stage 'shout'" in answer.err


def test_of_a_module(shouting: Shell) -> None:
    """Every `@stage` of a .py, which may import what lies beside it."""
    shouting.write("beside.py", 'MARK = "!"\n')
    shouting.write("more.py", PYTHON)
    run = shouting.json(
        *("run", "graph.json", "--stages", "more.py", "--input", '"hi"', "--budget", "1"),
    )
    assert run["output"] == "HI!"


def test_several_files_are_laid_over_one_another(shouting: Shell) -> None:
    """Stages of more than one file are at hand at once."""
    shouting.write("more.toml", TOML)
    shouting.write("other.toml", TOML.replace("shout", "whisper").replace("0.03", "0.07"))
    shouting.write(
        "graph.json", graph({"op": "Sequential", "stages": [stage("shout"), stage("whisper")]})
    )
    plan = shouting.json(
        *("plan", "graph.json", "--stages", "more.toml", "--stages", "other.toml"),
    )
    assert plan["max"] == "0.1"


BAD = {
    "none.py": (None, "cannot read 'none.py': there is no such file"),
    "more.txt": ("", "'.txt' is no kind of stages file: give a .toml, .json or .py"),
    "empty.py": ("x = 1\n", "no name in it stands for a stage: write @stage over a function"),
    "broken.py": ("def (:\n", "importing it raised SyntaxError"),
    "leaves.py": ("raise SystemExit(0)\n", "importing it raised SystemExit: 0"),
    "raises.py": ("1 / 0\n", "importing it raised ZeroDivisionError"),
    "object.json": ("{}", "give a list of stages"),
    "wrong.json": (
        '[{"name": "x"}]',
        "stage refused at wrong.json/0: the field 'input' is missing",
    ),
    "twice.json": ('[{"name": "x", "name": "y"}]', "the key 'name' appears twice at /0"),
    "kind.toml": ('[stages.x]\nkind = "magic"\n', "is no kind of stage"),
    "budgets.toml": ('[budgets.a]\nlimits = ["1 usd total"]\n', "budgets in budgets.toml"),
    "store.toml": ('[store]\nurl = "memory:"\n', "store in store.toml"),
    "module.toml": (
        '[stages.x]\nkind = "python"\nfunction = "no_such_module:f"\n',
        "'no_such_module:f' cannot be imported: ModuleNotFoundError",
    ),
    "number.toml": (
        '[stages.x]\nkind = "python"\nfunction = "math:pi"\n',
        "'math:pi' is no function",
    ),
}


@pytest.mark.parametrize("file", BAD)
def test_what_is_no_stages_file_is_told(shouting: Shell, file: str) -> None:
    """One sentence with the file and the place, exit code 1, no books made."""
    text, complaint = BAD[file]
    if text is not None:
        shouting.write(file, text)
    answer = shouting("run", "graph.json", "--stages", file, "--budget", "1")
    assert answer.code == 1
    assert answer.out == ""
    assert complaint in answer.err
    assert answer.err.startswith("earmark: ")
    assert answer.err.count("\n") == 1
    assert not (shouting.folder / "earmark.db").exists()
