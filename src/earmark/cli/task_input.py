"""What is given to a command about tasks: texts, and the work that a new task asks for."""

from dataclasses import dataclass
from typing import Any, Final

import typer

from earmark.board.task import CompositionWork, ModelWork, TaskWork
from earmark.cli.inputs import read_file, read_graph, read_input
from earmark.composition.ast import Composition
from earmark.errors import InvalidFile

_STDIN: Final = "-"
_RUN: Final = "'--input' / '--budget'"


@dataclass(frozen=True, slots=True)
class CompositionOptions:
    """The options of a task that is a whole composition, as they were typed."""

    graph: str | None
    input: str | None
    budget: str | None


def work_of(model_work: ModelWork, run: CompositionOptions) -> TaskWork:
    """Return what a task asks for: *model_work*, or the composition that *run* names.

    Raises:
        typer.BadParameter: The two are mixed, or a composition has no budget.
        InvalidFile: A file cannot be read.
    """
    if run.graph is None:
        if run.input is not None or run.budget is not None:
            raise typer.BadParameter("they are of a composition: give --graph too", param_hint=_RUN)
        return model_work
    if model_work != ModelWork():
        raise typer.BadParameter("a composition names its own models", param_hint="'--graph'")
    if run.budget is None:
        raise typer.BadParameter("say the most it may spend", param_hint="'--budget'")
    value: Any = None if run.input is None else read_input(run.input)
    return CompositionWork(graph=_form(read_graph(run.graph)), input=value, budget=run.budget)


def text_of(value: str) -> str:
    """Return a text as it is, or what `@FILE` or standard input holds.

    Raises:
        InvalidFile: The file cannot be read, or is no text.
    """
    if value != _STDIN and not value.startswith("@"):
        return value
    source = value.removeprefix("@")
    try:
        return read_file(source).decode()
    except UnicodeDecodeError:
        raise InvalidFile(path=source, detail="it is not text in UTF-8") from None


def check_stdin(*values: str | None) -> None:
    """Refuse to read standard input twice.

    Raises:
        InvalidFile: More than one of *values* is `-`.
    """
    if sum(each == _STDIN for each in values) > 1:
        raise InvalidFile(path=_STDIN, detail="standard input can be one of them only")


def _form(composition: Composition) -> dict[str, Any]:
    return read_input(composition.to_json(), "--graph")
