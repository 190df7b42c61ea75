"""Which input each node gets: the composition format's own rules, as pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from earmark.composition.types import NType, Record, RecordWith, is_nullable
from earmark.stages.kinds.jsontext import Json

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


def overlay_config(value: Json, config: Mapping[str, Any] | None, input_type: NType) -> Json:
    """Return a stage's input: *value* with the node's config laid over it; config wins.

    A value that is no object goes under the first field of the stage's input type that the config
    does not give; where the type names none, under the first of `USUAL_FIELDS` it does not give.
    """
    if config is None:
        return value
    fields = _fields(value)
    return (
        {_free_field(config, input_type): value, **config}
        if fields is None
        else {**fields, **config}
    )


def branch_input(value: Json, name: str) -> Json:
    """Return the input of the branch *name*: that field of an object that has it, else all."""
    fields = _fields(value)
    return value if fields is None or name not in fields else fields[name]


def source_input(value: Json, index: int) -> Json:
    """Return the input of a merge's source: `source_<index>` of an object, or null; else all."""
    fields = _fields(value)
    return value if fields is None else fields.get(f"source_{index}")


def merged(outputs: Sequence[Json]) -> dict[str, Json]:
    """Return the input of a merge's target."""
    return {f"source_{i}": output for i, output in enumerate(outputs)}


def body_input(value: Json, bindings: Iterable[tuple[str, Json]]) -> dict[str, Json]:
    """Return the input of a `Let` body: the bindings over the fields of *value*, if it has any."""
    return {**(_fields(value) or {}), **dict(bindings)}


def _fields(value: Json) -> dict[str, Json] | None:
    return cast("dict[str, Json]", value) if isinstance(value, dict) else None


def _free_field(config: Mapping[str, Any], input_type: NType) -> str:
    fields: Mapping[str, NType] = (
        input_type.fields if isinstance(input_type, Record | RecordWith) else {}
    )
    # Required ones first: the check lets a value through when one of these is still to be given.
    named = sorted(fields, key=lambda name: (is_nullable(fields[name]), name))
    for name in (*named, *USUAL_FIELDS):
        if name not in config:
            return name
    return USUAL_FIELDS[0]
