"""Reading the configuration: one file and the environment, checked as a whole."""

import hashlib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from earmark.config.allowed import AllowedFiles
from earmark.config.environment import CONFIG, Overlaid, overlay
from earmark.config.makers import with_makers_apis
from earmark.config.problems import as_invalid_config
from earmark.config.settings import Document, Settings, StoreSettings
from earmark.config.summary import summary
from earmark.errors import ConfigNotAllowed, InvalidConfig

FILE_NAME: Final = "earmark.toml"
#: The largest file that is read, in bytes.
LARGEST_FILE: Final = 1 << 20

_SQLITE: Final = "sqlite:///"


def load_settings(
    path: Path | None, environ: Mapping[str, str], *, start: Path | None = None
) -> Settings:
    """Return the settings of a file with those of the environment laid over them.

    A file that was only found may set nothing but a SQLite store inside its own folder until its
    user has allowed it. What is checked against the allowed content is the bytes that are parsed.

    Args:
        path: The file; None takes the one `EARMARK_CONFIG` names, or else the nearest
            `earmark.toml` in *start* or a folder above it. Without any, there are the defaults.
        environ: The environment; see `earmark.config.environment` for its variables.
        start: Where the search begins; the working directory unless given.

    Raises:
        InvalidConfig: The file cannot be read, is not TOML, or holds a setting that cannot be used;
            *place* names the file and the setting, or the variable.
        ConfigNotAllowed: The file was found, and its user has not allowed what it sets.
    """
    named = environ.get(CONFIG)
    if path is not None or named:
        return settings_in(read_config(path or Path(named or "")), environ)
    file = find_config(start or Path.cwd())
    return settings_in(None, environ) if file is None else _read_found_file(file, environ)


def reload_settings(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Return the settings that the file of *settings* holds now, found or named as it was.

    Raises:
        InvalidConfig, ConfigNotAllowed: See `load_settings`.
    """
    assert settings.file is not None, "only what came from a file can be read again"
    if settings.found:
        return _read_found_file(settings.file, environ)
    return settings_in(read_config(settings.file), environ)


def find_config(start: Path) -> Path | None:
    """Return the nearest `earmark.toml` in *start* or a folder above it, in its real folder."""
    folder = start.resolve()
    files = (above / FILE_NAME for above in (folder, *folder.parents))
    return next((file for file in files if file.is_file()), None)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file as it was read once: what is checked, shown, allowed and parsed is the same bytes."""

    path: Path
    tables: Mapping[str, Any]
    sha256: str
    owner: int
    """The user id of its owner."""


def read_config(file: Path) -> ConfigFile:
    """Read *file* once.

    Raises:
        InvalidConfig: It cannot be read, is too large, or is not TOML.
    """
    try:
        with file.open("rb") as opened:
            owner = os.fstat(opened.fileno()).st_uid
            raw = opened.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InvalidConfig(place=str(file), detail=f"cannot be read: {error.strerror}") from error
    if len(raw) > LARGEST_FILE:
        raise InvalidConfig(place=str(file), detail=f"it is larger than {LARGEST_FILE} bytes")
    return ConfigFile(file, _parse(raw, file), hashlib.sha256(raw).hexdigest(), owner)


def sets_only_local_store(config: ConfigFile) -> bool:
    """Return whether a file sets nothing, or nothing but a SQLite store inside its own folder.

    One that another user owns, but for root, is never that: it would be their store.
    """
    if not config.tables:
        return True
    if config.owner not in {os.geteuid(), 0}:
        return False
    match config.tables:
        case {"store": {"url": str(url), **settings}, **sections} if not (settings or sections):
            folder = config.path.parent.resolve()
            path = url.removeprefix(_SQLITE)
            return path != url and folder in (folder / path).resolve().parents
        case _:
            return False


def _read_found_file(file: Path, environ: Mapping[str, str]) -> Settings:
    config = read_config(file)
    settings = settings_in(config, environ, found=True)
    if not sets_only_local_store(config):
        record = AllowedFiles.of_user(environ).get(file)
        if record is None or record.sha256 != config.sha256:
            raise ConfigNotAllowed(
                file=str(file),
                sha256=config.sha256,
                changed=record is not None,
                sets=summary(config.tables),
            )
    return settings


def settings_in(
    config: ConfigFile | None, environ: Mapping[str, str], *, found: bool = False
) -> Settings:
    """Return the settings of a file that was read, with the environment's laid over them.

    Raises:
        InvalidConfig: A setting cannot be used.
    """
    file = None if config is None else config.path
    laid = overlay({} if config is None else config.tables, environ)
    document = _check(laid, str(file or FILE_NAME))
    parts = {name: getattr(document, name) for name in Document.model_fields}
    if file is not None and ("store", "url") not in laid.variables:
        parts["store"] = _relative_to_file(document.store, file)
    return Settings.model_construct(**parts, file=file, found=found)


def _check(laid: Overlaid, file: str) -> Document:
    try:
        return Document.model_validate(with_makers_apis(laid.tables))
    except ValidationError as error:
        problem = as_invalid_config(error, file, laid.variables)
    # Out here, so that no trace leads to pydantic's error: it holds values, which may be secret.
    raise problem


def _relative_to_file(store: StoreSettings, file: Path) -> StoreSettings:
    """Read a relative path of SQLite from the file's folder, wherever the program was started."""
    path = store.url.removeprefix(_SQLITE)
    if path in {store.url, ""} or "url" not in store.model_fields_set:
        return store
    return StoreSettings(url=f"{_SQLITE}{file.absolute().parent / path}")


def _parse(raw: bytes, file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(raw.decode())
    except UnicodeDecodeError as error:
        detail = f"it is not UTF-8 at byte {error.start}"
        raise InvalidConfig(place=str(file), detail=detail) from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(place=str(file), detail=f"it is not TOML: {error}") from None
    except RecursionError:
        raise InvalidConfig(place=str(file), detail="it is nested too deep") from None
