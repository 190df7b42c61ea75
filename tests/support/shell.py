"""A shell to type `earmark` commands in, and compositions to run in it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from earmark.cli.main import main

STAGES = """
from earmark.stages.kinds.python import stage

@stage(cost="0.05", input="Text", output="Text")
def draft(text):
    print("a stage may print")
    return text + "!"

@stage(cost="0.02", input="Text", output="Text")
def critic(text):
    return f"about {text}"

@stage(cost="0.01")
def fails(value):
    raise ValueError("no luck")
"""


def graph(root: dict[str, Any]) -> str:
    """Return a composition with this root."""
    return json.dumps({"description": "a test", "version": "0.1.0", "root": root})


def stage(name: str) -> dict[str, Any]:
    """Return a node that names a stage."""
    return {"op": "Stage", "id": name}


DRAFT_AND_CRITICS = graph(
    {
        "op": "Sequential",
        "stages": [
            stage("draft"),
            {"op": "Parallel", "branches": {"a": stage("critic"), "b": stage("critic")}},
        ],
    }
)
FAILING = graph({"op": "Sequential", "stages": [stage("draft"), stage("fails")]})


#: Every command and subcommand.
LEAVES = [
    *(["plan"], ["run"], ["trace"], ["price"], ["entries"], ["audit"], ["demo"], ["holds"]),
    *(["heartbeat"], ["serve"], ["gateway"], ["exec"], ["model"], ["backup"]),
    *(["config", name] for name in ("show", "allow", "revoke", "list")),
    *(["budget", name] for name in ("set", "show", "pause", "resume", "extend")),
    *(["holds", name] for name in ("extend", "settle", "presume", "release")),
    *(["quilt", name] for name in ("get", "put", "list", "history")),
    *(["nudge", name] for name in ("list", "ack", "test")),
    *(["token", name] for name in ("create", "list", "revoke")),
    *(["store", name] for name in ("status", "migrate", "copy")),
    *(["task", name] for name in ("add", "list", "show", "grade", "approve", "deny", "accept")),
    *(["task", name] for name in ("reject", "retry", "cancel")),
]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output as the one JSON document it is."""
        return json.loads(self.out)


class Shell:
    """Types commands in a folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Answer:
        """Run `earmark` with *arguments* in this process."""
        self._capsys.readouterr()
        code = main(arguments)
        said = self._capsys.readouterr()
        return Answer(code, said.out, said.err)

    def ok(self, *arguments: str) -> Answer:
        """Run a command that is to succeed."""
        answer = self(*arguments)
        assert answer.code == 0, answer.err
        return answer

    def json(self, *arguments: str) -> Any:
        """Run a command that is to succeed, and return its JSON."""
        return self.ok(*arguments, "--json").json

    def write(self, name: str, text: str) -> str:
        """Put a file in the folder and return its name."""
        (self.folder / name).write_text(text)
        return name

    def configure(self, text: str) -> None:
        """Put an `earmark.toml` in the folder, and allow it."""
        self.write("earmark.toml", text)
        self.ok("config", "allow")

    def seq(self) -> int:
        """Return the number of the last entry in the books, 0 if there are none."""
        if not (self.folder / "earmark.db").exists():
            return 0
        return int(self.json("entries")["after"])


def isolated_shell(
    folder: Path, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """Return a shell in *folder*, without any variable of Earmark's, where no file is allowed."""
    keys = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY")
    for variable in ("EARMARK_STORE", "EARMARK_CONFIG", *keys):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    monkeypatch.chdir(folder)
    return Shell(folder, capsys)
