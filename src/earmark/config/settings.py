"""The settings there are: one frozen class per table of `earmark.toml`, with its defaults.

Setting names are the public contract; the documentation follows these classes.
"""

from collections.abc import Mapping
from datetime import time, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    model_validator,
)

from earmark.apis.api import REQUEST_APIS, request_table
from earmark.apis.count_margin import DEFAULT_MARGIN, parse_margin
from earmark.apis.dialect import SpokenApi
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
Prices = Annotated[Mapping[str, Mapping[str, str]], PlainValidator(values.prices)]
ApiName = Annotated[str, PlainValidator(values.choice(*REQUEST_APIS))]
OptionRules = Annotated[Mapping[str, str], PlainValidator(values.option_rules)]
Bytes = Annotated[int, PlainValidator(values.whole_number(1, 1 << 30))]
Texts = Annotated[tuple[str, ...], PlainValidator(values.texts)]
Argv = Annotated[tuple[str, ...], PlainValidator(values.argv)]
Variable = Annotated[str, PlainValidator(values.variable)]
Flag = Annotated[bool, PlainValidator(values.flag)]
Margin = Annotated[int, PlainValidator(values.margin)]

#: Where the key of each API's maker usually stands.
KEY_VARIABLES: Final[Mapping[SpokenApi, str]] = {
    "openai": "OPENAI_API_KEY",
    "openai-responses": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
}

FreeEffect = Literal["llm", "network", "unknown"]

DEFAULT_STORE: Final = "sqlite:///earmark.db"
#: Half a dollar and three dispatches a cycle, ten dollars a day.
DEFAULT_LIMITS: Final = tuple(
    Limit.parse(text) for text in ("0.50 usd per 30min", "3 calls per 30min", "10 usd per day")
)


class _SettingsTable(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
        defer_build=True,  # built once, within `Document`: half the time of building each alone
    )


class StoreSettings(_SettingsTable):
    """`[store]`: where the books are."""

    url: TextSetting = Field(default=DEFAULT_STORE, repr=False)
    """A relative path is one from the file's folder. It may hold a password: it is not shown."""


class BudgetSettings(_SettingsTable):
    """`[budgets."path"]`: one budget; what is not given stays as it is in the books."""

    limits: Limits | None = None
    """`"10.50 usd per day"`, `"3 calls per 30min"`, `"100 usd total"`."""
    timezone: Zone | None = None
    alerts: Alerts | None = None
    """Shares of each limit at which it is told, ascending: 0.8 is 80 %."""


class ApiSettings(_SettingsTable):
    """`[apis.name]`: what an API's requests may hold beyond its table."""

    options: OptionRules = Field(default_factory=dict[str, str])
    """Request options that are allowed, and betas: each adds text at most."""


class ProviderSettings(_SettingsTable):
    """`[providers.name]`: one API that answers model requests."""

    api: Annotated[SpokenApi, PlainValidator(values.choice(*KEY_VARIABLES))]
    base_url: Url | None = None  # None: the API's own address
    api_key_env: Annotated[str | None, PlainValidator(values.variable)] = None  # never the key
    default: Flag = (
        False  # whether the gateway asks it where a model's name begins with no provider
    )
    max_tokens: TokensSetting | None = None  # of a request that names none; None: the default
    context_window: TokensSetting | None = None  # of its models; a price list's is no bound
    stops_on_close: Flag = False  # whether a stream that is closed there is billed no further
    count_tokens: Flag = False  # whether it counts an input that does not fit by its bytes
    count_margin: Margin = parse_margin(DEFAULT_MARGIN)  # added to its count, in parts per million

    @model_validator(mode="after")
    def _counts(self) -> Self:
        if self.count_tokens and request_table(self.api).count is None:
            raise ValueError(
                f"no endpoint is known that counts requests to API '{self.api}':"
                " leave count_tokens out"
            )
        if "count_margin" in self.model_fields_set and not self.count_tokens:
            raise ValueError("count_margin is for count_tokens = true")
        return self

    @property
    def key_variable(self) -> str | None:
        """The variable that holds the key; the usual one only for the API's own address."""
        if self.api_key_env is not None or self.base_url is not None:
            return self.api_key_env
        return KEY_VARIABLES[self.api]


class _StageSettings(_SettingsTable):
    input: TypeSetting | None = None
    """The type of its input; None: the kind's own, or any."""
    output: TypeSetting | None = None
    effects: Effects | None = None
    """What it does besides computing; None: what its kind is known to do."""
    timeout: Timeout | None = None
    """How long an attempt may take; None: the kind's own."""


class PythonStageSettings(_StageSettings):
    """A stage that is a Python function."""

    kind: Annotated[Literal["python"], PlainValidator(values.choice("python"))]
    function: Annotated[str, PlainValidator(values.function)]
    """`module:name`."""
    cost: CostSetting | None = None
    """The most one run costs: `"0.05"` USD or `{cents = 5}`; None: it has no price."""


class ProcessStageSettings(_StageSettings):
    """A stage that is a program: an argument list, never a shell."""

    kind: Annotated[Literal["process"], PlainValidator(values.choice("process"))]
    argv: Annotated[tuple[str, ...], PlainValidator(values.argv)]
    cost: CostSetting | None = None
    """The most one run costs; None: it has no price."""
    max_output: Bytes | None = None
    """Bytes it may print before it is stopped; None: the kind's own limit."""
    prints: Annotated[
        Literal["value", "envelope"], PlainValidator(values.choice("value", "envelope"))
    ] = "value"
    """Whether it prints the output itself, or an envelope that can also say what was spent."""


class ModelStageSettings(_StageSettings):
    """A stage that asks a model; billed by the model's price."""

    kind: Annotated[Literal["model"], PlainValidator(values.choice("model"))]
    model: ModelSetting
    """`provider/model`."""
    prompt: TemplateSetting
    """`{field}` is filled from the input."""
    system: TemplateSetting | None = None
    max_tokens: TokensSetting | None = None
    """The most output tokens; None: the provider's default."""
    answers: Annotated[Literal["text", "json"], PlainValidator(values.choice("text", "json"))] = (
        "text"
    )
    options: Annotated[Mapping[str, Any], PlainValidator(values.options)] = Field(
        default_factory=dict[str, Any]
    )
    """Passed to the provider as they are: temperature, seed …"""


class RemoteStageSettings(_StageSettings):
    """A stage that another program serves over HTTP."""

    kind: Annotated[Literal["remote"], PlainValidator(values.choice("remote"))]
    url: Url
    cost: CostSetting | None = None
    """The most one call may cost; what the remote reports is what it did cost."""


STAGE_KINDS: Final[Mapping[str, type[_SettingsTable]]] = {
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
_TaggedStage = Annotated[
    Annotated[PythonStageSettings, Tag("python")]
    | Annotated[ProcessStageSettings, Tag("process")]
    | Annotated[ModelStageSettings, Tag("model")]
    | Annotated[RemoteStageSettings, Tag("remote")],
    Discriminator(_stage_kind),
]


class AdmissionSettings(_SettingsTable):
    """`[admission]`: what is let through, and how."""

    policy: Annotated[
        Literal["strict", "elastic", "soft"],
        PlainValidator(values.choice("strict", "elastic", "soft")),
    ] = "strict"
    wait: WaitSetting | None = None
    """How long a call waits for what is in flight; None: within its own deadline."""
    allow_free: Models = ()
    """Models that may run at a price of 0, by `provider/model`."""
    allow_unpriced: Annotated[
        tuple[FreeEffect, ...], PlainValidator(values.choices("llm", "network", "unknown"))
    ] = ()
    """Effects that a stage may declare without a price."""


class RunSettings(_SettingsTable):
    """`[run]`: how compositions run."""

    concurrency: Count | None = None
    """How many stages run at once; None: the runner's own limit."""
    max_repeats: Annotated[int | None, PlainValidator(values.whole_number(0, 1_000_000_000))] = None
    """How many attempts of a run may repeat an earlier one; None: the runner's own limit."""


class GradeSettings(_SettingsTable):
    """`heartbeat.grade`: who looks at results: a command, or a composition; else a person."""

    command: Argv | None = None
    """Reads the task as JSON, prints `{"overall": 0-100, "passed": true, "note": "…"}`."""
    composition: TextSetting | None = None
    """The file of a composition with that input and output, paid like a task."""
    budget: CostSetting = Money("0.10")
    """The most one run of the composition may cost."""
    timeout: Timeout = timedelta(minutes=1)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.command is None) == (self.composition is None):
            raise ValueError("give a command or a composition, one of them")
        return self


class HeartbeatSettings(_SettingsTable):
    """`[heartbeat]`: the always-on dispatcher."""

    agent: AgentSetting = "Cloud Lu"
    """Its name; one heartbeat runs under a name at a time."""
    sibling: AgentSetting = "AG Lu"
    """Who is nudged."""
    budget: BudgetPath = "c8/cloud-lu"
    """Who pays."""
    model: ModelSetting = "anthropic/claude-sonnet-4-20250514"
    """For tasks that name no model."""
    interval: Timeout = timedelta(minutes=30)
    """From the beginning of one cycle to that of the next."""
    max_dispatches: Count = 3
    """Tasks given to a model in one cycle."""
    persist_every: Count = 10
    """Cycles between two patches of the day's spend."""
    lease: Timeout = timedelta(minutes=2)
    """After so long without a sign of life its tasks, and its name, are free."""
    task_timeout: Timeout = timedelta(minutes=10)
    """How long one dispatch may take."""
    grace: WaitSetting = timedelta(seconds=30)
    """How long dispatches under way may go on after it was told to stop."""
    quiet_hours: Annotated[tuple[time, time], PlainValidator(values.hours)] | None = None
    """`"22:00-07:00"`, in the budget's time zone: nothing is dispatched in them."""
    approve: Texts = ("destructive",)
    """Tasks that a person approves first: `destructive`, types, priorities such as `P0`."""
    grade: Annotated[GradeSettings | None, BeforeValidator(values.table)] = None
    """Who looks at results; None: a person."""
    accept: Annotated[
        Literal["pass", "completed", "person"],
        PlainValidator(values.choice("pass", "completed", "person")),
    ] = "person"
    """What is accepted without a person: what passed its grading, whatever completed, nothing."""
    limits: Limits = DEFAULT_LIMITS
    """Where nothing on its budget's path has any: a cycle's are its own, longer ones are those of
    the budget above."""


class NudgeSettings(_SettingsTable):
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


class ServiceSettings(_SettingsTable):
    """`[service]`: health, metrics, API and pages over HTTP."""

    host: TextSetting = "127.0.0.1"
    """The address it listens at; every other than the machine's own needs tokens for reading."""
    port: Port = 8321
    """0 takes a free one."""
    open_reads: Flag = False
    """Whether anybody on this machine may read without a token; never at another address."""
    allowed_hosts: Texts = ()
    """Names by which it may be asked, besides `localhost` and the address."""
    head_timeout: Timeout = timedelta(seconds=20)
    """How long a request's head may take to arrive, and a connection may be idle."""
    body_timeout: Timeout = timedelta(seconds=30)
    """How long its body may take."""
    pending_per_address: Count = 500  # without a complete request; the oldest makes room

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return values.is_loopback(self.host)

    @property
    def reads_are_open(self) -> bool:
        """Whether reading needs no token."""
        return self.open_reads and self.loopback


class GatewaySettings(_SettingsTable):
    """`[gateway]`: models for any client, each call held on its token's budget."""

    host: TextSetting = "127.0.0.1"
    port: Port = 8322
    allowed_hosts: Texts = ()
    wait: WaitSetting = timedelta(seconds=30)  # for what is in flight; then it is to ask again
    timeout: Timeout = timedelta(minutes=10)  # of a silent provider


class Document(_SettingsTable):
    """All of `earmark.toml`."""

    store: StoreSettings = Field(default_factory=StoreSettings)
    budgets: Mapping[BudgetPath, BudgetSettings] = Field(default_factory=dict[str, BudgetSettings])
    prices: Prices = Field(default_factory=dict[str, Mapping[str, str]])
    """`[prices."provider/model"]`: USD as decimal strings, by price key such as `input_mtok`."""
    apis: Mapping[ApiName, ApiSettings] = Field(default_factory=dict[str, ApiSettings])
    """`[apis.openai.options]`: wider tables of requests."""
    providers: Mapping[NameSetting, ProviderSettings] = Field(
        default_factory=dict[str, ProviderSettings]
    )
    stages: Mapping[NameSetting, _TaggedStage] = Field(default_factory=dict[str, StageSettings])
    admission: AdmissionSettings = Field(default_factory=AdmissionSettings)
    run: RunSettings = Field(default_factory=RunSettings)
    heartbeat: HeartbeatSettings = Field(default_factory=HeartbeatSettings)
    nudges: Mapping[NameSetting, NudgeSettings] = Field(default_factory=dict[str, NudgeSettings])
    service: ServiceSettings = Field(default_factory=ServiceSettings)
    gateway: GatewaySettings = Field(default_factory=GatewaySettings)


class Settings(Document):
    """Everything configured, checked; pure data."""

    file: Path | None = None
    """The file that was read, if there was one; its folder is what relative paths start from."""
    found: bool = False
    """Whether the file was found in the working directory or above it, and not named."""


#: Sections with settings of their own.
FIXED: Final[Mapping[str, type[BaseModel]]] = {
    "store": StoreSettings,
    "admission": AdmissionSettings,
    "run": RunSettings,
    "heartbeat": HeartbeatSettings,
    "service": ServiceSettings,
    "gateway": GatewaySettings,
}
#: Sections with a table for each name.
NAMED: Final = ("budgets", "prices", "apis", "providers", "stages", "nudges")


def known_settings(loc: tuple[int | str, ...]) -> tuple[str, ...]:
    """Return the names of the settings in the table at *loc*, a place as pydantic names it."""
    match loc:
        case ():
            table: type[BaseModel] | None = Document
        case ("budgets", _):
            table = BudgetSettings
        case ("apis", _):
            table = ApiSettings
        case ("providers", _):
            table = ProviderSettings
        case ("nudges", _):
            table = NudgeSettings
        case ("heartbeat", "grade"):
            table = GradeSettings
        case ("stages", _, kind):
            table = STAGE_KINDS.get(str(kind))
        case (section,):
            table = FIXED.get(str(section))
        case _:
            table = None
    return tuple(table.model_fields) if table is not None else ()
