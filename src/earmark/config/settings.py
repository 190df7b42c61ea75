"""The settings there are: one frozen class per table of `earmark.toml`, with its defaults.

Setting names are the public contract; the documentation follows these classes.
"""

from collections.abc import Mapping
from datetime import time, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, Self, cast

from pydantic import BaseModel, BeforeValidator, Field, PlainValidator, model_validator

from earmark.apis.api import request_table
from earmark.apis.count_margin import DEFAULT_MARGIN, parse_margin
from earmark.apis.dialect import SpokenApi
from earmark.budget.fields import GivenFields
from earmark.budget.limit import Limit
from earmark.config import values
from earmark.config.domain_types import (
    AgentSetting,
    Alerts,
    ApiName,
    BudgetPath,
    CostSetting,
    Limits,
    Margin,
    Models,
    ModelSetting,
    OptionRules,
    PlainFieldSettings,
    Port,
    Prices,
    SessionCount,
    TokensSetting,
)
from earmark.config.stage_settings import STAGE_KINDS, StageSettings, TaggedStage
from earmark.money import Money
from earmark.nudges.channels.channel_settings import ChannelSettings
from earmark.nudges.channels.registry import CHANNEL_KINDS, AnyChannelSettings
from earmark.setting_types import readers
from earmark.setting_types.table import (
    Argv,
    Count,
    Flag,
    NameSetting,
    SettingsTable,
    Texts,
    TextSetting,
    Timeout,
    Url,
    WaitSetting,
)

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


class StoreSettings(SettingsTable):
    """`[store]`: where the books are."""

    url: TextSetting = Field(default=DEFAULT_STORE, repr=False)
    """A relative path is one from the file's folder. It may hold a password: it is not shown."""


class BudgetSettings(PlainFieldSettings):
    """`[budgets."path"]`: one budget; what is not given stays as it is in the books."""

    limits: Limits | None = None
    """`"10.50 usd per day"`, `"3 calls per 30min"`, `"100 usd total"`."""
    alerts: Alerts | None = None
    """Shares of each limit at which it is told, ascending: 0.8 is 80 %."""

    def given(self) -> GivenFields:
        """Return what is configured of the budget, as `set_budget` takes it."""
        return cast("GivenFields", dict(self))


class ApiSettings(SettingsTable):
    """`[apis.name]`: what an API's requests may hold beyond its table."""

    options: OptionRules = Field(default_factory=dict[str, str])
    """Request options that are allowed, and betas: each adds text at most."""


class ProviderSettings(SettingsTable):
    """`[providers.name]`: one API that answers model requests."""

    api: Annotated[SpokenApi, PlainValidator(readers.choice(*KEY_VARIABLES))]
    base_url: Url | None = None  # None: the API's own address
    api_key_env: Annotated[str | None, PlainValidator(readers.variable)] = None  # never the key
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


class AdmissionSettings(SettingsTable):
    """`[admission]`: what is let through, and how."""

    policy: Annotated[
        Literal["strict", "elastic", "soft"],
        PlainValidator(readers.choice("strict", "elastic", "soft")),
    ] = "strict"
    wait: WaitSetting | None = None
    """How long a call waits for what is in flight; None: within its own deadline."""
    allow_free: Models = ()
    """Models that may run at a price of 0, by `provider/model`."""
    allow_unpriced: Annotated[
        tuple[FreeEffect, ...], PlainValidator(readers.choices("llm", "network", "unknown"))
    ] = ()
    """Effects that a stage may declare without a price."""


class RunSettings(SettingsTable):
    """`[run]`: how compositions run."""

    concurrency: Count | None = None
    """How many stages run at once; None: the runner's own limit."""
    max_repeats: Annotated[int | None, PlainValidator(readers.whole_number(0, 1_000_000_000))] = (
        None
    )
    """How many attempts of a run may repeat an earlier one; None: the runner's own limit."""


class GradeSettings(SettingsTable):
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


class HeartbeatSettings(SettingsTable):
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
    grade: Annotated[GradeSettings | None, BeforeValidator(readers.table)] = None
    """Who looks at results; None: a person."""
    accept: Annotated[
        Literal["pass", "completed", "person"],
        PlainValidator(readers.choice("pass", "completed", "person")),
    ] = "person"
    """What is accepted without a person: what passed its grading, whatever completed, nothing."""
    limits: Limits = DEFAULT_LIMITS
    """Where nothing on its budget's path has any: a cycle's are its own, longer ones are those of
    the budget above."""


class ServiceSettings(SettingsTable):
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


class GatewaySettings(SettingsTable):
    """`[gateway]`: models for any client, each call held on its token's budget."""

    serve: Flag = False
    """Whether `earmark serve` has it too, at its own address."""
    host: TextSetting = "127.0.0.1"
    port: Port = 8322
    allowed_hosts: Texts = ()
    wait: WaitSetting = timedelta(seconds=30)  # for what is in flight; then it is to ask again
    timeout: Timeout = timedelta(minutes=10)  # of a silent provider
    sessions_per_token: SessionCount = 1000  # budgets that a token's clients may make below it


class Document(SettingsTable):
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
    stages: Mapping[NameSetting, TaggedStage] = Field(default_factory=dict[str, StageSettings])
    admission: AdmissionSettings = Field(default_factory=AdmissionSettings)
    run: RunSettings = Field(default_factory=RunSettings)
    heartbeat: HeartbeatSettings = Field(default_factory=HeartbeatSettings)
    nudges: Mapping[NameSetting, AnyChannelSettings] = Field(
        default_factory=dict[str, ChannelSettings]
    )
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

#: Of these, the sections whose tables are told apart by their `kind`, and the kinds there are.
KINDS: Final[Mapping[str, Mapping[str, type[BaseModel]]]] = {
    "stages": STAGE_KINDS,
    "nudges": CHANNEL_KINDS,
}


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
        case ("heartbeat", "grade"):
            table = GradeSettings
        case (section, _, kind) if section in KINDS:
            table = KINDS[str(section)].get(str(kind))
        case (section,):
            table = FIXED.get(str(section))
        case _:
            table = None
    return tuple(table.model_fields) if table is not None else ()
