"""`[nudges.name]`: one way to reach somebody outside."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import PlainValidator, model_validator

from earmark.config import values
from earmark.config.setting_types import (
    Argv,
    SettingsTable,
    Timeout,
    Url,
    Variable,
)


class NudgeSettings(SettingsTable):
    """`[nudges.name]`: one way to reach somebody outside."""

    kind: Annotated[
        Literal["apprise", "webhook", "command"],
        PlainValidator(values.choice("apprise", "webhook", "command")),
    ]
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
        needed = {"apprise": "urls_env", "webhook": "url", "command": "argv"}[self.kind]
        if getattr(self, needed) is None:
            raise ValueError(f"kind '{self.kind}' needs {needed}")
        takes = {"kind", "timeout", needed, *(("secret_env",) if self.kind == "webhook" else ())}
        for other in sorted(self.model_fields_set - takes):
            raise ValueError(f"kind '{self.kind}' takes no {other}")
        return self
