"""`[stages.name]`: a table for each kind of stage, told apart by its `kind`."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, cast

from pydantic import Discriminator, Field, PlainValidator, Tag

from earmark.config import values
from earmark.config.domain_types import (
    Bytes,
    CostSetting,
    Effects,
    ModelSetting,
    TemplateSetting,
    TokensSetting,
    TypeSetting,
)
from earmark.setting_types import readers
from earmark.setting_types.table import (
    SettingsTable,
    Timeout,
    Url,
)


class _StageSettings(SettingsTable):
    input: TypeSetting | None = None
    """The type of its input; None: the kind's own, or any."""
    output: TypeSetting | None = None
    effects: Effects | None = None
    """What it does besides computing; None: what its kind is known to do."""
    timeout: Timeout | None = None
    """How long an attempt may take; None: the kind's own."""


class PythonStageSettings(_StageSettings):
    """A stage that is a Python function."""

    kind: Annotated[Literal["python"], PlainValidator(readers.choice("python"))]
    function: Annotated[str, PlainValidator(values.function)]
    """`module:name`."""
    cost: CostSetting | None = None
    """The most one run costs: `"0.05"` USD or `{cents = 5}`; None: it has no price."""


class ProcessStageSettings(_StageSettings):
    """A stage that is a program: an argument list, never a shell."""

    kind: Annotated[Literal["process"], PlainValidator(readers.choice("process"))]
    argv: Annotated[tuple[str, ...], PlainValidator(readers.argv)]
    cost: CostSetting | None = None
    """The most one run costs; None: it has no price."""
    max_output: Bytes | None = None
    """Bytes it may print before it is stopped; None: the kind's own limit."""
    prints: Annotated[
        Literal["value", "envelope"], PlainValidator(readers.choice("value", "envelope"))
    ] = "value"
    """Whether it prints the output itself, or an envelope that can also say what was spent."""


class ModelStageSettings(_StageSettings):
    """A stage that asks a model; billed by the model's price."""

    kind: Annotated[Literal["model"], PlainValidator(readers.choice("model"))]
    model: ModelSetting
    """`provider/model`."""
    prompt: TemplateSetting
    """`{field}` is filled from the input."""
    system: TemplateSetting | None = None
    max_tokens: TokensSetting | None = None
    """The most output tokens; None: the provider's default."""
    answers: Annotated[Literal["text", "json"], PlainValidator(readers.choice("text", "json"))] = (
        "text"
    )
    options: Annotated[Mapping[str, Any], PlainValidator(values.options)] = Field(
        default_factory=dict[str, Any]
    )
    """Passed to the provider as they are: temperature, seed …"""


class RemoteStageSettings(_StageSettings):
    """A stage that another program serves over HTTP."""

    kind: Annotated[Literal["remote"], PlainValidator(readers.choice("remote"))]
    url: Url
    cost: CostSetting | None = None
    """The most one call may cost; what the remote reports is what it did cost."""


STAGE_KINDS: Final[Mapping[str, type[SettingsTable]]] = {
    "python": PythonStageSettings,
    "process": ProcessStageSettings,
    "model": ModelStageSettings,
    "remote": RemoteStageSettings,
}


def _stage_kind(raw: Any) -> str | None:  # noqa: ANN401 - not checked yet
    kind = cast("dict[str, Any]", raw).get("kind") if isinstance(raw, dict) else None
    return None if kind is None else str(kind)


StageSettings = (
    PythonStageSettings | ProcessStageSettings | ModelStageSettings | RemoteStageSettings
)
TaggedStage = Annotated[
    Annotated[PythonStageSettings, Tag("python")]
    | Annotated[ProcessStageSettings, Tag("process")]
    | Annotated[ModelStageSettings, Tag("model")]
    | Annotated[RemoteStageSettings, Tag("remote")],
    Discriminator(_stage_kind),
]
