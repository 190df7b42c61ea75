"""The registry of APIs: what is known of each, by its name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from earmark.apis import (
    anthropic_messages,
    anthropic_messages_request,
    bedrock_converse,
    gemini,
    gemini_request,
    openai_chat,
    openai_chat_request,
    openai_embeddings,
    openai_images,
    openai_moderations,
    openai_responses,
    openai_responses_request,
    openai_speech,
    openai_transcriptions,
)
from earmark.apis.counters import Counter, CounterTable, Fees
from earmark.apis.options import RequestTable
from earmark.errors import InvalidUsage
from earmark.errors.inputs import quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiTables:
    """One API's tables; each stands in that API's own file."""

    name: str
    request: RequestTable | None
    """What its requests may hold; `None` where requests are not supported yet."""
    usage_root: str
    """The member of a reply that holds its counters."""
    counters: CounterTable
    providers: Mapping[str, Mapping[str, Counter]]
    """The counters that only some providers have."""
    fees: Callable[[Mapping[str, Any]], Fees]
    """What only the content of a reply shows that is billed."""


def _api(
    name: str,
    module: Any,  # noqa: ANN401 - a module of this package
    request: RequestTable | None,
    *,
    usage_root: str = "usage",
    counters: CounterTable | None = None,
) -> ApiTables:
    return ApiTables(
        name=name,
        request=request,
        usage_root=usage_root,
        counters=counters or module.COUNTERS,
        providers=module.PROVIDERS,
        fees=module.fees,
    )


APIS: Final[Mapping[str, ApiTables]] = {
    api.name: api
    for api in (
        _api("openai", openai_chat, openai_chat_request.REQUEST),
        _api("openai-responses", openai_responses, openai_responses_request.REQUEST),
        _api(
            "openai-embeddings",
            openai_chat,
            openai_embeddings.REQUEST,
            counters=replace(openai_chat.COUNTERS, output=()),
        ),
        _api("openai-moderations", openai_chat, openai_moderations.REQUEST),
        _api("openai-images", openai_images, openai_images.REQUEST),
        _api("openai-speech", openai_responses, openai_speech.REQUEST),
        _api("openai-transcriptions", openai_responses, openai_transcriptions.REQUEST),
        _api("anthropic", anthropic_messages, anthropic_messages_request.REQUEST),
        _api("anthropic-count-tokens", anthropic_messages, anthropic_messages_request.COUNT_TOKENS),
        _api("gemini", gemini, gemini_request.REQUEST, usage_root="usageMetadata"),
        _api("bedrock-converse", bedrock_converse, None),
    )
}

#: Those whose requests can be read.
REQUEST_APIS: Final = tuple(name for name, api in APIS.items() if api.request is not None)


def request_table(api: str) -> RequestTable:
    """Return the table of what requests to *api* may hold.

    Raises:
        InvalidUsage: There is no such API, or its requests are not supported; names those that are.
    """
    # Whatever a caller passes for a name, also what has no hash.
    known = APIS.get(api) if isinstance(api, str) else None  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
    if known is None or known.request is None:
        supported = ", ".join(REQUEST_APIS)
        detail = f"requests to API {quoted(api)} are not supported, only to {supported}"
        raise InvalidUsage(detail=detail)
    return known.request
