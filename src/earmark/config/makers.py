"""The providers that need no table, and no `api` where they have one: the APIs' makers. Pure."""

from collections.abc import Mapping
from typing import Any, Final, cast

from earmark.apis.dialect import SpokenApi

#: The API of each, by the price list's names.
MAKERS: Final[Mapping[str, SpokenApi]] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "gemini",
}


def with_makers_apis(tables: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the *tables* of a configuration; a maker's that gives no `api` has the maker's own."""
    providers = tables.get("providers")
    if not isinstance(providers, Mapping):
        return tables
    found = dict(cast("Mapping[str, Any]", providers))
    for name in MAKERS.keys() & found.keys():
        if isinstance(found[name], Mapping):
            found[name] = {"api": MAKERS[name], **found[name]}
    return {**tables, "providers": found}
