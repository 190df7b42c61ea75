"""Readers of single settings: strict about what a file says, willing about the environment's text.

Every reader returns the checked value or raises a `ValueError` whose text completes the sentence
"configuration refused at <place>: …". A value that may be secret is not repeated in it.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import time, timedelta
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Final, NoReturn, TypeVar, cast
from urllib.parse import urlsplit

from earmark.apis.count_margin import parse_margin
from earmark.apis.unlisted_options import CANNOT_BE_ALLOWED, can_be_allowed
from earmark.budget.budget import PPM, check_limits, parse_alerts
from earmark.budget.limit import Limit
from earmark.clock import parse_duration
from earmark.composition.document import Fields, check_value
from earmark.composition.effects import EffectSet, parse_author_effect, parse_cost
from earmark.composition.types import NType, parse_type
from earmark.errors import EarmarkError, InvalidComposition, InvalidConfig
from earmark.money import Money
from earmark.pricing.own_prices import own_rates
from earmark.stages.kinds.template import parse_template

T = TypeVar("T")

LONGEST_TEXT: Final = 100_000
LONGEST_AGENT: Final = 100
_SHOWN: Final = 60
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


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
        _refuse(f"give text in quotes, not {show(value)}")
    if not value or len(value) > LONGEST_TEXT:
        _refuse(f"give 1 to {LONGEST_TEXT} characters, not {len(value)}")
    if "\0" in value:
        _refuse("a zero byte cannot be part of a text")
    return str(value)


def template(value: object) -> str:
    """Read a prompt template, in which `{field}` is filled from the input."""
    return _domain(parse_template, text(value)).text


def texts(value: object) -> tuple[str, ...]:
    """Read a list of texts; the environment may give one text for a list of one."""
    return tuple(text(item) for item in _items(value))


def argv(value: object) -> tuple[str, ...]:
    """Read a program and its arguments, which may be empty texts."""
    items = _items(value)
    if not items or not all(isinstance(item, str) and "\0" not in item for item in items):
        _refuse('give a program and its arguments as a list of texts, such as ["jq", ".name"]')
    return (text(items[0]), *(str(item) for item in items[1:]))


def whole_number(least: int, most: int) -> Callable[[object], int]:
    """Return the reader of whole numbers from *least* to *most*."""

    def read(value: object) -> int:
        number = _toml_value(value)
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            _refuse(f"give a whole number from {least} to {most}, not {show(number)}")
        return number

    return read


def choice(*names: str) -> Callable[[object], str]:
    """Return the reader of one of *names*."""

    def read(value: object) -> str:
        if value not in names:
            _refuse(f"give one of {', '.join(names)}, not {show(value)}")
        return str(value)

    return read


def choices(*names: str) -> Callable[[object], tuple[str, ...]]:
    """Return the reader of a list of *names*."""
    parse_item = choice(*names)
    return lambda value: tuple(parse_item(item) for item in _items(value))


def flag(value: object) -> bool:
    """Read true or false."""
    found = _toml_value(value)
    if not isinstance(found, bool):
        _refuse(f"give true or false, not {show(found)}")
    return found


def hours(value: object) -> tuple[time, time]:
    """Read a part of each day: `22:00-07:00`."""
    begin, dash, end = text(value).partition("-")
    if not (dash and _CLOCK.fullmatch(begin) and _CLOCK.fullmatch(end)) or begin == end:
        _refuse(f'{show(value)} is no part of a day: give one such as "22:00-07:00"')
    return time.fromisoformat(begin), time.fromisoformat(end)


def duration(value: object) -> timedelta:
    """Read a stretch of time, which may be none."""
    if not isinstance(value, str):
        _refuse(f'give a duration with its unit, such as "30s", not {show(value)}')
    return timedelta(microseconds=_domain(parse_duration, str(value)) // 1000)


def some_time(value: object) -> timedelta:
    """Read a stretch of time that is longer than none."""
    found = duration(value)
    if not found:
        _refuse("give a duration above 0")
    return found


def name(value: object) -> str:
    """Read the name of a stage or provider."""
    found = text(value)
    if not _NAME.fullmatch(found):
        _refuse(f"{show(found)} is no name: give up to 64 letters, digits, '.', '_' and '-'")
    return found


def agent(value: object) -> str:
    """Read the name of an agent, as the board and the quilt keep it."""
    found = text(value)
    if len(found) > LONGEST_AGENT or not found.isprintable() or not re.search(r"\w", found):
        _refuse(f"{show(found)} is no agent: give 1 to {LONGEST_AGENT} printable characters")
    return found


def model(value: object) -> str:
    """Read `provider/model`."""
    found = text(value)
    provider, _, rest = found.partition("/")
    if not (_NAME.fullmatch(provider) and rest) or len(found) > 255:  # noqa: PLR2004 - as long as a path
        _refuse(f"{show(found)} is no model: give 'provider/model', such as 'local/smollm2-135m'")
    return found


def models(value: object) -> tuple[str, ...]:
    """Read a list of `provider/model`."""
    return tuple(model(item) for item in _items(value))


def function(value: object) -> str:
    """Read the place of a Python function."""
    found = text(value)
    if not _FUNCTION.fullmatch(found):
        _refuse(f"{show(found)} is no function: give 'module:name', such as 'my.stages:draft'")
    return found


def variable(value: object) -> str:
    """Read the name of an environment variable; what is no name may be a key, and is not shown."""
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        _refuse("give the name of an environment variable, such as LOCAL_API_KEY, never the key")
    return str(value)


def url(value: object) -> str:
    """Read an http(s) address without a user or password, which do not belong in a file."""
    found = text(value)
    try:
        parts = urlsplit(found)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        _refuse("give an address such as http://127.0.0.1:8080/v1")
    if parts.username is not None or parts.password is not None:
        _refuse("give the address without user and password: keys are named by a variable")
    if not usable:
        _refuse(f"{show(found)} is no address: give one such as http://127.0.0.1:8080/v1")
    return found


def limits(value: object) -> tuple[Limit, ...]:
    """Read the limits of one budget."""
    return _domain(check_limits, tuple(_domain(Limit.parse, item) for item in texts(value)))


def alerts(value: object) -> tuple[float, ...]:
    """Read alert thresholds: shares of a limit, ascending and each once."""
    return tuple(parts / PPM for parts in _domain(parse_alerts, _items(value)))


def prices(value: object) -> Mapping[str, Mapping[str, str]]:
    """Read the tables of own prices, USD as decimal strings.

    Raises:
        InvalidConfig: With the place inside the tables.
    """
    found: dict[str, Mapping[str, str]] = {}
    for model_name, table in _need_table(value).items():
        if not isinstance(table, dict):
            detail = f"give a table, not {show(table)}"
            raise InvalidConfig(place=f'prices."{model_name}"', detail=detail)
        usd = cast("dict[str, object]", table)
        own_rates(model_name, usd)
        found[model_name] = {key: str(amount) for key, amount in usd.items()}
    return found


def margin(value: object) -> int:
    """Read a share such as `2 %`; return it in parts per million."""
    return _domain(parse_margin, value)


def cost(value: object) -> Money:
    """Read a declared price: USD as a decimal string, or a table of `cents` or `usd`."""
    table = _table(value)
    if table is not None:
        return _domain(parse_cost, Fields(table, ""))
    if not isinstance(value, str):
        _refuse(
            f'give USD as a decimal string, such as "0.05", or {{cents = 5}}, not {show(value)}'
        )
    return _domain(parse_cost, Fields({"usd": str(value)}, ""))


def effects(value: object) -> EffectSet:
    """Read the effects of a stage: names, or tables such as `{effect = "FsRead", path = "/x"}`."""
    return EffectSet(_domain(parse_author_effect, item) for item in _items(value))


def type_(value: object) -> NType:
    """Read a type: its kind alone, or a table `{kind = "List", value = {kind = "Text"}}`."""
    table = _table(value)
    return _domain(parse_type, {"kind": text(value)} if table is None else table)


def table(value: object) -> object:
    """Read a table that the environment may give as text; its settings are checked after."""
    return _toml_value(value)


def options(value: object) -> Mapping[str, Any]:
    """Read a table that is passed on as JSON."""
    table = _need_table(value)
    _domain(lambda found: check_value(found, ""), table)
    return table


def option_rules(value: object) -> Mapping[str, str]:
    """Read options and how each is bounded: `text` is the only rule there is."""
    rules = {name: text(rule) for name, rule in _need_table(value).items()}
    for name, rule in rules.items():
        if rule != "text":
            _refuse(f"'{name}' is '{rule}'; an option can be allowed as \"text\" only")
        if not can_be_allowed(name):
            _refuse(f"'{name}' {CANNOT_BE_ALLOWED}")
    return rules


def _refuse(sentence: str) -> NoReturn:
    raise ValueError(sentence)


def _domain(read: Callable[[Any], T], value: object) -> T:
    """Read *value* by the domain's own reader, whose errors name no setting."""
    try:
        return read(value)
    except InvalidComposition as error:
        prefix = f"{error.place.lstrip('/')}: " if error.place else ""
        _refuse(f"{prefix}{error.detail}")
    except InvalidConfig as error:
        _refuse(error.detail)
    except EarmarkError as error:
        _refuse(str(error))


def _toml_value(value: object) -> object:
    """Return what an environment's text stands for: a TOML value, or else the text itself."""
    if not isinstance(value, EnvText) or "\n" in value:
        return value
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return value


def _items(value: object) -> list[Any]:
    table = _toml_value(value)
    if isinstance(table, list):
        return cast("list[Any]", table)
    if not isinstance(value, EnvText):
        _refuse(f"give a list in square brackets, not {show(table)}")
    return [str(value)]


def _table(value: object) -> dict[str, Any] | None:
    table = _toml_value(value)
    return cast("dict[str, Any]", table) if isinstance(table, dict) else None


def _need_table(value: object) -> dict[str, Any]:
    table = _table(value)
    if table is None:
        _refuse(f"give a table, not {show(value)}")
    return table


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Return whether *host*, a name or an address, is this machine to itself only."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
