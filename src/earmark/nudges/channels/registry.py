"""The kinds of channels there are: what configuration, its approval and its documentation read.

A new channel is a file beside this one with a subclass of `ChannelSettings`, and its line here.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, cast

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from earmark.nudges.channels.apprise import AppriseSettings
from earmark.nudges.channels.channel_settings import ChannelSettings
from earmark.nudges.channels.command import CommandSettings
from earmark.nudges.channels.webhook import WebhookSettings
from earmark.setting_types.table import SettingEffect, effect_of

#: The settings of a channel by its `kind` in `earmark.toml`.
CHANNEL_KINDS: Final[Mapping[str, type[ChannelSettings]]] = {
    "apprise": AppriseSettings,
    "webhook": WebhookSettings,
    "command": CommandSettings,
}


def settings_that(effect: SettingEffect) -> Iterator[str]:
    """Yield the names of those settings of channels that have *effect* by their types."""
    for settings in CHANNEL_KINDS.values():
        for name, field in settings.model_fields.items():
            if effect_of(field) is effect:
                yield name


class _ByKind:
    """Has pydantic check a table as the settings of its kind."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return a union of the registered kinds, told apart by `kind`."""
        del source
        choices = {
            kind: handler.generate_schema(settings) for kind, settings in CHANNEL_KINDS.items()
        }
        return core_schema.tagged_union_schema(choices, discriminator=_kind)


def _kind(raw: Any) -> str | None:  # noqa: ANN401 - not checked yet
    kind = cast("dict[str, Any]", raw).get("kind") if isinstance(raw, dict) else None
    return None if kind is None else str(kind)


#: `[nudges.name]`: the settings of a registered kind.
AnyChannelSettings = Annotated[ChannelSettings, _ByKind()]
