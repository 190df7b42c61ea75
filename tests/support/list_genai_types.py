"""Prints the typed dictionaries of an installed google-genai as JSON; see fixtures/sdk_types."""

import json
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from typing import Any, get_args, get_type_hints

from typing_extensions import is_typeddict

ROOTS = (
    "GenerateContentConfigDict",
    "ContentDict",
    "GenerateContentResponseUsageMetadataDict",
)


def listed() -> dict[str, Any]:
    """Return the fields of each type below the roots, and the types each can hold."""
    module = import_module("google.genai.types")
    found: dict[str, dict[str, list[str]]] = {}
    left = [getattr(module, name) for name in ROOTS]
    while left:
        each = left.pop()
        if each.__name__ in found:
            continue
        hints = get_type_hints(each)
        found[each.__name__] = {
            name: sorted({inner.__name__ for inner in _objects(hint)})
            for name, hint in hints.items()
        }
        left += [inner for hint in hints.values() for inner in _objects(hint)]
    return {
        "source": "google-genai",
        "version": version("google-genai"),
        "licence": "Apache-2.0",
        "types": found,
    }


def _objects(hint: Any) -> Iterator[Any]:
    if is_typeddict(hint):
        yield hint
        return
    for inner in get_args(hint):
        yield from _objects(inner)


if __name__ == "__main__":
    print(json.dumps(listed(), indent=1, sort_keys=True))  # noqa: T201 - that is what it does
