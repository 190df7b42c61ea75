"""Patches, nudges and agents."""

from typing import Any, Literal

from pydantic import Field

from earmark.money import LARGEST_NANOS
from earmark.service.models.base import Form, MomentField, RequestBody


class PatchBody(RequestBody):
    """The next version of a patch."""

    data: dict[str, Any]
    expected: int | None = Field(
        default=None, strict=True, ge=0, le=LARGEST_NANOS,
        description="The version that has to stand, 0 for none; or send If-Match.",
    )  # fmt: skip


class Patch(Form):
    """One record of the agents' shared memory, in one version."""

    type: str
    name: str
    data: dict[str, Any]
    version: int
    author: str
    created_at: MomentField
    updated_at: MomentField


class Delivery(Form):
    """How far a nudge has come on one channel."""

    channel: str
    state: Literal["waiting", "delivered", "given_up"]
    tries: int
    next_at: MomentField | None
    delivered_at: MomentField | None
    error: str


class Nudge(Form):
    """A message that asks a sibling to act."""

    id: str
    number: int
    kind: str
    budget: str
    recipient: str
    title: str
    data: dict[str, Any]
    created_at: MomentField
    acked_by: str
    acked_at: MomentField | None
    deliveries: list[Delivery] | None


class Agent(Form):
    """One agent, and what its heartbeat says of itself."""

    name: str
    held: bool
    lease_until: MomentField | None
    cycles: int
    state: dict[str, Any]
    updated_at: MomentField
