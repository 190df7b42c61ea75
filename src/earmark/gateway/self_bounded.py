"""A request that nothing here bounds, from a token that may bound it: passed on unchanged.

Its hold is what it says itself to cost at most. Who makes such a token trusts its holder with that
number: what a call really cost is booked in full, also above its hold.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from earmark.admission.request import OpenOptions
from earmark.errors import BudgetExceeded, Reason
from earmark.gateway.access import Holder
from earmark.gateway.denied import Denied
from earmark.gateway.headers import AT_MOST
from earmark.money import Money
from earmark.pricing.json_values import items, mapping

_ADVICE: Final = (
    f"; or bound the whole request by {AT_MOST}, with a token that was made with --may-bound"
)
#: What ends the name of a member that names something kept at the provider, however it is spelt.
_IDS: Final = ("_id", "_ids", "_file", "_files", "_uri")
_KEPT: Final = frozenset(
    {"conversation", "container", "cached_content", "file_data", "previous_response", "file"}
    | {"files", "uri"}
)
#: The form of the providers' own ids, wherever they stand but as a model: a kind, and then at least
#: eight letters with a digit among them, which tells them from words with a hyphen.
_KEPT_VALUE: Final = re.compile(
    r"(file|resp|pmpt|conv|cntr|container|vs|batch|asst|thread|run|msg|upload|audio)[-_]"
    r"(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{8,}"
    r"|(files|cachedContents|tunedModels)/\S+"
)
#: The ids of files, which are refused in lists however short they are.
_FILE_ID: Final = re.compile(r"file[-_][A-Za-z0-9]{3,}")
#: But for lists of names and texts, such as a tool's parameters.
_LISTS_OF_WORDS: Final = frozenset(
    {"allowed_function_names", "allowed_tools", "enum", "examples", "input", "property_ordering"}
    | {"required", "stop", "stop_sequences"}
)
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
#: What names models beside the one that is asked, or goes on when the answer is there.
_BESIDE: Final = frozenset({"models", "fallbacks", "fallback_models", "background"})
#: What names another model, or what has one, at any depth; and what ends a name that does.
_ANOTHER: Final = frozenset({"fallback", "fallbacks", "preset", "agent", "agents"})
_MODELS: Final = ("_model", "_models", "_model_name")
#: What holds a user's own words, or a schema's: no name in it is an option.
_OWN_WORDS: Final = frozenset(
    {"metadata", "content", "contents", "system", "arguments", "args", "properties", "schema"}
    | {"input_schema", "json_schema", "response_schema", "response_json_schema"}
    | {"parameters_json_schema"}
)
#: The ids of a call of the client's own tools, which is in the conversation itself.
_OF_CALLS: Final = frozenset({"call_id", "tool_call_id", "tool_use_id"})
_CALLS: Final = frozenset({"function", "function_call", "tool_use", "custom", "custom_tool_call"})


def own_bound(holder: Holder, headers: Mapping[str, str]) -> Money | None:
    """Return what a request says that it costs at most; `None` where its token may not say so.

    Raises:
        Denied: The amount is not above 0.
    """
    text = headers.get(AT_MOST)
    if text is None or not holder.access.may_bound:
        return None
    amount = Money(text.strip())
    if amount <= Money():
        raise Denied(400, "invalid_amount", f"{AT_MOST} is not above 0, and nothing else bounds it")
    return amount


def own_bound_of_path(holder: Holder, headers: Mapping[str, str]) -> Money:
    """Return what a request to a path that is not listed says that it costs at most.

    Raises:
        Denied: The token may not say so, or the amount is not above 0.
    """
    amount = own_bound(holder, headers)
    if amount is None:
        words = f"nobody knows what a request to this path costs: leave it out{_ADVICE}"
        raise Denied(404, "unpriced", words)
    return amount


def self_bounded(
    holder: Holder, headers: Mapping[str, str], options: OpenOptions, refusal: BudgetExceeded
) -> OpenOptions:
    """Return how to open a request that was refused because nothing bounds it: by its own bound.

    Args:
        holder: Whose request it is.
        headers: Its headers.
        options: As it was to be opened.
        refusal: Why it was not.

    Raises:
        BudgetExceeded: *refusal*, where it says anything else, or the token or the request gives no
            bound; says what to give.
        Denied: The amount is not above 0.
    """
    if refusal.reason is not Reason.UNPRICED or refusal.limit is not None:
        raise refusal
    amount = own_bound(holder, headers)
    if amount is None:
        refusal.detail += _ADVICE
        raise refusal
    return with_own_bound(holder, options, amount)


def with_own_bound(holder: Holder, options: OpenOptions, amount: Money) -> OpenOptions:
    """Return *options* with a hold of *amount*, which is refused above the most that is allowed."""
    changed = options.copy()
    changed["up_to"], changed["at_most"] = amount, holder.access.most_per_request
    return changed


def check_self_bounded(holder: Holder, body: Mapping[str, Any]) -> None:
    """Refuse a body whose bound nobody checks and that may do more than its own model's one call.

    Raises:
        Denied: It names other models, runs in the background, or names what is kept at its
            provider; names the member.
    """
    for name in body:
        if _spelt(name) in _BESIDE:
            raise _may_ask_others(name)
    if holder.access.models:
        _check_names_no_model({name: each for name, each in body.items() if name != "model"})
    check_names_nothing_kept(body)


def _check_names_no_model(value: object) -> None:
    """Refuse a member, at any depth, by which another model may answer, such as a tool's."""
    members = mapping(value)
    for name, inner in members.items():
        spelt = _spelt(name)
        if inner is not None and (spelt in _ANOTHER or f"_{spelt}".endswith(_MODELS)):
            raise _may_ask_others(name)
        # The settings of a tool that the provider runs have the name of a function's schema.
        is_schema = spelt == "parameters" and members.get("type", "function") == "function"
        if not is_schema and spelt not in _OWN_WORDS:
            _check_names_no_model(inner)
    for inner in items(value):
        _check_names_no_model(inner)


def _may_ask_others(name: str) -> Denied:
    words = "may ask other models than its token allows, or go on unseen: leave it out"
    return Denied(400, "unpriced", f"{name[:60]} {words}")


def check_names_nothing_kept(value: object) -> None:
    """Refuse a body that names, by whatever id, what is kept at the provider.

    What a request may name that no table bounds is not known: it may be another token's.

    Raises:
        Denied: It does; names the member.
    """
    members = mapping(value)
    for name, inner in members.items():
        if _texts(inner) and _names_kept(name, members):
            words = f"{name[:60]} may name what is kept at the provider, which all tokens share"
            raise Denied(400, "unpriced", f"{words}: leave it out")
        check_names_nothing_kept(inner)
    for inner in items(value):
        check_names_nothing_kept(inner)


def _spelt(name: str) -> str:
    """Return a member's *name* in small letters, its words apart: servers read some either way."""
    return (name if name.isupper() else _HUMP.sub("_", name)).lower().replace("-", "_")


def _texts(value: object) -> list[str]:
    """Return *value*, if it is a text, or the texts of a list and of the lists in it."""
    if isinstance(value, str):
        return [value]
    return [text for each in items(value) for text in _texts(each)]


def _names_kept(name: str, members: Mapping[str, Any]) -> bool:
    spelt = _spelt(name)
    if spelt == "id":
        return members.get("type") not in _CALLS
    if spelt in _OF_CALLS:
        return False
    if spelt in _KEPT or spelt.endswith(_IDS):
        return True
    texts = _texts(members[name])
    if spelt not in _LISTS_OF_WORDS and items(members[name]) and _any(_FILE_ID, texts):
        return True
    return spelt != "model" and _any(_KEPT_VALUE, texts)


def _any(form: re.Pattern[str], texts: list[str]) -> bool:
    return any(form.fullmatch(each) is not None for each in texts)
