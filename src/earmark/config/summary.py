"""What a configuration file sets, one line a setting: for whoever decides whether it may.

The lines are ASCII, so that no character of the file can hide or move another on a terminal, and
hold no password.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, cast
from urllib.parse import urlsplit

from earmark.nudges.channels.registry import settings_that
from earmark.setting_types.table import SettingEffect

#: By the place of a setting, what it decides; in the order in which people should read of it.
_PLACES: Final[Mapping[SettingEffect, tuple[str, ...]]] = {
    SettingEffect.RUNS: ("stages.*.function", "stages.*.argv", "heartbeat.grade.*"),
    SettingEffect.SENDS_TO: ("providers.*.base_url", "stages.*.url"),
    SettingEffect.READS_VARIABLE: ("*.*.api_key_env",),
    SettingEffect.KEEPS_BOOKS_IN: ("store.url",),
    SettingEffect.LISTENS_AT: ("service.*",),
    SettingEffect.SETS: ("*",),
}
_DECIDES: Final = tuple(
    # Of whatever kind a channel is: its kind may be set by the environment, and so not be here.
    (decision, (*places, *(f"nudges.*.{name}" for name in settings_that(decision))))
    for decision, places in _PLACES.items()
)
_URLS: Final = (SettingEffect.SENDS_TO, SettingEffect.KEEPS_BOOKS_IN)
_LONGEST: Final = 160
_DIGITS: Final = 12


def summary(tables: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a line for each setting of *tables*, those that run code or send data first."""
    lines = [_line(place, value) for place, value in _leaves(tables)]
    return tuple(line for _, line in sorted(lines))


def _leaves(tables: Mapping[str, Any], place: str = "", levels: int = 4) -> Iterator[Any]:
    for key, value in tables.items():
        name = key if key.isascii() and key.isidentifier() else json.dumps(key)
        below = f"{place}.{name}" if place else name
        if isinstance(value, dict) and value and levels > 1:
            yield from _leaves(cast("dict[str, Any]", value), below, levels - 1)
        else:
            yield below, value


def _line(place: str, value: object) -> tuple[int, str]:
    for rank, (decides, patterns) in enumerate(_DECIDES):
        if any(fnmatchcase(place, pattern) for pattern in patterns):
            shown = _url(value) if decides in _URLS and isinstance(value, str) else _text(value)
            return rank, f"{decides}: {place} = {shown}"
    raise AssertionError(f"the last pattern takes every place: {place}")


def _url(url: str) -> str:
    """Return a URL without its user, password and options."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return _text(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
    shown = bare.geturl() if parts.netloc else url.partition("?")[0]
    more = "" if shown == url else " (user, password and options are not shown)"
    return _text(shown) + more


def _text(value: object) -> str:
    text = json.dumps(value, default=str)
    if len(text) <= _LONGEST:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
    return f"{text[:_LONGEST]}... ({len(text)} characters, sha256 {digest})"
