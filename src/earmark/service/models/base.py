"""What all models are made of: amounts as decimal strings, names, moments, pages, problems.

A JSON number is a float to most programs, so money is never one.
"""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from earmark.budget.path import LONGEST_PATH
from earmark.ledger.requests import LONGEST_KEY
from earmark.money import LARGEST_NANOS

T = TypeVar("T")

USD = r"^[0-9]{1,10}(\.[0-9]{1,9})?$"
DURATION = r"^[0-9]{1,9}(\.[0-9]{1,9})?(ms|sec|s|min|m|h|d)$"
#: In paths: a budget's name, segments joined by slashes.
PATH = r"^[A-Za-z0-9._-]{1,64}(/[A-Za-z0-9._-]{1,64}){0,15}$"

Usd = Annotated[
    str, Field(strict=True, pattern=USD, examples=["0.045864"], description="US dollars, exact.")
]
DurationField = Annotated[str, Field(strict=True, pattern=DURATION, examples=["10min"])]
PathField = Annotated[str, Field(strict=True, pattern=PATH, max_length=LONGEST_PATH)]
KeyField = Annotated[str, Field(strict=True, min_length=1, max_length=LONGEST_KEY)]
CountField = Annotated[int, Field(strict=True, ge=0, le=LARGEST_NANOS)]
NoteField = Annotated[str, Field(strict=True, max_length=1000)]
FlagField = Annotated[bool, Field(strict=True)]
MomentField = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""RFC 3339 in UTC."""
Amount = Annotated[str | int, Field(description="A decimal string of USD, else a count.")]
Units = dict[Literal["calls", "tokens"], CountField]


class RequestBody(BaseModel):
    """What a request brings; what is not named here is refused."""

    model_config = ConfigDict(extra="forbid")


class Form(BaseModel):
    """What an answer has, all of it and nothing else."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """RFC 9457: what went wrong; a refusal's numbers are further members."""

    type: str
    title: str
    status: int
    code: str
    detail: str


class Page(Form, Generic[T]):
    """A part of a list, and what to ask for the rest with."""

    items: list[T]
    next: str | None
    """The `cursor` of the next page; null at the end."""


class Check(BaseModel):
    """Whether the service can work; who may read also gets the numbers."""

    status: Literal["pass", "warn", "fail"]
