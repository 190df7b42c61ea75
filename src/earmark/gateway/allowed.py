"""What a token lets pass: whom it may call, by which model, at which tier."""

from typing import Any, Final

from earmark.apis.api import request_table
from earmark.gateway.access import Holder
from earmark.gateway.denied import Denied
from earmark.gateway.endpoints import Endpoint
from earmark.gateway.upstreams import Upstream

_TIER: Final = "service_tier"


def check_access(holder: Holder, upstream: Upstream) -> None:
    """Refuse a provider or a model that the holder's token is not for.

    Raises:
        Denied: It is none of them.
    """
    access = holder.access
    allowed = not access.providers or upstream.provider in access.providers
    if upstream.model:
        allowed = access.allows(upstream.provider, upstream.model)
    if not allowed:
        name = f"{upstream.provider}/{upstream.model}".rstrip("/")[:100]
        raise Denied(403, "not_allowed", f"this token may not call {name}")


def costs_nothing(endpoint: Endpoint, upstream: Upstream) -> bool:
    """Return whether its provider bills nothing for a request, whatever a price list says."""
    if endpoint.kind != "held":
        return endpoint.kind == "free"
    return request_table(endpoint.api).is_free_at(upstream.host, upstream.model)


def with_tier(holder: Holder, endpoint: Endpoint, body: dict[str, Any]) -> dict[str, Any]:
    """Return *body* with the service tier of its token, where it names none and can.

    Raises:
        Denied: Its API has no tiers, and the token is for calls at one.
    """
    tier = holder.access.tier
    if not tier or endpoint.kind != "held" or body.get(_TIER) is not None:
        return body
    if _TIER not in request_table(endpoint.api).options:
        words = (
            f"this token calls at the service tier '{tier}', which no request to this path can"
            " name: use a token without --tier"
        )
        raise Denied(400, "not_allowed", words)
    return {**body, _TIER: tier}
