"""Where a request says how much output it wants: reads the limit, and writes a lower one."""

import re
from collections.abc import Mapping
from typing import Any, Final

from earmark.apis.api import request_table
from earmark.apis.options import DEFAULT_MAX_TOOL_CALLS, RequestTable, row_of_kind
from earmark.errors import InvalidUsage
from earmark.errors.inputs import wrong_argument
from earmark.pricing.json_values import items, mapping
from earmark.pricing.usage import LARGEST_COUNT

_CAPITAL: Final = re.compile(r"[A-Z]")


def with_output_limit(
    api: str, body: Mapping[str, Any], max_output_tokens: int, *, host: str = ""
) -> dict[str, Any]:
    """Return *body* with the limit of output tokens in it, and what else makes the bound hold.

    It replaces each limit that the body names above it; where the body names none, it is added
    under the name that *host* knows. A stream of Chat Completions is asked for its usage; a
    Responses request with built-in tools and no `max_tool_calls` gets the one its bound assumes;
    where the API's table lists a default for *host*, such as `service_tier`, it is added unless the
    body sets it. Everything else stays as it is, in the same order; *body* itself is not changed.

    Args:
        api: The API's name, as in `read_body`.
        body: The decoded request.
        max_output_tokens: Per choice; ignored where the API has no output.
        host: The host the request is sent to, such as `api.openai.com`.
    """
    table = request_table(api)
    rules = table.host_rules(host)
    changed = dict(body)
    named = [path for path in table.output_limits if value_at(body, path) is not None]
    added = (rules.output_limit or table.output_limits[0],) if table.output_limits else ()
    for path in named or added:
        asked = value_at(body, path)
        if type(asked) is not int or asked > max_output_tokens:
            changed = _with_value(changed, path, max_output_tokens)
    if table.asks_for_stream_usage and body.get("stream"):
        changed["stream_options"] = {**mapping(body.get("stream_options")), "include_usage": True}
    if (
        table.tool_call_limit
        and body.get(table.tool_call_limit) is None
        and _runs_tools(table, body)
    ):
        changed[table.tool_call_limit] = DEFAULT_MAX_TOOL_CALLS
    for name, value in rules.defaults.items():
        if changed.get(name) is None:
            changed[name] = value
    return changed


def requested_output_tokens(table: RequestTable, body: Mapping[str, Any]) -> int | None:
    """Return the output tokens *body* asks for; of two limits the larger; `None` for no limit.

    Raises:
        InvalidUsage: A limit is not a whole number, or 0 where servers read that as none.
    """
    asked = [whole_number(body, path, minimum=table.min_output) for path in table.output_limits]
    return max((limit for limit in asked if limit is not None), default=None)


def whole_number(body: Mapping[str, Any], path: str, *, minimum: int) -> int | None:
    """Return the whole number at *path*, `None` where there is none.

    Raises:
        InvalidUsage: It is no whole number from *minimum* on, or stands in no object.
    """
    parent = path.rpartition(".")[0]
    if parent and not isinstance(value_at(body, parent), Mapping | None):
        raise InvalidUsage(detail=f"{parent} is no object")
    value = value_at(body, path)
    return None if value is None else check_whole_number(path, value, minimum=minimum)


def check_whole_number(name: str, value: object, *, minimum: int) -> int:
    """Return *value* if it is a whole number from *minimum* on.

    Raises:
        InvalidUsage: It is none; says what *name* is.
    """
    if type(value) is not int or not minimum <= value <= LARGEST_COUNT:
        raise wrong_argument(name, value, f"a whole number from {minimum} to 10^12")
    return value


def value_at(body: Mapping[str, Any], path: str) -> object:
    """Return what stands at a path with dots, in either spelling; `None` for nothing."""
    *parents, name = path.split(".")
    for parent in parents:
        body = mapping(body.get(_member_name(body, parent)))
    return body.get(_member_name(body, name))


def _with_value(body: Mapping[str, Any], path: str, value: int) -> dict[str, Any]:
    first, _, rest = path.partition(".")
    name = _member_name(body, first)
    inner = _with_value(mapping(body.get(name)), rest, value) if rest else value
    return {**body, name: inner}


def _member_name(body: Mapping[str, Any], name: str) -> str:
    """Return *name* as *body* writes it: `maxOutputTokens` may stand as `max_output_tokens`."""
    if name in body:
        return name
    other = _CAPITAL.sub(lambda found: f"_{found[0].lower()}", name)
    return other if other in body else name


def _runs_tools(table: RequestTable, body: Mapping[str, Any]) -> bool:
    """Whether *body* holds a tool that the provider runs, in `tools` or in an item of its input."""
    rows = table.options["tools"].kinds or {}
    lists = [body, *map(mapping, items(body.get(table.messages)))]
    tools = [mapping(tool) for each in lists for tool in items(each.get("tools"))]
    return any((row := row_of_kind(rows, tool)) is not None and row.maximum for tool in tools)
