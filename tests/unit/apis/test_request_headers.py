"""Headers that alter price or behaviour are options too."""

import pytest

from earmark.apis.requests import read_body
from earmark.errors import BudgetExceeded, Reason

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
#: As Claude Code 2.1.332 sends it in auto mode.
CLAUDE_CODE = (
    "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,"
    "per-turn-control-2026-07-01,mid-conversation-tool-changes-2026-07-01,"
    "thinking-token-count-2026-05-13,advanced-tool-use-2025-11-20,effort-2025-11-24,"
    "dangerous-tool-use-2026-09-03,thinking-display-updates-2026-08-18,afk-mode-2026-01-31"
)


@pytest.mark.parametrize(
    ("api", "headers"),
    [
        ("anthropic", {"Anthropic-Beta": CLAUDE_CODE, "x-app": "cli", "authorization": "…"}),
        # Of Claude Code 2.1.197.
        ("anthropic", {"anthropic-beta": "mid-conversation-system-2026-04-07"}),
        ("anthropic", {"anthropic-beta": "", "anthropic-version": "2023-06-01"}),
        ("openai", {"OpenAI-Beta": "assistants=v2", "openai-organization": "o"}),
    ],
)
def test_what_clients_send_is_known(api: str, headers: dict[str, str]) -> None:
    """Known betas, and headers that alter nothing, pass."""
    assert read_body(api, BODY, headers=headers).model == "m"


@pytest.mark.parametrize(
    ("api", "name", "value", "words"),
    [
        ("anthropic", "anthropic-beta", "x-2027-01-01", "anthropic-beta: x-2027-01-01"),
        ("anthropic", "ANTHROPIC-BETA", "effort-2025-11-24, x", "anthropic-beta: x"),
        ("anthropic", "anthropic-beta", "managed-agents-2026-04-01", "another API"),
        ("anthropic", "anthropic-beta", "user-profiles-billing-2026-10-01", "who bills what"),
        ("openai", "OpenAI-Beta", "realtime=v1", "openai-beta: realtime=v1"),
        ("openai", "X-Vertex-AI-LLM-Shared-Request-Type", "priority", "another price"),
    ],
)
def test_an_unknown_beta_is_refused_by_its_name(
    api: str, name: str, value: str, words: str
) -> None:
    """A beta of tomorrow may bill what no bound covers: it is named, with what to do."""
    with pytest.raises(BudgetExceeded, match=words) as refused:
        read_body(api, BODY, headers={name: value})
    assert refused.value.reason is Reason.UNPRICED


def test_a_beta_can_be_vouched_for() -> None:
    """What the user allows passes; what the table refuses stays refused."""
    headers = {"anthropic-beta": "x-2027-01-01"}
    words = r'\[apis.anthropic.options\] "x-2027-01-01" = "text"'
    with pytest.raises(BudgetExceeded, match=words):
        read_body("anthropic", BODY, headers=headers)
    assert read_body("anthropic", BODY, headers=headers, allowed={"x-2027-01-01"}).model == "m"
    refused = {"anthropic-beta": "managed-agents-2026-04-01"}
    with pytest.raises(BudgetExceeded):
        read_body("anthropic", BODY, headers=refused, allowed={"managed-agents-2026-04-01"})
