"""What a request names that is kept at its provider: its own token's, or it is refused."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from earmark.apis.kept import KeptTokens
from earmark.apis.requests import read_body
from earmark.gateway.access import Holder
from earmark.gateway.denied import Denied
from earmark.gateway.endpoints import Endpoint
from earmark.gateway.kept_ids import KeptId, KeptIds, NewIds
from earmark.gateway.upstreams import Upstream
from earmark.pricing.json_values import mapping

_RESPONSES: Final = "openai-responses"
#: Of an id that is not the token's, as a message shows it.
_SHOWN: Final = 100
#: Where Gemini's count has the request that it counts.
_WRAPPED: Final = "generateContentRequest"


async def kept_tokens_of(
    kept: KeptIds, holder: Holder, endpoint: Endpoint, upstream: Upstream, body: Mapping[str, Any]
) -> KeptTokens:
    """Return what of the ids that *body* names is the holder's, and the most that it brings.

    Raises:
        Denied: Its `previous_response_id` is of no response that this token made there; the words
            are the same for one that another token made.
    """
    if endpoint.api == _RESPONSES and body.get("previous_response_id") is not None:
        name = body["previous_response_id"]
        found = await _find(kept, holder, upstream, name)
        if found is None:
            words = f"Previous response with id '{str(name)[:_SHOWN]}' not found."
            raise Denied(400, "previous_response_not_found", words)
        # Another model may count the same otherwise, an image many times, though texts alike.
        return {found.id: found.tokens if found.model == upstream.model else None}
    return {}


async def _find(kept: KeptIds, holder: Holder, upstream: Upstream, name: object) -> KeptId | None:
    if not isinstance(name, str):
        return None
    found = await asyncio.to_thread(kept.find, holder.token_id, name)
    return next((each for each in found if each.provider == upstream.provider), None)


async def owned_response(kept: KeptIds, holder: Holder, name: str) -> KeptId:
    """Return the response *name* of the holder's.

    Raises:
        Denied: It has none of this id, in the same words for one of another token.
    """
    found = await asyncio.to_thread(kept.find, holder.token_id, name)
    if not found:
        raise Denied(404, "not_found", f"Response with id '{name[:_SHOWN]}' not found.")
    return found[0]


def check_free(
    endpoint: Endpoint,
    upstream: Upstream,
    headers: Mapping[str, str],
    body: Mapping[str, Any],
    kept: KeptTokens,
) -> None:
    """Refuse a request that costs nothing if it names what another token keeps, or may name it.

    Raises:
        BudgetExceeded: It does, or holds what no table lists.
        InvalidUsage: It is no request of this API.
    """
    counted = mapping(body.get(_WRAPPED)) or body
    read_body(
        endpoint.api,
        counted,
        headers=headers,
        provider=upstream.provider,
        model=None if "model" in counted else upstream.model,
        allowed=upstream.allowed_options,
        kept=kept,
    )


def new_ids(
    kept: KeptIds, holder: Holder, endpoint: Endpoint, upstream: Upstream, body: Mapping[str, Any]
) -> NewIds | None:
    """Return what notes the id of the reply to *body*; `None` where its provider keeps none."""
    if endpoint.api != _RESPONSES or body.get("store") is False:
        return None
    return NewIds(
        kept,
        token_id=holder.token_id,
        provider=upstream.provider,
        model=upstream.model,
        # Of what was cut out for this reply, the next one may read another part.
        is_whole=body.get("truncation") in {None, "disabled"},
    )
