"""How each real client is started, offline, against a server on this machine."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from support.api_replies import ToolCall

#: A key that no provider would take.
KEY: Final = "sk-recorded"
PROMPT: Final = "say hi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A program that asks a model; `$URL` in its texts is the server, `$PROJECT` its folder."""

    program: str
    """Where it is in the folder of installed programs."""
    arguments: Sequence[str]
    environment: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    """Files of its home folder, by name."""
    version: Sequence[str] = ("--version",)
    call: ToolCall | None = None
    """What the first reply calls, if its request offers that tool."""
    kept: frozenset[int] = frozenset()
    """The numbers of the requests that no other client's file shows already; none: all."""
    ends_after: int = 0
    """The number of model requests after which an interactive client is ended; 0: it ends."""


_CLAUDE: Final = "node/node_modules/.bin/claude"
_QUIET_CLAUDE: Final = {
    "IS_SANDBOX": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "ANTHROPIC_BASE_URL": "$URL",
    "ANTHROPIC_AUTH_TOKEN": KEY,
}
_ONBOARDED: Final = {
    "hasCompletedOnboarding": True,
    "theme": "dark",
    "projects": {"$PROJECT": {"hasTrustDialogAccepted": True}},
}
_CODEX: Final = "node/node_modules/.bin/codex"
_CODEX_EXEC: Final = (
    *("exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"),
)
_CODEX_PROVIDER: Final = '{name="em",base_url="$URL/v1",env_key="EMK",wire_api="responses"}'
_AIDER_OPTIONS: Final = (
    *("--no-git", "--yes-always", "--no-check-update", "--no-show-model-warnings"),
    *("--analytics-disable", "--no-pretty", "--map-tokens", "0", "--no-gitignore"),
)
_AIDER: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_API_BASE": "$URL/v1",
    "OPENAI_API_KEY": KEY,
    "ANTHROPIC_BASE_URL": "$URL",
    "ANTHROPIC_API_KEY": KEY,
}
_LLM: Final = {
    "ANTHROPIC_BASE_URL": "$URL",
    "ANTHROPIC_API_KEY": KEY,
    "OPENAI_API_KEY": KEY,
}
_LLM_MODEL: Final = {
    "model_id": "em",
    "model_name": "gpt-4o",
    "api_base": "$URL/v1",
    "can_stream": True,
    "supports_tools": True,
}


def _sdk(package: str, source: str) -> Client:
    """Return a client that is a few lines over an SDK, with `URL` and `KEY` to use in them."""
    return Client(
        program="sdks/bin/python",
        arguments=("-c", f"URL, KEY = '$URL', '{KEY}'\n{source}"),
        environment={},
        version=("-c", f"from importlib.metadata import version; print(version('{package}'))"),
    )


CLIENTS: Final[Mapping[str, Client]] = {
    "claude-code": Client(
        program=_CLAUDE,
        arguments=("-p", "--allowedTools", "Bash", "--", PROMPT),
        environment=_QUIET_CLAUDE,
        call=ToolCall("Bash", {"command": "echo hi", "description": "Say hi"}),
    ),
    "claude-code-thinking": Client(
        program=_CLAUDE,
        arguments=("-p", "--model", "claude-sonnet-4-5", "--", PROMPT),
        environment={**_QUIET_CLAUDE, "MAX_THINKING_TOKENS": "8000"},
    ),
    "claude-code-search": Client(
        program=_CLAUDE,
        arguments=("-p", "--allowedTools", "WebSearch", "--", PROMPT),
        environment=_QUIET_CLAUDE,
        call=ToolCall("WebSearch", {"query": "earmark budget agents"}),
        kept=frozenset({2}),
    ),
    "claude-code-interactive": Client(
        program=_CLAUDE,
        arguments=(PROMPT,),
        environment={**_QUIET_CLAUDE, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": ""},
        files={".claude.json": json.dumps(_ONBOARDED)},
        ends_after=1,
    ),
    "claude-code-count": Client(
        program=_CLAUDE,
        arguments=("/context",),
        environment=_QUIET_CLAUDE,
        files={".claude.json": json.dumps(_ONBOARDED)},
        kept=frozenset({1}),
        ends_after=1,
    ),
    "codex": Client(
        program=_CODEX,
        arguments=(*_CODEX_EXEC, "-c", 'openai_base_url="$URL/v1"', PROMPT),
        environment={"OPENAI_API_KEY": KEY, "CODEX_API_KEY": KEY},
        call=ToolCall("exec", "text('hi')"),
    ),
    "codex-provider": Client(
        program=_CODEX,
        arguments=(
            *(*_CODEX_EXEC, "-m", "gpt-5.1", "-c", 'model_provider="em"'),
            *("-c", f"model_providers.em={_CODEX_PROVIDER}", PROMPT),
        ),
        environment={"EMK": KEY},
        call=ToolCall("exec_command", {"cmd": "echo hi"}),
    ),
    "aider-chat": Client(
        program="aider/bin/aider",
        arguments=(*_AIDER_OPTIONS, "--model", "openai/gpt-4o", "--message", PROMPT),
        environment=_AIDER,
    ),
    "aider-messages": Client(
        program="aider/bin/aider",
        arguments=(*_AIDER_OPTIONS, "--model", "anthropic/claude-sonnet-4-5", "--message", PROMPT),
        environment=_AIDER,
    ),
    "llm-chat": Client(
        program="llm/bin/llm",
        arguments=("-m", "em", "-T", "llm_version", PROMPT),
        environment=_LLM,
        files={"llm/extra-openai-models.yaml": json.dumps([_LLM_MODEL])},
        call=ToolCall("llm_version", {}),
    ),
    "llm-messages": Client(
        program="llm/bin/llm",
        arguments=("-m", "claude-sonnet-4.5", "-T", "llm_version", PROMPT),
        environment=_LLM,
        call=ToolCall("llm_version", {}),
    ),
    "openai-py-responses": _sdk(
        "openai",
        "from openai import OpenAI\n"
        "client = OpenAI(base_url=URL + '/v1', api_key=KEY)\n"
        "client.responses.create(model='gpt-5', input='say hi', reasoning={'effort': 'low'})",
    ),
    "anthropic-py-stream": _sdk(
        "anthropic",
        "from anthropic import Anthropic\n"
        "ask = dict(model='claude-sonnet-4-5', messages=[{'role': 'user', 'content': 'say hi'}])\n"
        "messages = Anthropic(base_url=URL, api_key=KEY).messages\n"
        "with messages.stream(max_tokens=1024, **ask) as stream:\n"
        "    stream.get_final_text()\n"
        "messages.count_tokens(**ask)",
    ),
    "google-genai": _sdk(
        "google-genai",
        "from google import genai\n"
        "client = genai.Client(api_key=KEY, http_options={'base_url': URL})\n"
        "ask = dict(model='gemini-2.5-flash', contents='say hi')\n"
        "client.models.generate_content(**ask, config={'thinking_config': {'thinking_budget': 64},"
        " 'max_output_tokens': 256, 'system_instruction': 'Be short.'})\n"
        "list(client.models.generate_content_stream(**ask))",
    ),
    "langchain-openai": _sdk(
        "langchain-openai",
        "from langchain_openai import ChatOpenAI\n"
        "model = ChatOpenAI(model='gpt-4o', base_url=URL + '/v1', api_key=KEY)\n"
        "model.invoke('say hi')\n"
        "list(model.stream('say hi'))",
    ),
}
