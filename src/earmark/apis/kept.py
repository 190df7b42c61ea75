"""What a request names that its provider keeps: an earlier response, a file. Pure.

An account's tokens at one provider share what it keeps, so that whoever lets several callers use
one account says which ids each of them may name.
"""

import re
from collections.abc import Mapping
from typing import Final, cast

from earmark.pricing.json_values import mapping
from earmark.pricing.rates import unpriced

#: By id: the most tokens that it brings into a request; `None` where that is not known, so that it
#: needs a bound as any other input does.
KeptTokens = Mapping[str, int | None]

#: The members of an object that hold such an id.
_MEMBERS: Final = ("id", "file_id", "fileId", "fileUri", "file_uri")
#: Google reads the videos of this host from their public address.
_PUBLIC: Final = re.compile(r"https://(?:www\.youtube\.com|youtu\.be)/")


def kept_tokens(value: object, kept: KeptTokens, path: str) -> int | None:
    """Return the tokens of what *value*, at *path* of a request, names by its id.

    It is `None` where it names nothing that is kept, or nobody knows how much that is.

    Raises:
        BudgetExceeded: With reason `unpriced`: what it names is not in *kept*.
    """
    for name in _names(value):
        if not isinstance(name, str) or name not in kept:
            raise unpriced(
                f"{path} names what is kept at the provider, which all its callers share: send it"
                " itself"
            )
        return kept[name]
    return None


def _names(value: object) -> list[object]:
    if value in (None, "", [], {}):
        return []
    if not isinstance(value, Mapping):
        return [value]
    part = mapping(cast("object", value))
    found = [part[member] for member in _MEMBERS if part.get(member) is not None]
    return [name for name in found if not (isinstance(name, str) and _PUBLIC.match(name))]
