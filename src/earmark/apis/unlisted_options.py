"""Options that no table lists: their refusal, and whether they can be allowed.

`allowed_options` is for what adds text at most. It lets no argument of a client pass, which holds
whatever its client sends beside the body, and nothing under a name that in the table of any API
asks for more output, another model, another tier or another price.
"""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Final, cast

from earmark.apis.api import REQUEST_APIS, request_table
from earmark.apis.options import Option, allow_advice
from earmark.errors import BudgetExceeded
from earmark.pricing.json_values import items, mapping
from earmark.pricing.rates import unpriced

_BESIDE_BODY: Final = "give it to the client, beside **ticket.body"
_AT_THE_CLIENT: Final = "give it to the client when you make that"
_ONE_CALL: Final = "open a ticket for each call, and switch it off at the client"
_RESUMES: Final = "it resumes an answer whose ticket was opened before: leave it out"
#: By its name without underscores: what the methods of the SDKs take that is no field of the body.
#: Sources: the signatures of openai 3.57, anthropic 2.14 and google-genai 3.6, 2026-11.
CLIENT_ARGUMENTS: Final[Mapping[str, str]] = {
    "extrabody": "put its fields into the body",
    "extraheaders": f"{_BESIDE_BODY}, and to Earmark as headers=",
    "extraquery": _BESIDE_BODY,
    "timeout": f"{_BESIDE_BODY}, and to Earmark as timeout=",
    "textformat": "put its JSON schema into the body, as text.format",
    "parseas": _BESIDE_BODY,
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
_UNBOUNDED_EFFECTS: Final = frozenset({"refused", "outputs", "thinking", "compaction"})
#: Below these of a JSON schema, names are those of the caller's own data.
_SCHEMA_PROPERTIES: Final = frozenset({"properties", "patternProperties", "$defs", "definitions"})


def check_no_client_argument(path: str) -> None:
    """Refuse the option at the head of a body that is an argument of a client.

    Raises:
        BudgetExceeded: With reason `unpriced`; says what to do with it.
    """
    advice = CLIENT_ARGUMENTS.get(_normalized(path))
    if advice is not None:
        raise unpriced(f"'{path}' is an argument of a client, no field of a body: {advice}")


def check_allowed(path: str, value: object) -> None:
    """Refuse to take the option at *path*, without indices, for text because a user says so.

    Raises:
        BudgetExceeded: With reason `unpriced`: it, or a member of *value*, has the name of what is
            known to be more.
    """
    if not can_be_allowed(path):
        raise unpriced(f"option '{path}' {CANNOT_BE_ALLOWED}: leave it out")
    inner = next(_forbidden_members(value, path), None)
    if inner is not None:
        raise unpriced(f"option '{inner}' {CANNOT_BE_ALLOWED}: leave it out")


def unlisted_refusal(
    api: str, path: str, bare_path: str, known: Collection[str], name: str
) -> BudgetExceeded:
    """Return the refusal of the option at *path*, that without indices is *bare_path*."""
    found = get_close_matches(name, known, n=1)
    mistyped = f"did you mean '{found[0]}'? Else " if found else ""
    allow = f", or, if it adds text at most, allow it: {allow_advice(api, bare_path)}"
    advice = f"{mistyped}leave it out{allow if can_be_allowed(bare_path) else ''}"
    return unpriced(f"option '{path}' is not known to be bounded: {advice}")


def can_be_allowed(path: str) -> bool:
    """Whether the option at *path*, a path without indices, may be taken for text."""
    head, _, inner = path.partition(".")
    if not inner:
        return (
            _normalized(head) not in CLIENT_ARGUMENTS
            and _normalized(head) not in _forbidden_options()
        )
    return _normalized(path.rpartition(".")[2]) not in _forbidden_names()


def _forbidden_members(value: object, path: str) -> Iterator[str]:
    """Yield the path of each member below *value* that is known to be more than text."""
    for name, inner in mapping(value).items():
        if inner is not None and _normalized(str(name)) in _forbidden_names():
            yield f"{path}.{name}"
        elif name not in _SCHEMA_PROPERTIES:
            yield from _forbidden_members(cast("object", inner), f"{path}.{name}")
    for each in items(value):
        yield from _forbidden_members(cast("object", each), path)


@cache
def _forbidden_options() -> frozenset[str]:
    """Return the names that no option of a body may have to be taken for text."""
    options = (item for api in REQUEST_APIS for item in request_table(api).options.items())
    return _forbidden_names() | {_normalized(name) for name, row in options if not _is_text(row)}


@cache
def _forbidden_names() -> frozenset[str]:
    """Return the names of what is known to be more than text, wherever it stands."""
    found = {"model"}
    for table in map(request_table, REQUEST_APIS):
        paths = (*table.output_limits, *table.tiers, table.choices, table.tool_call_limit)
        found |= {path.rpartition(".")[2] for path in paths if path}
        found |= {host.output_limit for host in table.hosts.values() if host.output_limit}
        found |= set(_unbounded_names(Option(fields=table.options), set()))
    return frozenset(map(_normalized, found))


def _unbounded_names(row: Option, seen: set[int]) -> Iterator[str]:
    if id(row) in seen:
        return
    seen.add(id(row))
    for name, inner in (row.fields or {}).items():
        if inner.effect in _UNBOUNDED_EFFECTS:
            yield name
        yield from _unbounded_names(inner, seen)
    for inner in (row.kinds or {}).values():
        yield from _unbounded_names(inner, seen)


def _is_text(row: Option) -> bool:
    inner = [*(row.fields or {}).values(), *(row.kinds or {}).values()]
    if row.others is not None:
        inner.append(row.others)
    return row.effect in _TEXTS and row.values is None and all(map(_is_text, inner))


def _normalized(name: str) -> str:
    return name.replace("_", "").lower()
