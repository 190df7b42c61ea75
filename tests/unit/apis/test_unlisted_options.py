"""What `allowed_options` lets pass: no argument of a client, and nothing known to ask for more."""

import inspect
from pkgutil import resolve_name
from typing import Any, get_type_hints

import pytest

import earmark
from earmark.apis.api import REQUEST_APIS, request_table
from earmark.apis.content_reader import camel_case
from earmark.apis.options import Option
from earmark.apis.requests import RequestReading, read_body
from earmark.apis.unlisted_options import CLIENT_ARGUMENTS, can_be_allowed
from earmark.errors import BudgetExceeded

HELLO = [{"role": "user", "content": "Hi"}]
#: The methods of the SDKs that make a call, and the fields of its body.
METHODS = {
    "openai.resources.chat.completions.Completions": (
        "openai",
        "openai.types.chat.completion_create_params.CompletionCreateParamsStreaming",
    ),
    "openai.resources.responses.Responses": (
        "openai-responses",
        "openai.types.responses.response_create_params.ResponseCreateParamsStreaming",
    ),
    "openai.resources.embeddings.Embeddings": (
        "openai-embeddings",
        "openai.types.embedding_create_params.EmbeddingCreateParams",
    ),
    "anthropic.resources.messages.Messages": (
        "anthropic",
        "anthropic.types.message_create_params.MessageCreateParamsStreaming",
    ),
    "anthropic.resources.beta.messages.Messages": (
        "anthropic",
        "anthropic.types.beta.message_create_params.MessageCreateParamsStreaming",
    ),
}
#: APIs whose input is no conversation.
INPUT_ALONE = {*("openai-moderations", "openai-images", "openai-speech"), "openai-transcriptions"}
#: What each must have of them at least, so that the walk is seen to find any.
OF_ALL = {"extra_headers", "extra_query", "extra_body", "timeout"}


def read(options: dict[str, Any], api: str, *allowed: str) -> RequestReading:
    """Return what is read of a request to *api* with these options."""
    asked: Any = "Hi." if api in INPUT_ALONE else HELLO
    body = {request_table(api).messages: asked, "model": "m", **options}
    return read_body(api, body, allowed=allowed)


def client_arguments(method: str) -> set[str]:
    """Return what the method takes beside the fields of a body."""
    api, params = METHODS[method]
    found: set[str] = set()
    for name in ("create", "parse", "stream"):
        function = getattr(resolve_name(method), name, None)
        if function is not None:
            found |= inspect.signature(function).parameters.keys() - {"self"}
    fields = get_type_hints(resolve_name(params)).keys()
    # `responses.parse` sends it in the body, though the type of its parameters has it not.
    return found - fields - request_table(api).options.keys() - {"verbosity"}


@pytest.mark.parametrize("method", METHODS)
def test_arguments_of_a_client_are_refused_by_name_and_never_allowed(method: str) -> None:
    """What the SDK would send for them beside the body is in no bound of the body."""
    api = METHODS[method][0]
    names = client_arguments(method)
    assert names >= OF_ALL
    for name in names:
        with pytest.raises(BudgetExceeded, match=f"'{name}' is an argument of a client.*: ") as no:
            read({name: {"max_tokens": 16000}}, api, name)
        assert "allowed_options" not in str(no.value)


@pytest.mark.parametrize("api", REQUEST_APIS)
@pytest.mark.parametrize("name", CLIENT_ARGUMENTS)
def test_no_table_lists_an_argument_of_a_client(api: str, name: str) -> None:
    """So that the refusal by name is the one that counts."""
    options = request_table(api).options
    assert name not in {option.replace("_", "").lower() for option in options}


def test_the_refusal_of_extra_body_says_to_put_its_fields_into_the_body() -> None:
    """A newcomer follows what it says."""
    body = {"model": "gpt-4o-mini", "messages": HELLO, "max_tokens": 50}
    with pytest.raises(BudgetExceeded, match="put its fields into the body"):
        earmark.bound({**body, "extra_body": {"n": 8}}, api="openai", provider="openai")


def rows_of_more() -> list[tuple[str, Option]]:
    """Return every option at the head of a body that is no plain text, of all tables."""
    return [
        (name, row)
        for api in REQUEST_APIS
        for name, row in request_table(api).options.items()
        if row.effect in {"refused", "thinking", "outputs", "compaction", "input", "cache"}
        or row.values is not None
    ]


def limits() -> set[str]:
    """Return what multiplies the output or alters its price, by every table's own words."""
    found = {"model"}
    for api in REQUEST_APIS:
        table = request_table(api)
        found |= {*table.output_limits, *table.tiers, table.choices, table.tool_call_limit}
        found |= {host.output_limit for host in table.hosts.values()}
    return {path.rpartition(".")[2] for path in found} - {""}


@pytest.mark.parametrize("api", REQUEST_APIS)
def test_nothing_a_table_knows_for_more_than_text_is_allowed_in_any_api(api: str) -> None:
    """Neither by the name it has in that table, in another one, nor as a member of what is."""
    names = {name for name, _ in rows_of_more()} | limits()
    assert {"n", "best_of", "max_output_tokens", "service_tier", "models", "speed"} <= names
    for name in names:
        assert not can_be_allowed(name)
        if request_table(api).options.keys().isdisjoint({name, camel_case(name)}):
            with pytest.raises(BudgetExceeded, match=f"{name}' cannot be allowed"):
                read({name: {"x": 1}}, api, name)
    for name in limits():
        hidden: Any = {"inside": [{name: 8}]}
        with pytest.raises(BudgetExceeded, match=f"knob.inside.{name}' cannot be allowed"):
            read({"knob": hidden}, api, "knob")


def test_the_names_in_an_allowed_schema_are_the_callers_own() -> None:
    """Below `properties` an `n` is no number of choices."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "model": {}}}
    assert read({"guided_json": schema}, "openai", "guided_json").choices == 1
