"""`earmark config`: which file is in force, and which found files may set anything."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from earmark.cli.config_approval import allow as remember
from earmark.cli.config_approval import changes
from earmark.cli.session import Session, command, group
from earmark.cli.table import Table
from earmark.clock import iso
from earmark.config.allowed import AllowedFile, AllowedFiles
from earmark.config.environment import CONFIG
from earmark.config.load import (
    FILE_NAME,
    ConfigFile,
    find_config,
    load_settings,
    read_config,
    sets_only_local_store,
)
from earmark.config.summary import summary
from earmark.errors import ConfigNotAllowed, InvalidFile, NotFound

app = group("Show the configuration in force, and allow one that was found.")

_FILE: Final = "An earmark.toml, or its folder; the nearest one unless given."
_HEADINGS: Final = ("file", "allowed", "")

File = Annotated[str | None, typer.Argument(metavar="[FILE]", help=_FILE)]


@command(app)
def show(session: Session, file: File = None) -> None:
    """Show the file that a command here would go by, whether it may, and what it sets."""
    path, named = _in_force(session, file)
    if path is None:
        session.answer({"file": None, "state": "none", "sets": []}, "no file: the defaults")
        return
    config = read_config(path)
    record = AllowedFiles.of_user(os.environ).get(path)
    state = _state(config, record, named=named)
    sets = summary(config.tables)
    form = {"file": str(path), "state": state, "sha256": config.sha256, "sets": sets}
    before = record.sets if record is not None and state == "changed" else None
    changed = () if before is None else ("changes:", *_indented(*changes(before, sets)))
    session.answer(form, f"{path} ({state})", *_indented(*sets), *changed)


@command(app)
def allow(session: Session, file: File = None) -> None:
    """Let a file set what it sets wherever it is found, until its content changes."""
    path = _found(file)
    config = read_config(path)
    # What cannot be used is refused before it is allowed.
    load_settings(path, {})
    allowed = AllowedFiles.of_user(os.environ)
    before = allowed.get(path)
    record = remember(
        ConfigNotAllowed(file=str(path), sha256=config.sha256, sets=summary(config.tables))
    )
    same = before is not None and before.sha256 == record.sha256
    lines = changes(before.sets, record.sets) if before and not same else record.sets
    session.answer(_form(record), f"allowed {path}; it", *_indented(*lines))
    for caution in _cautions(config):
        session.tell(caution)


@command(app)
def revoke(session: Session, file: File = None) -> None:
    """Take it back: the file may set nothing but a store of its own folder."""
    path = _found(file, must_exist=False)
    if not AllowedFiles.of_user(os.environ).revoke(path):
        raise NotFound(kind="allowed file", name=str(path), hint="`earmark config list` shows them")
    session.answer({"file": str(path), "state": "revoked"}, f"revoked {path}")


@command(app, "list")
def list_(session: Session) -> None:
    """List the files that are allowed, and whether they are still what was allowed."""
    records = AllowedFiles.of_user(os.environ).all()
    forms = [{**_form(each), "state": _state_now(each)} for each in records]
    rows = [(each.file, iso(each.allowed_at)[:19] + "Z", _state_now(each)) for each in records]
    session.answer({"files": forms}, Table(headings=_HEADINGS, rows=rows, empty="no file"))


def _form(record: AllowedFile) -> dict[str, object]:
    return {
        "file": record.file,
        "state": "allowed",
        "sha256": record.sha256,
        "allowed_at": iso(record.allowed_at),
        "sets": record.sets,
    }


def _in_force(session: Session, file: str | None) -> tuple[Path | None, bool]:
    """Return the file, and whether it is named by the command line or the environment."""
    if file is not None:
        return _found(file), False
    named = session.config or os.environ.get(CONFIG)
    return (Path(named), True) if named else (find_config(Path.cwd()), False)


def _found(file: str | None, *, must_exist: bool = True) -> Path:
    """Return the path under which the search finds *file*: its name in the folder's real path."""
    if file is None:
        path = find_config(Path.cwd())
        if path is None:
            hint = "there is none here or in any folder above"
            raise NotFound(kind="configuration", name=FILE_NAME, hint=hint)
        return path
    path = Path(file) / FILE_NAME if Path(file).is_dir() else Path(file)
    if path.name != FILE_NAME:
        detail = f"only files named {FILE_NAME} are ever found; any other is named with --config"
        raise InvalidFile(path=file, detail=detail)
    if must_exist and not path.is_file():
        raise InvalidFile(path=file, detail="there is no such file")
    return path.parent.resolve() / FILE_NAME


def _state(config: ConfigFile, record: AllowedFile | None, *, named: bool) -> str:
    if named:
        return "named"
    if record is not None and record.sha256 == config.sha256:
        return "allowed"
    if sets_only_local_store(config):
        return "own store only"
    return "not allowed" if record is None else "changed"


def _state_now(record: AllowedFile) -> str:
    path = Path(record.file)
    if not path.is_file():
        return "missing"
    return "allowed" if read_config(path).sha256 == record.sha256 else "changed"


def _cautions(config: ConfigFile) -> Iterator[str]:
    """Yield what allowing a content does not cover."""
    runs = [line for line in summary(config.tables) if line.startswith("runs")]
    folder = config.path.parent
    if runs:
        yield f"the content of the file is checked, that of the programs in {folder} is not"
    found = folder.stat()
    if found.st_uid not in {os.geteuid(), 0} or found.st_mode & stat.S_IWOTH:
        yield f"other users may write in {folder}"


def _indented(*lines: str) -> Iterator[str]:
    return (f"  {line}" for line in lines)
