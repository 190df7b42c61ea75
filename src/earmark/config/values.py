"""Readers of settings that the domain defines: limits, models, prices, effects, types.

They are as those of `earmark.setting_types.readers`: the checked value, or a `ValueError`.
"""

import re
from collections.abc import Callable, Mapping
from datetime import time
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Final, NoReturn, cast

from earmark.apis.count_margin import parse_margin
from earmark.apis.unlisted_options import CANNOT_BE_ALLOWED, can_be_allowed
from earmark.budget.budget import PPM, check_limits, parse_alerts
from earmark.budget.fields import PlainField, PlainValue
from earmark.budget.limit import Limit
from earmark.composition.document import Fields, check_value
from earmark.composition.effects import EffectSet, parse_author_effect, parse_cost
from earmark.composition.types import NType, parse_type
from earmark.errors import InvalidConfig
from earmark.money import LARGEST_NANOS, Money
from earmark.pricing.own_prices import own_rates
from earmark.setting_types.readers import (
    NAME,
    by_domain,
    flag,
    items,
    need_table,
    refuse,
    show,
    table_of,
    text,
    texts,
    whole_number,
)
from earmark.stages.kinds.template import parse_template

LONGEST_AGENT: Final = 100
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


def template(value: object) -> str:
    """Read a prompt template, in which `{field}` is filled from the input."""
    return by_domain(parse_template, text(value)).text


def hours(value: object) -> tuple[time, time]:
    """Read a part of each day: `22:00-07:00`."""
    begin, dash, end = text(value).partition("-")
    if not (dash and _CLOCK.fullmatch(begin) and _CLOCK.fullmatch(end)) or begin == end:
        refuse(f'{show(value)} is no part of a day: give one such as "22:00-07:00"')
    return time.fromisoformat(begin), time.fromisoformat(end)


def agent(value: object) -> str:
    """Read the name of an agent, as the board and the quilt keep it."""
    found = text(value)
    if len(found) > LONGEST_AGENT or not found.isprintable() or not re.search(r"\w", found):
        refuse(f"{show(found)} is no agent: give 1 to {LONGEST_AGENT} printable characters")
    return found


def model(value: object) -> str:
    """Read `provider/model`."""
    found = text(value)
    provider, _, rest = found.partition("/")
    if not (NAME.fullmatch(provider) and rest) or len(found) > 255:  # noqa: PLR2004 - as long as a path
        refuse(f"{show(found)} is no model: give 'provider/model', such as 'local/smollm2-135m'")
    return found


def models(value: object) -> tuple[str, ...]:
    """Read a list of `provider/model`."""
    return tuple(model(item) for item in items(value))


def function(value: object) -> str:
    """Read the place of a Python function."""
    found = text(value)
    if not _FUNCTION.fullmatch(found):
        refuse(f"{show(found)} is no function: give 'module:name', such as 'my.stages:draft'")
    return found


def limits(value: object) -> tuple[Limit, ...]:
    """Read the limits of one budget."""
    return by_domain(check_limits, tuple(by_domain(Limit.parse, item) for item in texts(value)))


def alerts(value: object) -> tuple[float, ...]:
    """Read alert thresholds: shares of a limit, ascending and each once."""
    return tuple(parts / PPM for parts in by_domain(parse_alerts, items(value)))


def plain_field(field: PlainField) -> Callable[[object], PlainValue]:
    """Return the reader of a plain field of a budget."""
    readers: Mapping[type, Callable[[object], PlainValue]] = {
        int: whole_number(0, LARGEST_NANOS),
        bool: flag,
        str: lambda value: str(value) if isinstance(value, str) else _no_text(value),
    }
    of_type = readers[field.type]
    return lambda value: by_domain(field.read, of_type(value))


def _no_text(value: object) -> NoReturn:
    refuse(f"give text in quotes, not {show(value)}")


def prices(value: object) -> Mapping[str, Mapping[str, str]]:
    """Read the tables of own prices, USD as decimal strings.

    Raises:
        InvalidConfig: With the place inside the tables.
    """
    found: dict[str, Mapping[str, str]] = {}
    for model_name, table in need_table(value).items():
        if not isinstance(table, dict):
            detail = f"give a table, not {show(table)}"
            raise InvalidConfig(place=f'prices."{model_name}"', detail=detail)
        usd = cast("dict[str, object]", table)
        own_rates(model_name, usd)
        found[model_name] = {key: str(amount) for key, amount in usd.items()}
    return found


def margin(value: object) -> int:
    """Read a share such as `2 %`; return it in parts per million."""
    return by_domain(parse_margin, value)


def cost(value: object) -> Money:
    """Read a declared price: USD as a decimal string, or a table of `cents` or `usd`."""
    table = table_of(value)
    if table is not None:
        return by_domain(parse_cost, Fields(table, ""))
    if not isinstance(value, str):
        refuse(f'give USD as a decimal string, such as "0.05", or {{cents = 5}}, not {show(value)}')
    return by_domain(parse_cost, Fields({"usd": str(value)}, ""))


def effects(value: object) -> EffectSet:
    """Read the effects of a stage: names, or tables such as `{effect = "FsRead", path = "/x"}`."""
    return EffectSet(by_domain(parse_author_effect, item) for item in items(value))


def type_(value: object) -> NType:
    """Read a type: its kind alone, or a table `{kind = "List", value = {kind = "Text"}}`."""
    table = table_of(value)
    return by_domain(parse_type, {"kind": text(value)} if table is None else table)


def options(value: object) -> Mapping[str, Any]:
    """Read a table that is passed on as JSON."""
    table = need_table(value)
    by_domain(lambda found: check_value(found, ""), table)
    return table


def option_rules(value: object) -> Mapping[str, str]:
    """Read options and how each is bounded: `text` is the only rule there is."""
    rules = {name: text(rule) for name, rule in need_table(value).items()}
    for name, rule in rules.items():
        if rule != "text":
            refuse(f"'{name}' is '{rule}'; an option can be allowed as \"text\" only")
        if not can_be_allowed(name):
            refuse(f"'{name}' {CANNOT_BE_ALLOWED}")
    return rules


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Return whether *host*, a name or an address, is this machine to itself only."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
