"""Refusals in each API's shape: the real SDK clients ask again as often as they should."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from earmark.apis.refusals import RefusalResponse, refusal
from earmark.errors import (
    BudgetExceeded,
    CallFailed,
    InvalidUsage,
    NoBudget,
    Reason,
    StoreCorrupt,
    StoreUnavailable,
)
from earmark.money import Money
from support.lazily import Lazily
from support.stub_server import Scene, StubServer, completion, message

anthropic, openai = Lazily("anthropic"), Lazily("openai")
SECRET = "sk-live-1 postgresql://u:hush@host/db"  # noqa: S105 - what must not come out
RESET = datetime(2026, 12, 1, tzinfo=UTC)


def exceeded(reason: Reason, **more: Any) -> BudgetExceeded:
    """Return the refusal of 2 USD where 1 is left."""
    amounts = {"limit": Money(10), "settled": Money(7), "held": Money(2), "available": Money(1)}
    return BudgetExceeded(
        reason=reason,
        budget="acme/a",
        window="per day",
        requested=Money(2),
        resets_at=RESET,
        **amounts,
        **more,
    )


UNPRICED = BudgetExceeded(
    reason=Reason.UNPRICED, budget="", detail="option 'n_predict': set max_tokens"
)
ERRORS: dict[str, Exception] = {
    "exhausted": exceeded(Reason.EXHAUSTED),
    "too_large": exceeded(Reason.TOO_LARGE),
    "paused": BudgetExceeded(reason=Reason.PAUSED, budget="acme/a"),
    "no_budget": NoBudget(budget="acme/a"),
    "held": exceeded(Reason.HELD),
    "unpriced": UNPRICED,
    "input": InvalidUsage(detail="messages[0] is no object"),
    "store": StoreUnavailable(store=SECRET, detail=SECRET),
    "corrupt": StoreCorrupt(store=SECRET, detail=SECRET),
    "call": CallFailed(detail="provider 'x' answered HTTP 503", billed="no", retryable=True),
    "other": RuntimeError(SECRET),
}
Ask = Callable[[StubServer], object]


def chat(stub: StubServer) -> object:
    """Ask by OpenAI's client; one retry where it wants one."""
    with openai.OpenAI(base_url=f"{stub.url}/v1", api_key="k", max_retries=1) as client:
        return client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}]
        )


def respond(stub: StubServer) -> object:
    """Ask by OpenAI's client, in the Responses API."""
    with openai.OpenAI(base_url=f"{stub.url}/v1", api_key="k", max_retries=1) as client:
        return client.responses.create(model="m", input="hi")


def embed(stub: StubServer) -> object:
    """Ask by OpenAI's client for an embedding."""
    with openai.OpenAI(base_url=f"{stub.url}/v1", api_key="k", max_retries=1) as client:
        return client.embeddings.create(model="m", input="hi", encoding_format="float")


def write(stub: StubServer) -> object:
    """Ask by Anthropic's client."""
    with anthropic.Anthropic(base_url=stub.url, api_key="k", max_retries=1) as client:
        return client.messages.create(
            model="m", max_tokens=5, messages=[{"role": "user", "content": "hi"}]
        )


@pytest.fixture(scope="module")
def stub() -> Iterator[StubServer]:
    """A server that answers with what it is given."""
    with StubServer() as server:
        yield server


def scene(answer: RefusalResponse) -> Scene:
    """Return the scene of a refusal; its body is JSON as it stands."""
    return Scene(
        status=answer.status, headers=answer.headers, body=json.dumps(answer.body).encode()
    )


APIS: dict[str, tuple[Ask, Any]] = {
    "openai": (chat, openai),
    "openai-responses": (respond, openai),
    "openai-embeddings": (embed, openai),
    "anthropic": (write, anthropic),
}
#: What a final refusal is to the clients: the status, and the class of the exception.
FINAL: dict[str, tuple[int, str, str]] = {
    "exhausted": (402, "APIStatusError", "PaymentRequiredError"),
    "too_large": (402, "APIStatusError", "PaymentRequiredError"),
    "paused": (402, "APIStatusError", "PaymentRequiredError"),
    "no_budget": (402, "APIStatusError", "PaymentRequiredError"),
    "unpriced": (400, "BadRequestError", "BadRequestError"),
    "input": (400, "BadRequestError", "BadRequestError"),
    "corrupt": (503, "InternalServerError", "ServiceUnavailableError"),
    "other": (500, "InternalServerError", "InternalServerError"),
}


@pytest.mark.parametrize("name", FINAL)
@pytest.mark.parametrize("api", APIS)
def test_a_final_refusal_is_asked_for_once(stub: StubServer, api: str, name: str) -> None:
    """One attempt, the SDK's own exception for the status, and our sentence in it."""
    ask, sdk = APIS[api]
    status, *classes = FINAL[name]
    answer = refusal(api, ERRORS[name])
    stub.play(scene(answer))
    with pytest.raises(sdk.APIStatusError) as caught:
        ask(stub)
    assert len(stub.requests) == 1
    assert (caught.value.status_code, type(caught.value).__name__) == (
        status, classes[api == "anthropic"],
    )  # fmt: skip
    told = answer.body["error"]["message"]
    assert told in str(caught.value)
    if name not in {"corrupt", "other"}:
        assert str(ERRORS[name]) in told


@pytest.mark.parametrize("name", ["held", "store", "call"])
@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_what_may_pass_is_asked_for_again(
    stub: StubServer, api: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the two seconds that the answer names, the client asks again and is served."""
    ask, sdk = APIS[api]
    pauses: list[float] = []
    clock = SimpleNamespace(**vars(time) | {"sleep": pauses.append})
    monkeypatch.setitem(vars(sdk._base_client), "time", clock)
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    served = Scene(body=completion(usage) if api == "openai" else message({"input_tokens": 1}))
    answer = refusal(api, ERRORS[name])
    stub.play(scene(answer), served)
    assert ask(stub)
    assert len(stub.requests) == 2
    assert (answer.headers["retry-after"], pauses) == ("2", [2])


def test_google_s_client_asks_once_and_reads_the_refusal(stub: StubServer) -> None:
    """Its error holds our sentence and the status of the answer."""
    genai = pytest.importorskip("google.genai", reason="google-genai is not installed")
    options = {"base_url": stub.url, "api_version": "v1beta"}
    with genai.Client(api_key="k", http_options=options) as client:
        stub.play(scene(refusal("gemini", ERRORS["exhausted"])))
        with pytest.raises(
            genai.errors.ClientError, match="it is spent: extend the budget"
        ) as caught:
            client.models.generate_content(model="m", contents="hi")
        assert (caught.value.code, caught.value.status) == (402, "FAILED_PRECONDITION")
        assert len(stub.requests) == 1


def test_a_refusal_of_money_says_it_in_the_words_clients_know() -> None:
    """OpenAI's type, LiteLLM's code, aider's words; Anthropic's type; Google's status."""
    chat_error = refusal("openai", ERRORS["exhausted"]).body["error"]
    assert (chat_error["type"], chat_error["code"]) == ("insufficient_quota", "budget_exceeded")
    assert chat_error["message"].endswith('(insufficient credits, "code":402)')
    assert chat_error["metadata"] == {
        "retryable": False, "reason": "exhausted", "budget": "acme/a", "unit": "usd",
        "window": "per day", "limit": "10",
        "settled": "7", "held": "2", "available": "1", "requested": "2",
        "resets_at": "2026-12-01T00:00:00+00:00",
    }  # fmt: skip
    message_body = refusal("anthropic", ERRORS["exhausted"]).body
    assert message_body["type"] == "error"
    assert message_body["error"]["type"] == "billing_error"
    assert message_body["error"]["details"]["error_code"] == "budget_exceeded"
    assert "insufficient credits" not in message_body["error"]["message"]
    gemini = refusal("gemini", ERRORS["exhausted"]).body["error"]
    assert (gemini["code"], gemini["status"]) == (402, "FAILED_PRECONDITION")
    assert gemini["details"][0]["metadata"]["available"] == "1"


@pytest.mark.parametrize("client", ["codex_cli_rs", "Codex_exec/0.171 (Linux)"])
def test_codex_gets_the_form_it_stops_at(client: str) -> None:
    """A 429 of the type it knows, our sentence in the header it prints, and no long wait."""
    answer = refusal("openai-responses", ERRORS["exhausted"], client)
    assert answer.status == 429
    assert answer.body["error"]["type"] == "usage_limit_reached"
    assert answer.body["error"]["resets_at"] == 1796083200
    assert answer.headers["x-codex-promo-message"] == str(ERRORS["exhausted"])
    assert "retry-after" not in answer.headers
    # Where the request must change it stops at a 400; elsewhere, and for others, a 402 is right.
    assert refusal("openai-responses", UNPRICED, client).status == 400
    assert refusal("openai", ERRORS["exhausted"], client).status == 402
    assert refusal("openai-responses", ERRORS["exhausted"], "not-codex").status == 402
    odd = BudgetExceeded(reason=Reason.PAUSED, budget="café\r\nX-Injected: 1")
    header = refusal("openai-responses", odd, client).headers["x-codex-promo-message"]
    assert header.isascii()
    assert "\n" not in header


def test_claude_code_does_not_repeat_what_is_unpriced() -> None:
    """It sends a 400 six times and a 402 once; other clients of the API are told a 400."""
    assert refusal("anthropic", UNPRICED, "claude-cli/2.1.0 (external, cli)").status == 402
    assert refusal("anthropic", UNPRICED, "anthropic-python").status == 400
    words = refusal("anthropic", UNPRICED, "claude-cli/2.1.0").body["error"]["message"]
    assert "n_predict" in words


def test_litellm_is_not_made_to_repeat_a_message() -> None:
    """It repeats a 402 of this API eight times, and a 400 never; the type is the same."""
    spent = ERRORS["exhausted"]
    answer = refusal("anthropic", spent, "litellm/1.81.10")
    assert (answer.status, answer.headers["x-should-retry"]) == (400, "false")
    assert answer.body == refusal("anthropic", spent).body
    assert refusal("anthropic", ERRORS["held"], "litellm/1.81.10").status == 429
    assert refusal("openai", spent, "litellm/1.81.10").status == 402


def test_litellm_is_not_made_to_repeat_a_request_of_gemini_s() -> None:
    """It takes a 402 of this API for a broken connection, a 403 for a request that must change."""
    spent = ERRORS["exhausted"]
    answer = refusal("gemini", spent, "litellm/1.81.10")
    assert (answer.status, answer.headers["x-should-retry"]) == (403, "false")
    assert answer.body["error"]["code"] == 403
    assert answer.body["error"]["status"] == "FAILED_PRECONDITION"
    assert refusal("gemini", ERRORS["unpriced"], "litellm/1.81.10").status == 400
    assert refusal("gemini", ERRORS["held"], "litellm/1.81.10").status == 429
    assert refusal("gemini", spent, "google-genai-sdk/3.6.1").status == 402


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("api", [*APIS, "gemini"])
def test_no_refusal_asks_for_a_long_wait_or_tells_a_secret(api: str, name: str) -> None:
    """Seconds, and only where asking again can help; a store's address and others' words stay."""
    answer = refusal(api, ERRORS[name])
    assert answer.headers.get("retry-after", "2") == "2"
    assert (answer.headers["x-should-retry"] == "true") == ("retry-after" in answer.headers)
    assert answer.status >= 400
    written = json.dumps([answer.body, dict(answer.headers)])
    assert "hush" not in written
    assert "sk-live" not in written
