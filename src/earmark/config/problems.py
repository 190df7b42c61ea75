"""From what the checking of settings found to one error: the place, and one sentence."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from earmark.config.environment import Loc
from earmark.config.settings import KEY_VARIABLES, KINDS, known_settings
from earmark.errors import InvalidConfig
from earmark.setting_types.readers import show

_BARE = re.compile(r"[A-Za-z0-9_-]+")
#: What pydantic adds to the place of a key that is wrong itself.
_KEY = "[key]"
#: What pydantic calls a table that lacks a setting.
_LACKS = ("missing", "union_tag_not_found")
#: What a table is, in the sections where it has a kind.
_KIND_OF = {"stages": "stage", "nudges": "channel"}


def as_invalid_config(
    error: ValidationError, file: str, variables: Mapping[Loc, str]
) -> InvalidConfig:
    """Return the first of the problems, with the place where it can be mended.

    Args:
        error: What pydantic found.
        file: The file as the user knows it.
        variables: The environment's variables by the places they set.
    """
    problems = error.errors(include_url=False)
    first, more = problems[0], len(problems) - 1
    loc: tuple[int | str, ...] = tuple(part for part in first["loc"] if part != _KEY)
    caused = first.get("ctx", {}).get("error")
    if isinstance(caused, InvalidConfig):
        setting, detail = caused.place, caused.detail
    else:
        setting, detail = show_setting(_untagged(loc)), _sentence(first, loc)
    place = _place(setting, file, variables)
    if first["type"] in _LACKS:
        place += _begun_by(setting, variables)
    return InvalidConfig(place=place, detail=detail + (f" (and {more} more)" if more else ""))


def show_setting(loc: tuple[int | str, ...]) -> str:
    """Return a place as TOML writes it: `budgets."c8/cloud-lu".limits[0]`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            quoted = part if _BARE.fullmatch(part) else f'"{part}"'
            text += f".{quoted}" if text else quoted
    return text


def _place(setting: str, file: str, variables: Mapping[Loc, str]) -> str:
    for loc, variable in variables.items():
        if setting == show_setting(loc):
            return f"{variable} (sets {setting})"
    return f"{setting} in {file}" if setting else file


def _begun_by(setting: str, variables: Mapping[Loc, str]) -> str:
    """Name the variable that a table which lacks something may be there because of."""
    tables = {setting, setting.rpartition(".")[0]}
    began = (variable for loc, variable in variables.items() if show_setting(loc[:-1]) in tables)
    variable = next(began, None)
    return f", whose table {variable} sets a part of" if variable else ""


def _untagged(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Take the kind of a stage or a channel out, which pydantic puts after its name."""
    match loc:
        case (str(section), name, kind, *rest) if kind in KINDS.get(section, ()):
            return (section, name, *rest)
        case _:
            return loc


def _sentence(problem: Any, loc: tuple[int | str, ...]) -> str:  # noqa: ANN401 - pydantic's dict
    kinds = ", ".join(KINDS.get(str(loc[0]) if loc else "", ()))
    match problem["type"]:
        case "extra_forbidden":
            return _unknown(str(loc[-1]), known_settings(loc[:-1]))
        case "missing":
            one_of = f": give one of {', '.join(KEY_VARIABLES)}" if loc[0] == "providers" else ""
            return f"it is needed and not given{one_of}"
        case "union_tag_not_found" if isinstance(problem["input"], dict):
            return f"it needs a kind, one of {kinds}"
        case "union_tag_invalid":
            tag, what = show(problem["ctx"]["tag"]), _KIND_OF[str(loc[0])]
            return f"{tag} is no kind of {what}: give one of {kinds}"
        case "value_error":
            return str(problem["ctx"]["error"])
        case _:
            return f"give a table, not {show(problem['input'])}"


def _unknown(name: str, known: tuple[str, ...]) -> str:
    matches = get_close_matches(name, known, n=1)
    there_are = f"did you mean {matches[0]}?" if matches else f"there are {', '.join(known)}"
    return f"unknown setting {show(name)}: {there_are}"
