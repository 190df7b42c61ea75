"""Agents, their patches and nudges, and tokens as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from earmark.clock import InstantOrZero
from earmark.money import Money
from earmark.nudges.nudge import Delivery, Nudge
from earmark.quilt.quilt import Patch
from earmark.workspace.agents import AgentRow
from earmark.workspace.gateway_access import TokenMode
from earmark.workspace.json_form import Computed, Extra, JsonForm, declare_form, fields_of
from earmark.workspace.jsonable import to_jsonable_utf8
from earmark.workspace.tokens import TokenRow

PATCH: Final = JsonForm(Patch)


def _budget(token: TokenRow) -> str | None:
    return token.access and token.access.budget


def _providers(token: TokenRow) -> Sequence[str]:
    return token.access.providers if token.access else ()


def _models(token: TokenRow) -> Sequence[str]:
    return token.access.models if token.access else ()


def _most_per_request(token: TokenRow) -> Money | None:
    return token.access and token.access.most_per_request


def _may_bound(token: TokenRow) -> bool:
    return token.access is not None and token.access.may_bound


def _tier(token: TokenRow) -> str:
    return token.access.tier if token.access else ""


def _refusal_status(token: TokenRow) -> int | None:
    return token.access and token.access.refusal_status


def _mode(token: TokenRow) -> TokenMode | None:
    return token.access and token.access.mode


TOKEN: Final = JsonForm(
    TokenRow,
    *fields_of(TokenRow, without=("access",)),
    Computed("budget", _budget),
    Computed("providers", _providers),
    Computed("models", _models),
    Computed("most_per_request", _most_per_request),
    Computed("may_bound", _may_bound),
    Computed("tier", _tier),
    Computed("refusal_status", _refusal_status),
    Computed("mode", _mode),
    name="Token",
)
#: As it is made: the only answer that has the token itself.
NEW_TOKEN: Final = TOKEN.plus(
    "NewToken",
    "A token as it was made or rotated, shown once; `token` is null where that is asked again.",
    Extra("token", str | None),
)


def _next_at(delivery: Delivery) -> InstantOrZero:
    return delivery.next_at if delivery.state == "waiting" else 0


declare_form(
    Delivery,
    *("channel", "state", "tries"),
    Computed("next_at", _next_at),
    *("delivered_at", "error"),
)
NUDGE: Final = JsonForm(Nudge, *fields_of(Nudge), Extra("deliveries", list[Delivery] | None))
#: What an event says of a new nudge.
NUDGE_EVENT: Final = JsonForm(
    Nudge, "id", "number", "kind", "budget", "recipient", "title", name="NudgeEvent"
)


def _state(agent: AgentRow) -> Mapping[str, Any]:
    return to_jsonable_utf8(agent.state)


AGENT: Final = JsonForm(
    AgentRow,
    "name",
    Extra("held", bool),
    *("lease_until", "cycles"),
    Computed("state", _state),
    "updated_at",
    name="Agent",
    about="One agent, and what its heartbeat says of itself.",
)
