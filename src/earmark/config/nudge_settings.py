"""`[nudges.name]`: one way to reach somebody outside."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import PlainValidator, model_validator

from earmark.config import values
from earmark.config.setting_types import (
    Argv,
    SettingsTable,
    Timeout,
    Url,
    Variable,
)


class NudgeKind(StrEnum):
    """What carries a nudge, the setting it needs, and those that only it takes besides."""

    APPRISE = "apprise", "urls_env"
    WEBHOOK = "webhook", "url", "secret_env"
    COMMAND = "command", "argv"

    needs: str
    takes: tuple[str, ...]

    def __new__(cls, name: str, needs: str, *takes: str) -> Self:
        """Return the kind of that *name*, with the names of its settings."""
        kind = str.__new__(cls, name)
        kind._value_ = name
        kind.needs, kind.takes = needs, takes
        return kind


_read_kind = values.choice(*NudgeKind)


class NudgeSettings(SettingsTable):
    """`[nudges.name]`: one way to reach somebody outside."""

    kind: Annotated[NudgeKind, PlainValidator(lambda value: NudgeKind(_read_kind(value)))]
    urls_env: Variable | None = None
    """For `apprise`: the name of the variable that holds its URLs, never the URLs."""
    url: Url | None = None
    """For `webhook`: where events are posted."""
    secret_env: Variable | None = None
    """For `webhook`: the name of the variable that holds the secret that signs them."""
    argv: Argv | None = None
    """For `command`: a program that reads the event as JSON; never a shell."""
    timeout: Timeout = timedelta(seconds=20)
    """How long one try may take."""

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        kind = self.kind
        if getattr(self, kind.needs) is None:
            raise ValueError(f"kind '{kind}' needs {kind.needs}")
        for other in sorted(self.model_fields_set - {"kind", "timeout", kind.needs, *kind.takes}):
            raise ValueError(f"kind '{kind}' takes no {other}")
        return self
