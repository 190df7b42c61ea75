"""A command's environment and arguments: its requests come to the gateway, with no key beside."""

import tomllib
from collections.abc import Mapping

import pytest

from earmark.gateway.client_environment import client_command, program_of

URL = "http://127.0.0.1:4000"
TOKEN = "emk_token"  # noqa: S105 - no token of anybody's
#: Of a developer who uses everything: each value that begins with `sk` is a key.
DEVELOPER = {
    "PATH": "/usr/bin",
    "HOME": "/srv/dev",
    "OPENAI_API_KEY": "sk-openai",
    "OPENAI_BASE_URL": "https://elsewhere.example",
    "OPENAI_ADMIN_KEY": "sk-admin",
    "CODEX_API_KEY": "sk-codex",
    "ANTHROPIC_API_KEY": "sk-anthropic",
    "ANTHROPIC_AUTH_TOKEN": "sk-auth",
    "ANTHROPIC_API_BASE": "https://elsewhere.example",
    "CLAUDE_CODE_OAUTH_TOKEN": "sk-subscription",
    "CLAUDE_CODE_USE_BEDROCK": "1",
    "CLAUDE_CODE_USE_VERTEX": "1",
    "AWS_BEARER_TOKEN_BEDROCK": "sk-bedrock",
    "AZURE_OPENAI_API_KEY": "sk-azure",
    "AZURE_API_KEY": "sk-azure",
    "GOOGLE_API_KEY": "sk-google",
    "GEMINI_API_KEY": "sk-gemini",
    "GOOGLE_GENAI_USE_VERTEXAI": "true",
    "GROQ_API_KEY": "sk-groq",
    "OPENROUTER_API_KEY": "sk-openrouter",
    "EARMARK_STORE": "postgresql://me:sk-password@host/books",
    "MY_OWN_KEY": "sk-own",
}


def environment(*command: str, **variables: str) -> Mapping[str, str]:
    """Return what the command has in its environment."""
    environ = {**DEVELOPER, **variables}
    found = client_command(command, environ, url=URL, token=TOKEN, secrets={"MY_OWN_KEY"})
    return found.environment


@pytest.mark.parametrize("program", ["claude", "codex", "aider", "llm", "python", "npx"])
def test_no_key_of_a_provider_is_left(program: str) -> None:
    """Nothing of a key, of another address or of a switch to another provider is there."""
    found = environment(program)
    assert [name for name, value in found.items() if "sk" in value] == []
    assert [name for name, value in found.items() if "elsewhere" in value] == []
    assert [name for name in found if name.startswith(("CLAUDE_CODE_USE", "EARMARK"))] == []
    assert "GOOGLE_GENAI_USE_VERTEXAI" not in found
    assert (found["PATH"], found["HOME"]) == ("/usr/bin", "/srv/dev")


def test_clients_find_the_gateway() -> None:
    """The SDKs of three makers, and litellm, have its address and the token in their variables."""
    found = environment("python", "agent.py")
    assert {name: found[name] for name in found.keys() - {"PATH", "HOME"}} == {
        "OPENAI_BASE_URL": f"{URL}/v1",
        "OPENAI_API_BASE": f"{URL}/v1",
        "OPENAI_API_KEY": TOKEN,
        "ANTHROPIC_BASE_URL": URL,
        "ANTHROPIC_API_KEY": TOKEN,
        "GOOGLE_GEMINI_BASE_URL": URL,
        "GEMINI_API_BASE": f"{URL}/v1beta",
        "GEMINI_API_KEY": TOKEN,
    }


@pytest.mark.parametrize(
    "command",
    [
        ("claude", "-p", "hi"),
        ("/opt/bin/claude",),
        ("npx", "@anthropic-ai/claude-code", "-p", "hi"),
        ("npx", "-y", "@anthropic-ai/claude-code@2.1.332"),
        ("bunx", "claude"),
    ],
)
def test_claude_code_asks_nothing(command: tuple[str, ...]) -> None:
    """It gets the one variable of the two about which it does not ask, and that one alone."""
    found = environment(*command)
    assert found["ANTHROPIC_AUTH_TOKEN"] == TOKEN
    assert "ANTHROPIC_API_KEY" not in found


@pytest.mark.parametrize("command", [("claude-squad",), ("npx", "claude-flow"), ("npx",), ("sh",)])
def test_other_programs_get_the_key_that_they_read(command: tuple[str, ...]) -> None:
    """Many of them read ANTHROPIC_API_KEY alone."""
    found = environment(*command)
    assert found["ANTHROPIC_API_KEY"] == TOKEN
    assert "ANTHROPIC_AUTH_TOKEN" not in found


@pytest.mark.parametrize(
    ("command", "place"),
    [
        (["codex", "exec", "say hi"], 1),
        (["/usr/local/bin/codex"], 1),
        (["npx", "-y", "@openai/codex@latest", "exec"], 3),
    ],
)
def test_codex_gets_a_provider_of_its_own(command: list[str], place: int) -> None:
    """It reads no address from the environment; the token is in no argument."""
    found = client_command(command, {}, url=URL, token=TOKEN)
    options = found.arguments[place : place + 4]
    assert [*found.arguments[:place], *found.arguments[place + 4 :]] == command
    assert list(options[::2]) == ["-c", "-c"]
    read = tomllib.loads("\n".join(options[1::2]))
    provider = read["model_providers"][read["model_provider"]]
    assert (provider["base_url"], provider["wire_api"]) == (f"{URL}/v1", "responses")
    assert found.environment[provider["env_key"]] == TOKEN
    assert TOKEN not in " ".join(found.arguments)


def test_a_token_is_shown_nowhere() -> None:
    """Neither arguments, which every user of a machine sees, nor a message have it."""
    for program in ("claude", "codex", "python"):
        found = client_command([program, "x"], {}, url=URL, token=TOKEN)
        assert TOKEN not in " ".join(found.arguments)
        assert TOKEN not in repr(found)


def test_headers_of_an_sdk_carry_no_other_key() -> None:
    """What a variable adds to every request stays, but for credentials: they would win."""
    headers = "X-Team: blue\nauthorization: Bearer sk-other\nX-API-Key: sk-other"
    found = environment("python", OPENAI_CUSTOM_HEADERS=headers)
    assert found["OPENAI_CUSTOM_HEADERS"] == "X-Team: blue"


@pytest.mark.parametrize(
    ("variables", "without_proxy"),
    [
        ({}, None),
        ({"NO_PROXY": "corp.example"}, "corp.example"),
        ({"HTTPS_PROXY": "http://proxy"}, "127.0.0.1"),
        ({"http_proxy": "http://proxy", "no_proxy": "a.example, b.example"}, None),
        ({"ALL_PROXY": "http://proxy", "NO_PROXY": "127.0.0.1,x"}, "127.0.0.1,x"),
    ],
)
def test_a_gateway_on_this_machine_is_asked_without_a_proxy(
    variables: dict[str, str], without_proxy: str | None
) -> None:
    """Where the environment has a proxy; what it excepted before stays excepted."""
    found = environment("python", **variables)
    if "no_proxy" in variables:
        without_proxy = "a.example,b.example,127.0.0.1"
        assert found["no_proxy"] == without_proxy
    assert found.get("NO_PROXY") == without_proxy


def test_a_team_s_gateway_is_asked_as_the_environment_says() -> None:
    """A proxy that leads to another machine is used."""
    environ = {"HTTPS_PROXY": "http://proxy"}
    found = client_command(["python"], environ, url="https://gateway.example", token=TOKEN)
    assert "NO_PROXY" not in found.environment


def test_a_program_is_known_by_its_name() -> None:
    """By that of its file, or of the package that a runner starts."""
    assert program_of(["/a/b/codex", "exec"]) == ("codex", 1)
    assert program_of(["npx", "--yes", "@openai/codex"]) == ("codex", 3)
    assert program_of(["npx", "--yes"]) == ("npx", 1)
