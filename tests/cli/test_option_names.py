"""Options are named in lower case, by every version of Typer that `pyproject.toml` allows."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any, cast

import pytest
from typer.main import get_command

from earmark.cli.commands import COMMANDS


def parameters(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the parameters of a command and of all below it."""
    for parameter in command.params:
        yield path, parameter
    for name, below in getattr(command, "commands", {}).items():
        yield from parameters(below, f"{path} {name}")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_options_are_in_lower_case(name: str) -> None:
    """No option is named by its placeholder.

    Typer before 0.28 takes a `metavar` that is the parameter's name in capitals for the option's
    name, so an option with such a one names itself.
    """
    module = import_module(f"earmark.cli.{COMMANDS[name][0]}")
    for path, parameter in parameters(cast("Any", get_command(module.app)), name):
        for option in [*parameter.opts, *parameter.secondary_opts]:
            assert option == option.lower() or not option.startswith("-"), f"{path} {option}"
        if parameter.param_type_name == "option" and parameter.metavar == parameter.name.upper():
            declared = f"--{parameter.name}".replace("_", "-")
            assert declared in parameter.opts, f"{path}: name it {declared!r}"
