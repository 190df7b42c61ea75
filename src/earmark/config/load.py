"""Reading the configuration: one file and the environment, checked as a whole."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from earmark.config.environment import CONFIG, Overlaid, overlay
from earmark.config.problems import as_invalid_config
from earmark.config.settings import Document, Settings, StoreSettings
from earmark.errors import InvalidConfig

FILE_NAME: Final = "earmark.toml"
#: The largest file that is read, in bytes.
LARGEST_FILE: Final = 1 << 20

_SQLITE: Final = "sqlite:///"


def load_settings(
    path: Path | None, environ: Mapping[str, str], *, start: Path | None = None
) -> Settings:
    """Return the settings of a file with those of the environment laid over them.

    Args:
        path: The file; None takes the one `EARMARK_CONFIG` names, or else the nearest
            `earmark.toml` in *start* or a folder above it. Without any, there are the defaults.
        environ: The environment; see `earmark.config.environment` for its variables.
        start: Where the search begins; the working directory unless given.

    Raises:
        InvalidConfig: The file cannot be read, is not TOML, or holds a setting that cannot be used;
            *place* names the file and the setting, or the variable.
    """
    named = environ.get(CONFIG)
    file = path or (Path(named) if named else find_config(start or Path.cwd()))
    laid = overlay({} if file is None else _read(file), environ)
    document = _check(laid, str(file or FILE_NAME))
    parts = {name: getattr(document, name) for name in Document.model_fields}
    if file is not None and ("store", "url") not in laid.variables:
        parts["store"] = _beside(document.store, file)
    return Settings.model_construct(**parts, file=file)


def find_config(start: Path) -> Path | None:
    """Return the nearest `earmark.toml` in *start* or a folder above it."""
    folder = start.absolute()
    files = (above / FILE_NAME for above in (folder, *folder.parents))
    return next((file for file in files if file.is_file()), None)


def _check(laid: Overlaid, file: str) -> Document:
    try:
        return Document.model_validate(laid.tables)
    except ValidationError as error:
        problem = as_invalid_config(error, file, laid.variables)
    # Out here, so that no trace leads to pydantic's error: it holds values, which may be secret.
    raise problem


def _beside(store: StoreSettings, file: Path) -> StoreSettings:
    """Read a relative path of SQLite from the file's folder, wherever the program was started."""
    path = store.url.removeprefix(_SQLITE)
    if path in {store.url, ""} or "url" not in store.model_fields_set:
        return store
    return StoreSettings(url=f"{_SQLITE}{file.absolute().parent / path}")


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            raw = opened.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InvalidConfig(place=str(file), detail=f"cannot be read: {error.strerror}") from error
    if len(raw) > LARGEST_FILE:
        raise InvalidConfig(place=str(file), detail=f"it is larger than {LARGEST_FILE} bytes")
    try:
        return tomllib.loads(raw.decode())
    except UnicodeDecodeError as error:
        detail = f"it is not UTF-8 at byte {error.start}"
        raise InvalidConfig(place=str(file), detail=detail) from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(place=str(file), detail=f"it is not TOML: {error}") from None
    except RecursionError:
        raise InvalidConfig(place=str(file), detail="it is nested too deep") from None
