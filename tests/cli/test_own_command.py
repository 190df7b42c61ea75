"""What is said to be typed works as it is typed, wherever somebody is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(sys.executable).parent
ASK = "from earmark.cli.own_command import own_command; print(own_command())"


@pytest.mark.parametrize("on_path", [True, False], ids=["on the path", "not on the path"])
@pytest.mark.parametrize("where", [SCRIPTS.parents[1], Path("/")], ids=["above it", "elsewhere"])
def test_the_programs_own_command_works_as_typed(where: Path, *, on_path: bool) -> None:
    """By its name where the shell finds this very program, else by its place."""
    path = os.pathsep.join([*([str(SCRIPTS)] if on_path else []), "/usr/bin", "/bin"])
    variables = {**os.environ, "PATH": path}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=where, env=variables, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    said = run(sys.executable, "-c", ASK)
    assert (said == "earmark") == on_path
    if not on_path and where != Path("/"):
        assert said == str(SCRIPTS.relative_to(where) / "earmark")
    assert run("sh", "-c", f"{said} --version").startswith("earmark ")
