"""The programs that people run, as they are installed and asked for one answer."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PROMPT: Final = "say hi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program that asks a model, and knows nothing of Earmark."""

    command: Sequence[str]
    """`$CACHE` in it is the folder of installed programs."""
    api: str
    model: str
    version: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    """Files of its home folder, by name."""


_BIN: Final = "$CACHE/node/node_modules/.bin"
_NODE: Final = f"{_BIN}/node"
_SDKS: Final = "$CACHE/sdks/bin/python"
_CLAUDE_OPUS: Final = "claude-opus-5-5"
_SONNET: Final = "claude-sonnet-4-5"
_CODEX_MODEL: Final = "gpt-6.2-sol"
_GPT: Final = "gpt-4o"
_FLASH: Final = "gemini-2.5-flash"
_AIDER: Final = (
    *("$CACHE/aider/bin/aider", "--no-git", "--yes-always", "--no-check-update"),
    *("--no-show-model-warnings", "--analytics-disable", "--no-pretty", "--map-tokens", "0"),
    *("--no-gitignore", "--message", PROMPT, "--model"),
)
_ASKED: Final = f'[{{"role": "user", "content": "{PROMPT}"}}]'


def _python(package: str, api: str, model: str, source: str) -> Program:
    """Return a few lines over a Python SDK."""
    return Program(
        command=(_SDKS, "-c", source),
        api=api,
        model=model,
        version=(_SDKS, "-c", f"import importlib.metadata as m; print(m.version('{package}'))"),
    )


def _node(package: str, api: str, model: str, source: str) -> Program:
    """Return a few lines over an SDK for Node."""
    return Program(
        # Modules of CommonJS are found by NODE_PATH, the others are not.
        command=(_NODE, "-e", f"(async () => {{\n{source}\n}})()"),
        api=api,
        model=model,
        version=(
            *(_NODE, "-p"),
            f"JSON.parse(fs.readFileSync('$CACHE/node/node_modules/{package}/package.json')).version",
        ),
    )


PROGRAMS: Final[Mapping[str, Program]] = {
    "Claude Code": Program(
        command=(f"{_BIN}/claude", "-p", PROMPT),
        api="Messages",
        model=_CLAUDE_OPUS,
        version=(f"{_BIN}/claude", "--version"),
        environment={"IS_SANDBOX": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
    ),
    "Codex": Program(
        command=(f"{_BIN}/codex", "exec", "--skip-git-repo-check", PROMPT),
        api="Responses",
        model=_CODEX_MODEL,
        version=(f"{_BIN}/codex", "--version"),
    ),
    "aider, OpenAI": Program(
        command=(*_AIDER, f"openai/{_GPT}"),
        api="Chat Completions",
        model=_GPT,
        version=("$CACHE/aider/bin/aider", "--version"),
        environment={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    ),
    "aider, Anthropic": Program(
        command=(*_AIDER, f"anthropic/{_SONNET}"),
        api="Messages",
        model=_SONNET,
        version=("$CACHE/aider/bin/aider", "--version"),
        environment={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    ),
    "aider, Gemini": Program(
        command=(*_AIDER, f"gemini/{_FLASH}"),
        api="Gemini",
        model=_FLASH,
        version=("$CACHE/aider/bin/aider", "--version"),
        environment={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    ),
    "llm, OpenAI": Program(
        command=("$CACHE/llm/bin/llm", "-m", "chat", PROMPT),
        api="Chat Completions",
        model=_GPT,
        version=("$CACHE/llm/bin/llm", "--version"),
        files={
            "llm/extra-openai-models.yaml": json.dumps(
                [{"model_id": "chat", "model_name": _GPT, "api_key_name": "openai"}]
            )
        },
    ),
    "llm, Anthropic": Program(
        command=("$CACHE/llm/bin/llm", "-m", "claude-sonnet-4.5", PROMPT),
        api="Messages",
        model=_SONNET,
        version=("$CACHE/llm/bin/llm", "--version"),
    ),
    "openai (Python)": _python(
        "openai",
        "Chat Completions",
        _GPT,
        "import openai\n"
        f"reply = openai.OpenAI().chat.completions.create(model='{_GPT}', messages={_ASKED})\n"
        "print(reply.choices[0].message.content)",
    ),
    "openai (Python), Responses": _python(
        "openai",
        "Responses",
        _GPT,
        "import openai\n"
        f"reply = openai.OpenAI().responses.create(model='{_GPT}', input='{PROMPT}')\n"
        "print(reply.output_text)",
    ),
    "anthropic (Python)": _python(
        "anthropic",
        "Messages",
        _SONNET,
        "import anthropic\n"
        "client = anthropic.Anthropic()\n"
        f"ask = dict(model='{_SONNET}', max_tokens=1024, messages={_ASKED})\n"
        "print(client.messages.create(**ask).content[0].text)",
    ),
    "google-genai (Python)": _python(
        "google-genai",
        "Gemini",
        _FLASH,
        "from google import genai\n"
        "client = genai.Client()\n"
        f"print(client.models.generate_content(model='{_FLASH}', contents='{PROMPT}').text)",
    ),
    "openai (Node)": _node(
        "openai",
        "Chat Completions",
        _GPT,
        "const client = new (require('openai').OpenAI)();\n"
        f"const ask = {{model: '{_GPT}', messages: {_ASKED}}};\n"
        "const reply = await client.chat.completions.create(ask);\n"
        "console.log(reply.choices[0].message.content);",
    ),
    "anthropic (Node)": _node(
        "@anthropic-ai/sdk",
        "Messages",
        _SONNET,
        "const client = new (require('@anthropic-ai/sdk').Anthropic)();\n"
        f"const ask = {{model: '{_SONNET}', max_tokens: 1024, messages: {_ASKED}}};\n"
        "console.log((await client.messages.create(ask)).content[0].text);",
    ),
}

_NPM: Final = (
    *("@anthropic-ai/claude-code@latest", "@openai/codex", "openai", "@anthropic-ai/sdk", "node"),
)
_VENVS: Final[Mapping[str, Sequence[str]]] = {
    "sdks": ("openai", "anthropic", "google-genai"),
    "llm": ("llm", "llm-anthropic"),
    "aider": ("aider-chat",),
}


def install(cache: Path) -> None:
    """Install what is not in the folder *cache* yet, from npm and PyPI."""
    node = cache / "node"
    if not (node / "done").exists():
        node.mkdir(parents=True, exist_ok=True)
        (node / "package.json").write_text('{"private": true}')
        _run("npm", "install", "--no-audit", "--no-fund", "--silent", *_NPM, folder=node)
        # What npm leaves to the owner of a folder: scripts that put a program in its place.
        _run("node", "installArchSpecificPackage", folder=node / "node_modules/node")
        _run("node", "install.cjs", folder=node / "node_modules/@anthropic-ai/claude-code")
        (node / "done").touch()
    for name, packages in _VENVS.items():
        venv = cache / name
        if not (venv / "done").exists():
            _run(sys.executable, "-m", "venv", str(venv), folder=cache)
            pip = (str(venv / "bin/python"), "-m", "pip", "install", "--quiet")
            _run(*pip, "--disable-pip-version-check", *packages, folder=cache)
            (venv / "done").touch()


def _run(*command: str, folder: Path) -> None:
    sys.stderr.write(f"{' '.join(command)[:100]}\n")
    subprocess.run(command, cwd=folder, check=True)
