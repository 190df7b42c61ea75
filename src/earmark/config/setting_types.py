"""The types of settings: what checks a value of `earmark.toml`, and the base of its tables."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainValidator

from earmark.apis.api import REQUEST_APIS
from earmark.budget.limit import Limit
from earmark.budget.path import parse_path
from earmark.budget.window import check_zone
from earmark.composition.effects import EffectSet
from earmark.composition.types import NType
from earmark.config import values
from earmark.money import Money

TextSetting = Annotated[str, PlainValidator(values.text)]
TemplateSetting = Annotated[str, PlainValidator(values.template)]
NameSetting = Annotated[str, PlainValidator(values.name)]
AgentSetting = Annotated[str, PlainValidator(values.agent)]
ModelSetting = Annotated[str, PlainValidator(values.model)]
Models = Annotated[tuple[str, ...], PlainValidator(values.models)]
Url = Annotated[str, PlainValidator(values.url)]
BudgetPath = Annotated[str, PlainValidator(lambda value: parse_path(values.text(value)))]
Zone = Annotated[str, PlainValidator(lambda value: check_zone(values.text(value)))]
Limits = Annotated[tuple[Limit, ...], PlainValidator(values.limits)]
Alerts = Annotated[tuple[float, ...], PlainValidator(values.alerts)]
WaitSetting = Annotated[timedelta, PlainValidator(values.duration)]
Timeout = Annotated[timedelta, PlainValidator(values.some_time)]
CostSetting = Annotated[Money, PlainValidator(values.cost)]
Effects = Annotated[EffectSet, PlainValidator(values.effects)]
TypeSetting = Annotated[NType, PlainValidator(values.type_)]
TokensSetting = Annotated[int, PlainValidator(values.whole_number(1, 100_000_000))]
Port = Annotated[int, PlainValidator(values.whole_number(0, 65_535))]
Count = Annotated[int, PlainValidator(values.whole_number(1, 10_000))]
SessionCount = Annotated[int, PlainValidator(values.whole_number(0, 1_000_000))]
Prices = Annotated[Mapping[str, Mapping[str, str]], PlainValidator(values.prices)]
ApiName = Annotated[str, PlainValidator(values.choice(*REQUEST_APIS))]
OptionRules = Annotated[Mapping[str, str], PlainValidator(values.option_rules)]
Bytes = Annotated[int, PlainValidator(values.whole_number(1, 1 << 30))]
Texts = Annotated[tuple[str, ...], PlainValidator(values.texts)]
Argv = Annotated[tuple[str, ...], PlainValidator(values.argv)]
Variable = Annotated[str, PlainValidator(values.variable)]
Flag = Annotated[bool, PlainValidator(values.flag)]
Margin = Annotated[int, PlainValidator(values.margin)]


class SettingsTable(BaseModel):
    """A table of `earmark.toml`: frozen, and nothing but its settings may be in it."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
        defer_build=True,  # built once, within `Document`: half the time of building each alone
    )
