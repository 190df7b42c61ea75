"""What requests bring: their bodies, but for what the domain has a struct of, such as a task.

A JSON number is a float to most programs, so money is never one.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    create_model,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from earmark.budget.fields import PLAIN_FIELDS, GivenFields, PlainField
from earmark.budget.path import LONGEST_PATH
from earmark.budget.units import counted
from earmark.ledger.requests import LONGEST_KEY
from earmark.money import LARGEST_NANOS, USD_PATTERN

DURATION = r"^[0-9]{1,9}(\.[0-9]{1,9})?(ms|sec|s|min|m|h|d)$"
#: In paths: a budget's name, segments joined by slashes.
PATH = r"^[A-Za-z0-9._-]{1,64}(/[A-Za-z0-9._-]{1,64}){0,15}$"

Usd = Annotated[
    str,
    Field(
        strict=True, pattern=USD_PATTERN, examples=["0.045864"], description="US dollars, exact."
    ),
]
DurationField = Annotated[str, Field(strict=True, pattern=DURATION, examples=["10min"])]
PathField = Annotated[str, Field(strict=True, pattern=PATH, max_length=LONGEST_PATH)]
KeyField = Annotated[str, Field(strict=True, min_length=1, max_length=LONGEST_KEY)]
CountField = Annotated[int, Field(strict=True, ge=0, le=LARGEST_NANOS)]
NoteField = Annotated[str, Field(strict=True, max_length=1000)]
FlagField = Annotated[bool, Field(strict=True)]


class _CountedUnit:
    """The name of a unit that is counted, checked and described by those that there are."""

    def __get_pydantic_core_schema__(
        self, _source: object, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            _counted_unit, core_schema.str_schema(strict=True)
        )

    def __get_pydantic_json_schema__(
        self, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "enum": [unit.name for unit in counted()]}


def _counted_unit(name: str) -> str:
    names = [unit.name for unit in counted()]
    if name not in names:
        raise PydanticCustomError("unit", "Input should be {names}", {"names": " or ".join(names)})
    return name


Units = dict[Annotated[str, _CountedUnit()], CountField]


class RequestBody(BaseModel):
    """What a request brings; what is not named here is refused."""

    model_config = ConfigDict(extra="forbid")


# Budgets ------------------------------------------------------------------------------------------


def _plain_member(field: PlainField) -> Any:  # noqa: ANN401 - a type and its default
    """Return how the plain field *field* of a budget is read from a body."""
    bounds: dict[str, Any] = {"le": LARGEST_NANOS, "ge": 0} if field.type is int else {}
    if field.type is str:
        bounds = {"max_length": field.rules.longest}
    found = Field(default=None, strict=True, description=field.rules.about, **bounds)
    return field.type | None, found


if TYPE_CHECKING:
    _PlainFieldsBody = RequestBody
else:
    _PlainFieldsBody = create_model(
        "_PlainFieldsBody",
        __base__=RequestBody,
        **{each.name: _plain_member(each) for each in PLAIN_FIELDS},
    )


class BudgetBody(_PlainFieldsBody):
    """What to change of a budget; what is not given stays, a list replaces the whole list."""

    limits: list[Annotated[str, Field(strict=True, max_length=100)]] | None = Field(
        default=None, max_length=32, examples=[["10 usd per day", "3 calls per 30min"]]
    )
    alerts: list[Annotated[str, Field(strict=True, max_length=40)]] | None = Field(
        default=None, max_length=16, description="Shares of each limit; a new budget has 0.8 and 1."
    )
    count_back: bool = Field(
        default=False,
        strict=True,
        description="Whether limits of new windows count what was spent in their interval before.",
    )
    reason: NoteField = ""

    def given(self) -> GivenFields:
        """Return what is sent of the budget, as `set_budget` takes it."""
        return cast("GivenFields", self.model_dump(exclude={"count_back", "reason"}))


class PauseBody(RequestBody):
    """Why, and until when; until resumed where that is null."""

    reason: NoteField = ""
    until: AwareDatetime | None = None


class ReasonBody(RequestBody):
    """Why."""

    reason: NoteField = ""


class ExtensionBody(RequestBody):
    """What to add to the limit of the same unit and window, and until when."""

    limit: str = Field(strict=True, max_length=100, examples=["2 usd per day"])
    until: AwareDatetime
    reason: NoteField = ""


# Reservations -------------------------------------------------------------------------------------

Details = Annotated[
    dict[str, Any],
    Field(
        default=dict[str, Any](),
        description="Kept with it, at most 4,096 characters of JSON: `model`, `request_id`, …",
    ),
]


class ReserveBody(RequestBody):
    """The most that something can cost, and who pays."""

    budget: PathField
    amount: Usd
    units: Units = Field(default={})
    key: KeyField | None = Field(
        default=None, description="Names the reservation; made from the Idempotency-Key, else new."
    )
    deadline: DurationField = "1h"
    wait: DurationField | None = Field(
        default=None, description="How long to wait for what is in flight; at most 60s."
    )
    labels: dict[str, str] = Field(default={}, max_length=64)


class AmountBody(RequestBody):
    """What it really cost."""

    amount: Usd
    units: Units = Field(default={})


class SettleBody(AmountBody):
    """What it really cost, and what is kept with that."""

    details: Details


class PresumeBody(RequestBody):
    """What is known of a cost that nobody knows in full."""

    known: Usd | None = Field(
        default=None, description="What it cost at least: counted where it is more than the hold."
    )
    units: Units = Field(default={})
    details: Details


class ExtendBody(RequestBody):
    """What to add to a hold, and how long it is to last from now."""

    amount: Usd = "0"
    units: Units = Field(default={})
    deadline: DurationField | None = Field(
        default=None, description="Moves the deadline there, if that is later than it is."
    )


# Tasks and patches --------------------------------------------------------------------------------


class NoteBody(RequestBody):
    """What to say with it."""

    note: NoteField = ""


class GradeBody(RequestBody):
    """How good the result is."""

    overall: int = Field(strict=True, ge=0, le=100)
    passed: FlagField
    note: NoteField = ""


class PatchBody(RequestBody):
    """The next version of a patch."""

    data: dict[str, Any]
    expected: int | None = Field(
        default=None, strict=True, ge=0, le=LARGEST_NANOS,
        description="The version that has to stand, 0 for none; or send If-Match.",
    )  # fmt: skip


# Tokens -------------------------------------------------------------------------------------------

_Pattern = Annotated[str, Field(strict=True, min_length=1, max_length=100)]


class TokenBody(RequestBody):
    """Whom a token of the gateway is for, what it may spend, and how it is refused."""

    name: str = Field(strict=True, min_length=1, max_length=100)
    budget: PathField
    providers: list[_Pattern] = Field(default=[], max_length=100, description="All unless given.")
    models: list[_Pattern] = Field(
        default=[], max_length=100, examples=[["gpt-4o*"]], description="All unless given."
    )
    most_per_request: Usd | None = None
    may_bound: bool = Field(
        default=False,
        strict=True,
        description="Whether a request that nothing bounds passes for its x-earmark-at-most.",
    )
    tier: str = Field(
        default="", strict=True, max_length=100, description="Of requests that name none."
    )
    refusal_status: Literal[402, 403, 429, 400] | None = Field(
        default=None, description="Of what its budget refuses; by client unless given."
    )
    mode: Literal["enforce", "observe"] = Field(
        default="enforce",
        description="`observe`: where its tree is observed, what does not fit is let in and its"
        " answer says what would have been refused; refused where the root is not observed.",
    )
    expires_at: AwareDatetime | None = None


class RotateBody(RequestBody):
    """For how long the secret before opens."""

    overlap: DurationField = "24h"
