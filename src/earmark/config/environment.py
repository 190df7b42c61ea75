"""Settings from the environment, laid over those of the file.

| variable | setting |
|---|---|
| `EARMARK_CONFIG` | the file itself |
| `EARMARK_STORE` | `store.url` |
| `EARMARK_RUN__CONCURRENCY` | `run.concurrency`: section, two underscores, setting |
| `EARMARK_PROVIDERS__LOCAL__BASE_URL` | `providers.local.base_url`: the name between the two |

A name in a variable stands for the one in the file that is alike once it is written in capitals
with `_` for all but letters and digits: `EARMARK_BUDGETS__C8_CLOUD_LU__LIMITS` sets the limits of
`c8/cloud-lu`. A name the file lacks is added in lower case. A list or a table is written as in
TOML, a list of one also bare; empty variables count as unset. A variable that looks like a setting
and is none is refused; others that begin with `EARMARK_` are left alone, for programs around this
one set such too (a cluster names its services' addresses so).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, cast

from earmark.config.settings import FIXED, NAMED
from earmark.errors import InvalidConfig
from earmark.setting_types.readers import EnvText

PREFIX: Final = "EARMARK_"
CONFIG: Final = "EARMARK_CONFIG"
STORE: Final = "EARMARK_STORE"

_SECTIONS: Final = (*FIXED, *NAMED)
#: What a cluster calls the address of a service named earmark: no slips of the pen.
_NOT_OURS: Final = frozenset({"EARMARK_SERVICE__HOST", "EARMARK_SERVICE__PORT"})
_SETTINGS: Final = (
    f"{PREFIX}{s}__{key}".upper() for s, table in FIXED.items() for key in table.model_fields
)
_FLAT: Final = (CONFIG, STORE, *(each for each in _SETTINGS if each not in _NOT_OURS))
#: How like a setting's variable another has to be, to be taken for a slip of the pen.
_SIMILARITY: Final = 0.85

#: Settings lie at most this deep: section, name, setting.
_LEVELS: Final = 3

Loc = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Overlaid:
    """The tables of a file with the environment's settings in them, and which those are."""

    tables: Mapping[str, Any]
    variables: Mapping[Loc, str]
    """The variable that each of these places was set by."""


def overlay(tables: Mapping[str, Any], environ: Mapping[str, str]) -> Overlaid:
    """Return *tables* with the settings of *environ* laid over them; neither is changed.

    Raises:
        InvalidConfig: A variable names no setting, or two name the same one.
    """
    merged = _copy(tables, levels=_LEVELS)
    variables: dict[Loc, str] = {}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable == CONFIG or not environ[variable]:
            continue
        loc = _loc(variable, merged)
        if loc is None:
            continue
        if loc in variables:
            detail = f"it sets the same as {variables[loc]}: unset one of them"
            raise InvalidConfig(place=variable, detail=detail)
        variables[loc] = variable
        _set(merged, loc, EnvText(environ[variable]))
    return Overlaid(merged, variables)


def _copy(tables: Mapping[str, Any], *, levels: int) -> dict[str, Any]:
    """Copy tables down to the settings, so that what the caller gave stays as it is."""
    return {
        key: _copy(cast("dict[str, Any]", value), levels=levels - 1)
        if levels > 1 and isinstance(value, dict)
        else value
        for key, value in tables.items()
    }


def _loc(variable: str, tables: Mapping[str, Any]) -> Loc | None:
    if variable == STORE:
        return "store", "url"
    section, two, rest = variable.removeprefix(PREFIX).lower().partition("__")
    if not two:
        return _refuse_misspelled(variable)
    if section in FIXED and "__" not in rest:
        return section, rest
    name, two, key = rest.rpartition("__")
    if section in NAMED and two:
        return section, _name(variable, name, tables.get(section)), key
    raise InvalidConfig(place=variable, detail=f"it names no setting: {_want(section)}")


def _refuse_misspelled(variable: str) -> None:
    matches = get_close_matches(variable, _FLAT, n=1, cutoff=_SIMILARITY)
    if matches:
        raise InvalidConfig(place=variable, detail=f"it names no setting; is it {matches[0]}?")


def _want(section: str) -> str:
    nearest = get_close_matches(section, _SECTIONS, n=1, cutoff=0)[0]
    form = "<NAME>__<SETTING>" if nearest in NAMED else "<SETTING>"
    return f"the nearest is {PREFIX}{nearest.upper()}__{form}"


def _name(variable: str, name: str, table: object) -> str:
    names = cast("Iterable[str]", table) if isinstance(table, dict) else ()
    same = [each for each in names if _as_variable(each) == name.upper()]
    if len(same) > 1:
        detail = f"it could mean {' or '.join(repr(each) for each in same)}: set it in the file"
        raise InvalidConfig(place=variable, detail=detail)
    return same[0] if same else name


def _as_variable(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def _set(tables: dict[str, Any], loc: Loc, value: EnvText) -> None:
    *above, last = loc
    for part in above:
        inner = tables.setdefault(part, {})
        # What is no table stays as it is: checking the file will refuse it.
        if not isinstance(inner, dict):
            return
        tables = cast("dict[str, Any]", inner)
    tables[last] = value
