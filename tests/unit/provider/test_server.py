"""Where a call goes and with which key: the address of each API, of Azure, and what is refused."""

from typing import Any

import pytest

from earmark.apis.dialects import DIALECTS
from earmark.clock import SystemClock
from earmark.errors import InvalidConfig
from earmark.pricing.book import PriceBook
from earmark.provider import open_provider
from earmark.provider.server import Server

AZURE = "https://acme.openai.azure.com/openai"
FOUNDRY = "https://acme.services.ai.azure.com"
GOOGLE = "https://generativelanguage.googleapis.com"


def server(api: str, base_url: str | None = None, key: str | None = None) -> Server:
    """Return the server of a provider named `p`."""
    dialect = DIALECTS[api]
    return Server(provider="p", dialect=dialect, base_url=base_url or dialect.base_url, api_key=key)


@pytest.mark.parametrize(
    ("api", "base_url", "url"),
    [
        ("openai", None, "https://api.openai.com/v1/chat/completions"),
        ("openai", "http://h:1/v1/", "http://h:1/v1/chat/completions"),
        ("openai-responses", None, "https://api.openai.com/v1/responses"),
        ("anthropic", None, "https://api.anthropic.com/v1/messages"),
        ("anthropic", "http://h/anthropic", "http://h/anthropic/v1/messages"),
        ("anthropic", f"{FOUNDRY}/anthropic", f"{FOUNDRY}/anthropic/v1/messages"),
        ("gemini", None, f"{GOOGLE}/v1beta/models/a%2Fb:generateContent"),
        ("gemini", f"{GOOGLE}/v1/", f"{GOOGLE}/v1/models/a%2Fb:generateContent"),
        ("anthropic", "http://h/v1", "http://h/v1/messages"),
        ("anthropic", "http://h/v1/messages", "http://h/v1/messages"),
        ("openai", f"{AZURE}/v1/", f"{AZURE}/v1/chat/completions"),
        ("openai-responses", f"{AZURE}/v1", f"{AZURE}/v1/responses"),
        (
            "openai",
            f"{AZURE}/deployments/D?api-version=2024-10-21",
            f"{AZURE}/deployments/D/chat/completions?api-version=2024-10-21",
        ),
        (
            "openai",
            f"{AZURE}/deployments/D/chat/completions?api-version=2024-10-21",
            f"{AZURE}/deployments/D/chat/completions?api-version=2024-10-21",
        ),
    ],
)
def test_a_call_is_posted_to_its_apis_path(api: str, base_url: str | None, url: str) -> None:
    """The path is added to the base URL, once, and before its query."""
    assert server(api, base_url).url("a/b", stream=False) == url


def test_a_stream_of_gemini_has_a_path_of_its_own() -> None:
    """It is asked for events; an API version stays in the query."""
    url = server("gemini").url("m", stream=True)
    assert url == f"{GOOGLE}/v1beta/models/m:streamGenerateContent?alt=sse"
    url = server("gemini", "http://h/v1?api-version=2").url("m", stream=True)
    assert url == "http://h/v1/models/m:streamGenerateContent?api-version=2&alt=sse"


@pytest.mark.parametrize(
    ("api", "base_url", "headers"),
    [
        ("openai", None, {"authorization": "Bearer sk-1"}),
        ("openai-responses", "http://h/v1", {"authorization": "Bearer sk-1"}),
        ("anthropic", None, {"x-api-key": "sk-1", "anthropic-version": "2023-06-01"}),
        ("gemini", None, {"x-goog-api-key": "sk-1"}),
        ("openai", f"{AZURE}/v1", {"api-key": "sk-1"}),
        ("openai-responses", f"{FOUNDRY}/openai/v1", {"api-key": "sk-1"}),
        ("anthropic", FOUNDRY, {"x-api-key": "sk-1", "anthropic-version": "2023-06-01"}),
        ("openai", "https://azure.com.example/v1", {"authorization": "Bearer sk-1"}),
    ],
)
def test_the_key_is_sent_as_the_api_wants_it(
    api: str, base_url: str | None, headers: dict[str, str]
) -> None:
    """Each API and Azure read the key in a header of their own; without a key none is sent."""
    assert server(api, base_url, "sk-1").headers() == headers
    without = server(api, base_url).headers()
    assert without == {name: value for name, value in headers.items() if "sk-1" not in value}


def opened(name: str, base_url: str | None = None, **more: Any) -> Any:
    """Open a provider."""
    settings: dict[str, Any] = {
        "api": "openai",
        "book": PriceBook(),
        "clock": SystemClock(),
        **more,
    }
    return open_provider(name, base_url=base_url, **settings)


@pytest.mark.parametrize(
    ("name", "base_url", "service"),
    [
        ("x", "https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1", "Amazon Bedrock"),
        ("x", "https://Bedrock-Mantle.us-east-1.api.aws/v1", "Amazon Bedrock"),
        ("x", "https://vpce-1.bedrock-runtime.eu-west-1.vpce.amazonaws.com", "Amazon Bedrock"),
        ("x", "https://us-central1-aiplatform.googleapis.com/v1", "Vertex AI"),
        ("x", "https://aiplatform.googleapis.com/v1", "Vertex AI"),
        ("x", "https://aiplatform.us.rep.googleapis.com/v1", "Vertex AI"),
        ("aws", None, "Amazon Bedrock"),
        ("Amazon_Bedrock", None, "Amazon Bedrock"),
        ("vertex_ai", None, "Vertex AI"),
    ],
)
def test_bedrock_and_vertex_are_refused_by_name(
    name: str, base_url: str | None, service: str
) -> None:
    """By their hosts, and by a provider's name that would send its calls to somebody else."""
    with pytest.raises(InvalidConfig, match=f"{service} is not supported yet") as raised:
        opened(name, base_url)
    assert raised.value.place == f"providers.{name}"


def test_a_gateway_of_ones_own_may_bear_any_name() -> None:
    """Hosts at Amazon and Google that are neither, and a name with an address of its own."""
    assert opened("aws", "http://127.0.0.1:4000/v1")
    assert opened("x", "https://my-gateway.eu-west-1.elb.amazonaws.com/v1")
    assert opened("x", "https://bedrock.example/v1")
    assert opened("x", "https://generativelanguage.googleapis.com/v1beta/openai")


@pytest.mark.parametrize(
    ("base_url", "key", "says"),
    [
        ("http://me:pw-1@h/v1", None, "without user and password"),
        ("http://h/v1?key=pw-1", None, "without a query"),
        ("http://h/v1?api-version=1&key=pw-1", None, "without a query"),
        ("h/v1", None, "such as http"),
        ("ftp://h", None, "such as http"),
        ("http://[1", None, "such as http"),
        ("http://h:99999", None, "such as http"),
        ("http://h", "pw-1\n", "line end"),
        ("http://h", "pw-\N{EURO SIGN}", "beyond ASCII"),
        ("http://h", "", "holds"),
    ],
)
def test_an_address_or_a_key_that_cannot_be_used_is_refused(
    base_url: str, key: str | None, says: str
) -> None:
    """Before anything is sent, at its place, and without showing what may be secret."""
    with pytest.raises(InvalidConfig, match=says) as raised:
        opened("x", base_url, api_key=key)
    assert raised.value.place == "providers.x"
    assert "pw-" not in str(raised.value)


def test_an_unknown_api_is_refused() -> None:
    """The error names those there are."""
    with pytest.raises(InvalidConfig, match="openai, openai-responses, anthropic, gemini"):
        opened("x", api="cohere")
