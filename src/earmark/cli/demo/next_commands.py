"""What the demo leaves for the next step: a configuration that is allowed, a script, commands."""

import sys
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import Final

from earmark.cli.config_approval import allow
from earmark.cli.demo.environment import read
from earmark.cli.own_command import own_command
from earmark.config.load import FILE_NAME, read_config
from earmark.config.summary import summary
from earmark.errors import ConfigNotAllowed

SCRIPT: Final = "earmark-demo.py"
#: What the commands need beside the demo.
_EXTRA: Final = ("aiohttp", "uvicorn", "httptools")
_SDK: Final = "openai"


def leave_next_commands() -> list[str]:
    """Write a configuration and a script to the working directory; return what to type next.

    Nothing where another configuration is there already: it is its user's.

    Raises:
        OSError: They cannot be written.
        InvalidFile, InvalidConfig: It cannot be kept that the configuration is allowed.
    """
    files = {FILE_NAME: read("next.toml"), SCRIPT: read("script.txt")}
    folder = Path.cwd().resolve()
    for name, text in files.items():
        file = folder / name
        if not file.exists():
            file.write_text(text, "utf-8")
        elif file.read_text("utf-8") != text:
            return []
    config = read_config(folder / FILE_NAME)
    allow(
        ConfigNotAllowed(file=str(config.path), sha256=config.sha256, sets=summary(config.tables))
    )
    return list(_commands())


def _commands() -> list[str]:
    python = Path(sys.executable)
    here = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    missing = [_SDK] if find_spec(_SDK) is None else []
    if any(find_spec(name) is None for name in _EXTRA):
        missing.append("earmark[gateway]")
    install = [f"{quote(str(here))} -m pip install {' '.join(map(quote, missing))}"]
    earmark = own_command()
    return [
        *(install if missing else []),
        f"{earmark} model &",
        f"{earmark} exec --budget demo --up-to 0.01 -- {quote(str(here))} {SCRIPT}",
    ]
