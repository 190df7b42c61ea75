"""A table of `earmark.toml`, and the types of settings that any part of the program may have.

A type says what checks a value, and what a setting of it decides; see `SettingEffect`.
"""

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, get_args

from pydantic import BaseModel, ConfigDict, PlainValidator
from pydantic.fields import FieldInfo

from earmark.setting_types import readers


class SettingEffect(StrEnum):
    """What a setting decides, in the order in which people should read of it."""

    RUNS = "runs"
    SENDS_TO = "sends to"
    READS_VARIABLE = "reads the variable"
    KEEPS_BOOKS_IN = "keeps the books in"
    LISTENS_AT = "listens at"
    SETS = "sets"
    """Nothing of the above: it names no program, no address and no variable."""


class SettingsTable(BaseModel):
    """A table of `earmark.toml`: frozen, and nothing but its settings may be in it."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
        defer_build=True,  # built once, within `Document`: half the time of building each alone
    )


TextSetting = Annotated[str, PlainValidator(readers.text), SettingEffect.SETS]
NameSetting = Annotated[str, PlainValidator(readers.name), SettingEffect.SETS]
Texts = Annotated[tuple[str, ...], PlainValidator(readers.texts), SettingEffect.SETS]
Flag = Annotated[bool, PlainValidator(readers.flag), SettingEffect.SETS]
Count = Annotated[int, PlainValidator(readers.whole_number(1, 10_000)), SettingEffect.SETS]
Timeout = Annotated[timedelta, PlainValidator(readers.some_time), SettingEffect.SETS]
WaitSetting = Annotated[timedelta, PlainValidator(readers.duration), SettingEffect.SETS]
Url = Annotated[str, PlainValidator(readers.url), SettingEffect.SENDS_TO]
Argv = Annotated[tuple[str, ...], PlainValidator(readers.argv), SettingEffect.RUNS]
Variable = Annotated[str, PlainValidator(readers.variable), SettingEffect.READS_VARIABLE]


def effect_of(field: FieldInfo) -> SettingEffect | None:
    """Return what a setting decides by its type, the gravest where there are several.

    None where its type does not say.
    """
    found = {each for each in field.metadata if isinstance(each, SettingEffect)}
    found |= set(_effects(field.annotation))
    return min(found, key=list(SettingEffect).index, default=None)


def _effects(annotation: object) -> Iterator[SettingEffect]:
    metadata: tuple[object, ...] = getattr(annotation, "__metadata__", ())
    yield from (each for each in metadata if isinstance(each, SettingEffect))
    for inner in get_args(annotation):
        yield from _effects(inner)
