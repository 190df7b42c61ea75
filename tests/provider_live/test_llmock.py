"""Every API against llmock, which breaks as the real APIs do, in their own error forms."""

from typing import TYPE_CHECKING

import pytest

from earmark.admission.call import Reply
from earmark.clock import SystemClock
from earmark.errors import CallFailed
from earmark.pricing.book import PriceBook
from earmark.provider import SpokenApi, open_provider
from support.calls import ask, grant, send
from support.last_resort import LAST_RESORT_S

if TYPE_CHECKING:
    from llmock.pytest_plugin import LLMock

APIS: tuple[SpokenApi, ...] = ("openai", "openai-responses", "anthropic", "gemini")
MODELS = {
    "openai": "openai/gpt-4o",
    "openai-responses": "openai/gpt-4o",
    "anthropic": "anthropic/claude-sonnet-4-20250514",
    "gemini": "google/gemini-2.5-flash",
}


def call(
    llmock: "LLMock", api: SpokenApi, *, stream: bool = False, timeout_s: float = LAST_RESORT_S
) -> Reply:
    """Make one call at list prices."""
    name = MODELS[api].partition("/")[0]
    base_url = llmock.base_url(api.removesuffix("-responses"))
    provider = open_provider(
        name, api=api, book=PriceBook(), clock=SystemClock(), base_url=base_url
    )
    request = ask(MODELS[api], "Tell me a long story of a lamp.", stream=stream)
    return send(provider, request, grant(timeout_s=timeout_s))


def fail(
    llmock: "LLMock", api: SpokenApi, *, stream: bool = False, timeout_s: float = LAST_RESORT_S
) -> CallFailed:
    """Make one call that fails; it is one attempt."""
    with pytest.raises(CallFailed) as raised:
        call(llmock, api, stream=stream, timeout_s=timeout_s)
    assert len(llmock.requests) == 1
    llmock.reset()
    return raised.value


@pytest.mark.parametrize("api", APIS)
def test_rejections_in_the_apis_own_forms_cost_nothing(llmock: "LLMock", api: SpokenApi) -> None:
    """Rate limit, overload and bad requests in each provider's own body: not billed."""
    for status in (400, 401, 403, 404, 429, 503, 529):
        llmock.fail(status, retry_after=1 if status == 429 else None)
        failed = fail(llmock, api)
        assert (failed.status, failed.billed) == (status, "no")
        assert failed.retryable == (status in {429, 503, 529})
    llmock.rate_limit(retry_after=2)
    assert fail(llmock, api).retry_after == 2.0


@pytest.mark.parametrize("api", APIS)
def test_server_errors_are_of_unknown_cost(llmock: "LLMock", api: SpokenApi) -> None:
    """A provider that broke down while working may have billed the work."""
    for status in (500, 502, 504):
        failed = fail(llmock.fail(status), api)
        assert (failed.status, failed.billed, failed.retryable) == (status, "unknown", True)


@pytest.mark.parametrize("api", APIS)
def test_broken_streams_are_of_unknown_cost(llmock: "LLMock", api: SpokenApi) -> None:
    """Dropped, cut off, corrupted and stalled streams: none is taken for an answer."""
    for fault in ("disconnect", "truncate", "corrupt"):
        getattr(llmock, fault)(after_chunks=3)
        assert fail(llmock, api, stream=True).billed == "unknown", fault
    llmock.stall(after_chunks=3, seconds=9)
    assert fail(llmock, api, stream=True, timeout_s=3).billed == "unknown"


@pytest.mark.parametrize("api", APIS)
def test_a_whole_stream_is_no_failure(llmock: "LLMock", api: SpokenApi) -> None:
    """The same server without a fault is billed by its usage."""
    for stream in (False, True):
        reply = call(llmock, api, stream=stream)
        assert reply.cost is not None
        assert reply.value
