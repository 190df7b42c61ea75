"""The environment and arguments by which a command sends its model requests to a gateway. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final
from urllib.parse import urlsplit

from earmark.config.values import is_loopback

CLAUDE_CODE: Final = "claude"
CODEX: Final = "codex"

#: Programs that start the program their first argument names, and the packages of those that are
#: known here.
_RUNNERS: Final = frozenset({"npx", "bunx", "pnpx"})
_PACKAGES: Final[Mapping[str, str]] = {
    "@anthropic-ai/claude-code": CLAUDE_CODE,
    "@openai/codex": CODEX,
}

#: Credentials of providers, addresses that clients prefer to those that are set here, and switches
#: to other providers: none of them is in a command's environment. Each with where it is read.
_TAKEN_OUT: Final = frozenset(
    {
        # openai 3.57 (Python): lib/_client_auth.py, lib/_module_runtime.py, lib/azure.py,
        # lib/bedrock.py; openai 7.59 (Node): client.js, azure.js.
        *("OPENAI_ADMIN_KEY", "OPENAI_API_TYPE", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN"),
        *("AZURE_OPENAI_ENDPOINT", "AWS_BEARER_TOKEN_BEDROCK", "AWS_BEDROCK_BASE_URL"),
        # Codex 0.171: the strings of its program.
        *("CODEX_API_KEY", "CODEX_ACCESS_TOKEN"),
        # anthropic 1.17 and 2.14 (Python): _client.py, lib/; Claude Code 2.1.332: the strings of
        # its program. One of the two keys is set again.
        *("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_UNIX_SOCKET"),
        *("ANTHROPIC_PROFILE", "ANTHROPIC_IDENTITY_TOKEN", "ANTHROPIC_IDENTITY_TOKEN_FILE"),
        *("ANTHROPIC_FEDERATION_RULE_ID", "ANTHROPIC_SERVICE_ACCOUNT_ID"),
        *("ANTHROPIC_ENVIRONMENT_KEY", "ANTHROPIC_WORK_SECRET"),
        *("ANTHROPIC_AWS_API_KEY", "ANTHROPIC_AWS_BASE_URL"),
        *("ANTHROPIC_BEDROCK_BASE_URL", "ANTHROPIC_BEDROCK_MANTLE_API_KEY"),
        *("ANTHROPIC_BEDROCK_MANTLE_BASE_URL", "ANTHROPIC_VERTEX_BASE_URL"),
        *("ANTHROPIC_GOOGLE_CLOUD_BASE_URL", "ANTHROPIC_FOUNDRY_API_KEY"),
        *("ANTHROPIC_FOUNDRY_BASE_URL", "ANTHROPIC_FOUNDRY_RESOURCE"),
        *("CLAUDE_CODE_API_BASE_URL", "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR"),
        *("CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR"),
        *("CLAUDE_CODE_OAUTH_REFRESH_TOKEN", "CLAUDE_CODE_USE_ANTHROPIC_AWS"),
        *("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_FOUNDRY", "CLAUDE_CODE_USE_GATEWAY"),
        *("CLAUDE_CODE_USE_MANTLE", "CLAUDE_CODE_USE_VERTEX"),
        # google-genai 3.6: _api_client.py (GOOGLE_API_KEY wins over GEMINI_API_KEY), _base_url.py;
        # the last two: Gemini CLI 0.61, Vercel's AI SDK.
        *("GOOGLE_API_KEY", "GOOGLE_GENAI_USE_ENTERPRISE", "GOOGLE_GENAI_USE_VERTEXAI"),
        *("GOOGLE_VERTEX_BASE_URL", "GOOGLE_GENAI_USE_GCA", "GOOGLE_GENERATIVE_AI_API_KEY"),
        # litellm 1.81, by which aider and others ask: main.py, utils.py.
        *("ANTHROPIC_API_BASE", "AZURE_API_BASE", "AZURE_API_KEY", "AZURE_AD_TOKEN"),
        *("AI21_API_KEY", "ALEPH_ALPHA_API_KEY", "ANYSCALE_API_KEY", "BASETEN_API_KEY"),
        *("CEREBRAS_API_KEY", "CLOUDFLARE_API_KEY", "CODESTRAL_API_KEY", "COHERE_API_KEY"),
        *("CO_API_KEY", "DASHSCOPE_API_KEY", "DATAROBOT_API_TOKEN", "DEEPINFRA_API_KEY"),
        *("DEEPSEEK_API_KEY", "FEATHERLESS_AI_API_KEY", "FIREWORKSAI_API_KEY"),
        *("FIREWORKS_AI_API_KEY", "FIREWORKS_AI_TOKEN", "FIREWORKS_API_KEY", "GROQ_API_KEY"),
        *("HUGGINGFACE_API_KEY", "HYPERBOLIC_API_KEY", "INFINITY_API_KEY", "MINIMAX_API_KEY"),
        *("MISTRAL_API_KEY", "MOONSHOT_API_KEY", "NEBIUS_API_KEY", "NLP_CLOUD_API_KEY"),
        *("NOVITA_API_KEY", "NVIDIA_API_KEY", "NVIDIA_NIM_API_KEY", "OPENROUTER_API_KEY"),
        *("PALM_API_KEY", "PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY", "REPLICATE_API_KEY"),
        *("REPLICATE_API_TOKEN", "SAMBANOVA_API_KEY", "TOGETHERAI_API_KEY", "TOGETHER_AI_TOKEN"),
        *("TOGETHER_API_KEY", "VOLCENGINE_API_KEY", "VOYAGE_API_KEY", "XAI_API_KEY"),
        *("ZAI_API_KEY", "ZHIPUAI_API_KEY", "LITELLM_API_KEY", "LITELLM_PROXY_API_KEY"),
        # Vercel's AI SDK and OpenCode.
        *("AI_GATEWAY_API_KEY", "VERCEL_AI_GATEWAY_API_KEY", "OPENCODE_API_KEY"),
    }
)
#: Headers that SDKs add to each request, by the variable; one of a credential would win.
_CUSTOM_HEADERS: Final = ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS")
_CREDENTIAL_HEADERS: Final = frozenset({"authorization", "x-api-key", "api-key", "x-goog-api-key"})
#: Settings of Earmark; the store's may hold a password.
_OWN: Final = "EARMARK_"
_PROXIES: Final = frozenset({"http_proxy", "https_proxy", "all_proxy"})
_NO_PROXY: Final = ("NO_PROXY", "no_proxy")


@dataclass(frozen=True, slots=True)
class ClientCommand:
    """A command, as it is started."""

    arguments: Sequence[str]
    """Its program first."""
    environment: Mapping[str, str] = field(repr=False)


def client_command(
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    url: str,
    token: str,
    secrets: Collection[str] = (),
) -> ClientCommand:
    """Return *command* such that its model requests go to a gateway.

    Args:
        command: Its program and arguments.
        environ: The environment that it would have.
        url: The gateway's, without a slash at its end.
        token: What the gateway takes for a key; in the environment alone, for arguments are seen by
            every user of a machine.
        secrets: Names of further variables that the command may not have.
    """
    taken_out = _TAKEN_OUT.union(secrets)
    environment = {
        name: value
        for name, value in environ.items()
        if name not in taken_out and not name.startswith(_OWN)
    }
    for name in _CUSTOM_HEADERS:
        if name in environment:
            environment[name] = _without_credentials(environment[name])
    program, place = program_of(command)
    environment |= {
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_BASE": f"{url}/v1",
        "OPENAI_API_KEY": token,
        "ANTHROPIC_BASE_URL": url,
        # Claude Code asks whether it may use an ANTHROPIC_API_KEY, also beside the other; every
        # other program reads that one, and many read no other.
        "ANTHROPIC_AUTH_TOKEN" if program == CLAUDE_CODE else "ANTHROPIC_API_KEY": token,
        "GOOGLE_GEMINI_BASE_URL": url,
        "GEMINI_API_BASE": f"{url}/v1beta",
        "GEMINI_API_KEY": token,
    }
    environment |= _no_proxy(environment, urlsplit(url).hostname or "")
    own = _codex_options(url) if program == CODEX else ()
    return ClientCommand([*command[:place], *own, *command[place:]], environment)


def program_of(command: Sequence[str]) -> tuple[str, int]:
    """Return the program that *command* starts, and where in it the program's options begin."""
    name = PurePath(command[0]).name
    if name in _RUNNERS:
        for place, argument in enumerate(command[1:], 1):
            if not argument.startswith("-"):
                # `@scope/name@version`
                package = argument[:1] + argument[1:].partition("@")[0]
                return _PACKAGES.get(package, package), place + 1
    return name, 1


def _codex_options(url: str) -> Sequence[str]:
    # It reads no address from the environment. A provider of our own, and not another address of
    # its own one, for that would ask for a login at a terminal, use a subscription's where there is
    # one, and try a websocket first.
    provider = (
        f'{{name="Earmark",base_url="{url}/v1",env_key="OPENAI_API_KEY",wire_api="responses"}}'
    )
    return ("-c", 'model_provider="earmark"', "-c", f"model_providers.earmark={provider}")


def _without_credentials(headers: str) -> str:
    lines = headers.split("\n")
    return "\n".join(
        line for line in lines if line.partition(":")[0].strip().lower() not in _CREDENTIAL_HEADERS
    )


def _no_proxy(environment: Mapping[str, str], host: str) -> Mapping[str, str]:
    """Return the variables by which a gateway on this machine is asked without a proxy."""
    if not is_loopback(host) or not any(name.lower() in _PROXIES for name in environment):
        return {}
    hosts = dict.fromkeys(
        part.strip() for name in _NO_PROXY for part in environment.get(name, "").split(",")
    )
    hosts.pop("", None)
    return dict.fromkeys(_NO_PROXY, ",".join([*hosts, *({} if host in hosts else [host])]))
