"""An option that no table lists: what a refusal of it says, and whether it can be allowed.

`allowed_options` is for what adds text at most. It lets no argument of a client pass, which holds
whatever its client sends beside the body, and nothing under a name that in the table of any API
asks for more output, another model, another tier or another price.
"""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Final, cast

from earmark.apis.api import REQUEST_APIS, request_table
from earmark.apis.options import Option, how_to_allow
from earmark.errors import BudgetExceeded
from earmark.pricing.bill import unpriced
from earmark.pricing.json_values import items, mapping

_BESIDE: Final = "give it to the client, beside **ticket.body"
_AT_THE_CLIENT: Final = "give it to the client when you make that"
_ONE_CALL: Final = "open a ticket for each call, and switch it off at the client"
_RESUMES: Final = "it resumes an answer whose ticket was opened before: leave it out"
#: By its name without underscores: what the methods of the SDKs take that is no field of the body.
#: Sources: the signatures of openai 3.57, anthropic 2.14 and google-genai 3.6, 2026-11.
CLIENT_ARGUMENTS: Final[Mapping[str, str]] = {
    "extrabody": "put its fields into the body",
    "extraheaders": f"{_BESIDE}, and to Earmark as headers=",
    "extraquery": _BESIDE,
    "timeout": f"{_BESIDE}, and to Earmark as timeout=",
    "textformat": "put its JSON schema into the body, as text.format",
    "parseas": _BESIDE,
    # `responses.stream` resumes an answer that is under way.
    "responseid": _RESUMES,
    "startingafter": _RESUMES,
    "maxiterations": _ONE_CALL,
    "compactioncontrol": _ONE_CALL,
    # google-genai's `config` and what stands in it.
    "config": "put its fields into the body, as generationConfig and beside it",
    "httpoptions": "give it to the client, and put the fields of its extra_body into the body",
    "shouldreturnhttpresponse": "give it to the client",
    "automaticfunctioncalling": _ONE_CALL,
    **dict.fromkeys(
        (
            *("maxretries", "apikey", "baseurl", "httpclient"),
            *("defaultheaders", "defaultquery"),
        ),
        _AT_THE_CLIENT,
    ),
}

CANNOT_BE_ALLOWED: Final = (
    "cannot be allowed: by that name an API is asked for more than text, such as more output,"
    " another model or another price"
)

#: Effects of what adds text at most.
_TEXTS: Final = frozenset({"text", "prompt", "schema", "tokens"})
#: Effects that no bound of text covers, wherever they stand.
_MORE: Final = frozenset({"refused", "outputs", "thinking", "compaction"})
#: Below these of a JSON schema, names are those of the caller's own data.
_OWN_NAMES: Final = frozenset({"properties", "patternProperties", "$defs", "definitions"})


def check_no_client_argument(place: str) -> None:
    """Refuse the option at the head of a body that is an argument of a client.

    Raises:
        BudgetExceeded: With reason `unpriced`; says what to do with it.
    """
    how = CLIENT_ARGUMENTS.get(_plain(place))
    if how is not None:
        raise unpriced(f"'{place}' is an argument of a client, no field of a body: {how}")


def check_allowed(place: str, value: object) -> None:
    """Refuse to take the option at *place*, without indices, for text because a user says so.

    Raises:
        BudgetExceeded: With reason `unpriced`: it, or a member of *value*, has the name of what is
            known to be more.
    """
    if not can_be_allowed(place):
        raise unpriced(f"option '{place}' {CANNOT_BE_ALLOWED}: leave it out")
    inner = next(_more_inside(value, place), None)
    if inner is not None:
        raise unpriced(f"option '{inner}' {CANNOT_BE_ALLOWED}: leave it out")


def not_listed(
    api: str, place: str, plain: str, known: Collection[str], near: str
) -> BudgetExceeded:
    """Return the refusal of the option at *place*, that without indices is *plain*."""
    found = get_close_matches(near, known, n=1)
    mistyped = f"did you mean '{found[0]}'? Else " if found else ""
    allow = f", or, if it adds text at most, allow it: {how_to_allow(api, plain)}"
    how = f"{mistyped}leave it out{allow if can_be_allowed(plain) else ''}"
    return unpriced(f"option '{place}' is not known to be bounded: {how}")


def can_be_allowed(place: str) -> bool:
    """Whether the option at *place*, a path without indices, may be taken for text."""
    head, _, inner = place.partition(".")
    if not inner:
        return _plain(head) not in CLIENT_ARGUMENTS and _plain(head) not in _never_at_the_head()
    return _plain(place.rpartition(".")[2]) not in _never()


def _more_inside(value: object, place: str) -> Iterator[str]:
    """Yield the place of each member below *value* that is known to be more than text."""
    for name, inner in mapping(value).items():
        if inner is not None and _plain(str(name)) in _never():
            yield f"{place}.{name}"
        elif name not in _OWN_NAMES:
            yield from _more_inside(cast("object", inner), f"{place}.{name}")
    for each in items(value):
        yield from _more_inside(cast("object", each), place)


@cache
def _never_at_the_head() -> frozenset[str]:
    """Return the names that no option of a body may have to be taken for text."""
    options = (item for api in REQUEST_APIS for item in request_table(api).options.items())
    return _never() | {_plain(name) for name, row in options if not _is_text(row)}


@cache
def _never() -> frozenset[str]:
    """Return the names of what is known to be more than text, wherever it stands."""
    found = {"model"}
    for table in map(request_table, REQUEST_APIS):
        paths = (*table.output_limits, *table.tiers, table.choices, table.tool_call_limit)
        found |= {path.rpartition(".")[2] for path in paths if path}
        found |= {host.output_limit for host in table.hosts.values() if host.output_limit}
        found |= set(_names_of_more(Option(fields=table.options), set()))
    return frozenset(map(_plain, found))


def _names_of_more(row: Option, seen: set[int]) -> Iterator[str]:
    if id(row) in seen:
        return
    seen.add(id(row))
    for name, inner in (row.fields or {}).items():
        if inner.effect in _MORE:
            yield name
        yield from _names_of_more(inner, seen)
    for inner in (row.kinds or {}).values():
        yield from _names_of_more(inner, seen)


def _is_text(row: Option) -> bool:
    inner = [*(row.fields or {}).values(), *(row.kinds or {}).values()]
    if row.others is not None:
        inner.append(row.others)
    return row.effect in _TEXTS and row.values is None and all(map(_is_text, inner))


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
