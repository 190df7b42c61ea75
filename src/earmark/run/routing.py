"""Which input each node gets: the composition format's own rules, as pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from earmark.composition.types import NType, Record, RecordWith

#: The fields tried in turn for an input that is no object, where the stage's type names none.
#: Source: the Noether composition format, version 0.8.2, read 2026-11-22.
USUAL_FIELDS = (
    "items",
    "text",
    "data",
    "input",
    "records",
    "train",
    "document",
    "html",
    "csv",
    "json_str",
)


def overlay_config(value: Any, config: Mapping[str, Any] | None, wanted: NType) -> Any:
    """Return a stage's input: *value* with the node's config laid over it; config wins.

    A value that is no object goes under the first field of the stage's input type that the config
    does not give; where the type names none, under the first of `USUAL_FIELDS` it does not give.
    """
    if config is None:
        return value
    if isinstance(value, dict):
        return {**value, **config}
    return {_free_field(config, wanted): value, **config}


def branch_input(value: Any, name: str) -> Any:
    """Return the input of the branch *name*: that field of an object that has it, else all of it."""
    if isinstance(value, dict) and name in value:
        return value[name]  # pyright: ignore[reportUnknownVariableType] - JSON, of unknown content
    return value  # pyright: ignore[reportUnknownVariableType] - JSON, of unknown content


def source_input(value: Any, index: int) -> Any:
    """Return the input of a merge's source: `source_<index>` of an object, or null; else all of it."""
    if isinstance(value, dict):
        return value.get(f"source_{index}")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - JSON
    return value


def merged(outputs: Sequence[Any]) -> dict[str, Any]:
    """Return the input of a merge's target."""
    return {f"source_{i}": output for i, output in enumerate(outputs)}


def body_input(value: Any, bindings: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return the input of a `Let` body: the fields of *value*, if it has any, under the bindings."""
    outer = value if isinstance(value, dict) else {}
    return {**outer, **dict(bindings)}


def _free_field(config: Mapping[str, Any], wanted: NType) -> str:
    named = sorted(wanted.fields) if isinstance(wanted, Record | RecordWith) else ()
    for name in (*named, *USUAL_FIELDS):
        if name not in config:
            return name
    return USUAL_FIELDS[0]
