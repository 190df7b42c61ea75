"""The types of settings that the domain defines: limits, models, prices, effects."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import PlainValidator, create_model

from earmark.apis.api import REQUEST_APIS
from earmark.budget.fields import PLAIN_FIELDS
from earmark.budget.limit import Limit
from earmark.budget.path import parse_path
from earmark.composition.effects import EffectSet
from earmark.composition.types import NType
from earmark.config import values
from earmark.money import Money
from earmark.setting_types import readers
from earmark.setting_types.table import SettingsTable

TemplateSetting = Annotated[str, PlainValidator(values.template)]
AgentSetting = Annotated[str, PlainValidator(values.agent)]
ModelSetting = Annotated[str, PlainValidator(values.model)]
Models = Annotated[tuple[str, ...], PlainValidator(values.models)]
BudgetPath = Annotated[str, PlainValidator(lambda value: parse_path(readers.text(value)))]
Limits = Annotated[tuple[Limit, ...], PlainValidator(values.limits)]
Alerts = Annotated[tuple[float, ...], PlainValidator(values.alerts)]
CostSetting = Annotated[Money, PlainValidator(values.cost)]
Effects = Annotated[EffectSet, PlainValidator(values.effects)]
TypeSetting = Annotated[NType, PlainValidator(values.type_)]
TokensSetting = Annotated[int, PlainValidator(readers.whole_number(1, 100_000_000))]
Port = Annotated[int, PlainValidator(readers.whole_number(0, 65_535))]
SessionCount = Annotated[int, PlainValidator(readers.whole_number(0, 1_000_000))]
Prices = Annotated[Mapping[str, Mapping[str, str]], PlainValidator(values.prices)]
ApiName = Annotated[str, PlainValidator(readers.choice(*REQUEST_APIS))]
OptionRules = Annotated[Mapping[str, str], PlainValidator(values.option_rules)]
Bytes = Annotated[int, PlainValidator(readers.whole_number(1, 1 << 30))]
Margin = Annotated[int, PlainValidator(values.margin)]


def _plain_settings() -> dict[str, Any]:
    """Return a setting for each plain field of a budget."""
    return {
        each.name: (Annotated[each.type | None, PlainValidator(values.plain_field(each))], None)
        for each in PLAIN_FIELDS
    }


if TYPE_CHECKING:
    PlainFieldSettings = SettingsTable
else:
    PlainFieldSettings = create_model(
        "PlainFieldSettings", __base__=SettingsTable, **_plain_settings()
    )
