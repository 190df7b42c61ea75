"""What every table `[nudges.name]` has, and how a channel is made of one."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from earmark.clock import Clock
from earmark.errors import InvalidConfig
from earmark.nudges.channels.channel import TIME_LIMIT_S, Channel
from earmark.setting_types.table import (
    SettingEffect,
    SettingsTable,
    TextSetting,
    Timeout,
    effect_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelContext:
    """What a channel is made with besides its settings; its repr shows no variable's value."""

    name: str
    """The name it is configured under."""
    environ: Mapping[str, str] = field(repr=False)
    clock: Clock
    folder: Path | None = None
    """That of the configuration's file; None where there is no file."""

    def read_variable(self, setting: str, variable: str) -> str:
        """Return what *variable*, which *setting* names, holds, without blanks around it.

        Raises:
            InvalidConfig: It holds nothing.
        """
        value = self.environ.get(variable, "").strip()
        if not value:
            detail = f"the variable {variable} is empty: set it, or name another"
            raise self.refusal(setting, detail)
        return value

    def refusal(self, setting: str, detail: str) -> InvalidConfig:
        """Return the error to raise about *setting*; *detail* must hold no secret."""
        return InvalidConfig(place=f"nudges.{self.name}.{setting}", detail=detail)


class ChannelSettings(SettingsTable):
    """`[nudges.name]`: one way to reach somebody outside.

    Each setting has a type of `earmark.setting_types.table`, which says what it decides. A secret
    is a `Variable`: the file names the variable, `open` reads it. An address has `repr=False`, for
    it may be a secret by itself.
    """

    kind: TextSetting
    """The name of this class in the registry."""
    timeout: Timeout = timedelta(seconds=TIME_LIMIT_S)
    """How long one try may take."""

    @abstractmethod
    def open(self, context: ChannelContext) -> Channel:
        """Return the channel; nothing is sent.

        Raises:
            InvalidConfig: A variable does not hold what it should, or what the channel needs is
                not installed.
        """

    @property
    def timeout_s(self) -> float:
        """Seconds that one try may take."""
        return self.timeout.total_seconds()

    @property
    def secret_variables(self) -> list[str]:
        """The names of the variables that its settings name; what they hold is secret."""
        named = [
            getattr(self, name)
            for name, field in type(self).model_fields.items()
            if effect_of(field) is SettingEffect.READS_VARIABLE
        ]
        return [variable for variable in named if variable is not None]
