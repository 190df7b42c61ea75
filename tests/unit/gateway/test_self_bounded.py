"""What a request that bounds itself may hold."""

from typing import Any

import pytest

from earmark.gateway.access import Holder
from earmark.gateway.denied import Denied
from earmark.gateway.self_bounded import check_self_bounded
from earmark.workspace.gateway_access import GatewayAccess

FENCED = Holder("t", GatewayAccess(budget="acme", models=("gpt-4o*",)))
ANY = Holder("t", GatewayAccess(budget="acme"))
SCHEMA = {"type": "object", "properties": {"model": {"type": "string"}, "agent": {}}}


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [{"type": "image_generation", "model": "gpt-image-1"}]},
        {"input": [{"type": "additional_tools", "tools": [{"type": "x", "model": "dear"}]}]},
        {"tools": [{"type": "openrouter:advisor", "parameters": {"model": "dear"}}]},
        {"generationConfig": {"routingConfig": {"manualMode": {"modelName": "dear"}}}},
        {"fallback": {"provider": "x"}},
        {"extra": {"models": ["dear"]}},
        {"agent": {"name": "dear"}},
        {"Model": "dear"},
    ],
)
def test_a_token_of_some_models_asks_no_other_at_any_depth(body: dict[str, Any]) -> None:
    """Only the model of the request itself was compared with its list."""
    asked = {"model": "gpt-4o", **body}
    with pytest.raises(Denied, match="other models than its token allows"):
        check_self_bounded(FENCED, asked)
    check_self_bounded(ANY, asked)


def test_a_users_own_words_name_no_model() -> None:
    """Schemas, metadata, contents and null are none of the request's options."""
    function = {"name": "f", "parameters": SCHEMA}
    words = {"model": "mine", "agent": "me"}
    body: dict[str, Any] = {
        "model": "gpt-4o",
        "metadata": words,
        "fallback": None,
        "tools": [
            {"type": "function", "function": function},
            {"type": "function", **function},
            {"name": "g", "input_schema": SCHEMA},
            {"functionDeclarations": [function]},
        ],
        "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}},
        "messages": [
            {"role": "user", "content": [{"type": "tool_result", "content": [words]}]},
            {"role": "assistant", "content": [{"type": "tool_use", "input": words}]},
        ],
        "contents": [{"parts": [{"functionCall": {"name": "f", "args": words}}]}],
    }
    check_self_bounded(FENCED, body)
