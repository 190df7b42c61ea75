"""Readers of single settings: strict about what a file says, willing about the environment's text.

Every reader returns the checked value or raises a `ValueError` whose text completes the sentence
"configuration refused at <place>: …". A value that may be secret is not repeated in it.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, NoReturn, TypeVar, cast
from urllib.parse import urlsplit

from earmark.clock import parse_duration
from earmark.errors import EarmarkError, InvalidComposition, InvalidConfig

T = TypeVar("T")

LONGEST_TEXT: Final = 100_000
_SHOWN: Final = 60
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class EnvText(str):
    """A value from the environment: text that may stand for a number or a list."""

    __slots__ = ()


def show(value: object) -> str:
    """Return *value* as a message may show it: short, and in TOML's words."""
    match value:
        case str():
            return repr(value[:_SHOWN] + ("…" if len(value) > _SHOWN else ""))
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)[:_SHOWN]
        case Mapping():
            return "a table"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(value).__name__}"


def text(value: object) -> str:
    """Read text that is not empty."""
    if not isinstance(value, str):
        refuse(f"give text in quotes, not {show(value)}")
    if not value or len(value) > LONGEST_TEXT:
        refuse(f"give 1 to {LONGEST_TEXT} characters, not {len(value)}")
    if "\0" in value:
        refuse("a zero byte cannot be part of a text")
    return str(value)


def texts(value: object) -> tuple[str, ...]:
    """Read a list of texts; the environment may give one text for a list of one."""
    return tuple(text(item) for item in items(value))


def argv(value: object) -> tuple[str, ...]:
    """Read a program and its arguments, which may be empty texts."""
    found = items(value)
    if not found or not all(isinstance(item, str) and "\0" not in item for item in found):
        refuse('give a program and its arguments as a list of texts, such as ["jq", ".name"]')
    return (text(found[0]), *(str(item) for item in found[1:]))


def whole_number(least: int, most: int) -> Callable[[object], int]:
    """Return the reader of whole numbers from *least* to *most*."""

    def read(value: object) -> int:
        number = _toml_value(value)
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            refuse(f"give a whole number from {least} to {most}, not {show(number)}")
        return number

    return read


def choice(*names: str) -> Callable[[object], str]:
    """Return the reader of one of *names*."""

    def read(value: object) -> str:
        if value not in names:
            refuse(f"give one of {', '.join(names)}, not {show(value)}")
        return str(value)

    return read


def choices(*names: str) -> Callable[[object], tuple[str, ...]]:
    """Return the reader of a list of *names*."""
    parse_item = choice(*names)
    return lambda value: tuple(parse_item(item) for item in items(value))


def flag(value: object) -> bool:
    """Read true or false."""
    found = _toml_value(value)
    if not isinstance(found, bool):
        refuse(f"give true or false, not {show(found)}")
    return found


def duration(value: object) -> timedelta:
    """Read a stretch of time, which may be none."""
    if not isinstance(value, str):
        refuse(f'give a duration with its unit, such as "30s", not {show(value)}')
    return timedelta(microseconds=by_domain(parse_duration, str(value)) // 1000)


def some_time(value: object) -> timedelta:
    """Read a stretch of time that is longer than none."""
    found = duration(value)
    if not found:
        refuse("give a duration above 0")
    return found


def name(value: object) -> str:
    """Read the name of a stage or provider."""
    found = text(value)
    if not NAME.fullmatch(found):
        refuse(f"{show(found)} is no name: give up to 64 letters, digits, '.', '_' and '-'")
    return found


def variable(value: object) -> str:
    """Read the name of an environment variable; what is no name may be a key, and is not shown."""
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        refuse("give the name of an environment variable, such as LOCAL_API_KEY, never the key")
    return str(value)


def url(value: object) -> str:
    """Read an http(s) address without a user or password, which do not belong in a file."""
    found = text(value)
    try:
        parts = urlsplit(found)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        refuse("give an address such as http://127.0.0.1:8080/v1")
    if parts.username is not None or parts.password is not None:
        refuse("give the address without user and password: keys are named by a variable")
    if not usable:
        refuse(f"{show(found)} is no address: give one such as http://127.0.0.1:8080/v1")
    return found


def table(value: object) -> object:
    """Read a table that the environment may give as text; its settings are checked after."""
    return _toml_value(value)


# What readers are made of -------------------------------------------------------------------------


def refuse(sentence: str) -> NoReturn:
    """Refuse a value as a `ValueError` whose text is *sentence*."""
    raise ValueError(sentence)


def by_domain(read: Callable[[Any], T], value: object) -> T:
    """Read *value* by the domain's own reader, whose errors name no setting."""
    try:
        return read(value)
    except InvalidComposition as error:
        prefix = f"{error.place.lstrip('/')}: " if error.place else ""
        refuse(f"{prefix}{error.detail}")
    except InvalidConfig as error:
        refuse(error.detail)
    except EarmarkError as error:
        refuse(str(error))


def _toml_value(value: object) -> object:
    """Return what an environment's text stands for: a TOML value, or else the text itself."""
    if not isinstance(value, EnvText) or "\n" in value:
        return value
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return value


def items(value: object) -> list[Any]:
    """Read a list whose items are not checked yet; the environment may give one item bare."""
    found = _toml_value(value)
    if isinstance(found, list):
        return cast("list[Any]", found)
    if not isinstance(value, EnvText):
        refuse(f"give a list in square brackets, not {show(found)}")
    return [str(value)]


def table_of(value: object) -> dict[str, Any] | None:
    """Return *value* as a table, None if it is none."""
    found = _toml_value(value)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def need_table(value: object) -> dict[str, Any]:
    """Read a table whose members are not checked yet."""
    found = table_of(value)
    if found is None:
        refuse(f"give a table, not {show(value)}")
    return found
