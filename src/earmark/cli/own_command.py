"""The command to type here for `earmark`: a virtual environment need not be on the path."""

import shutil
import sys
from pathlib import Path
from shlex import quote
from typing import Final

_NAME: Final = "earmark"


def own_command() -> str:
    """Return what starts this very program from the working directory, as a shell takes it."""
    script = Path(sys.executable).parent / _NAME
    found = shutil.which(_NAME)
    if found is not None and script.exists() and Path(found).samefile(script):
        return _NAME
    if not script.exists():
        return f"{quote(sys.executable)} -m earmark.cli.main"
    here = Path.cwd()
    return quote(str(script.relative_to(here) if script.is_relative_to(here) else script))
