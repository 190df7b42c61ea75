"""The programs that people run: how each is installed, and asked for one answer."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

Mode = Literal["plain", "stream", "cancel", "fan"]
PROMPT: Final = "say hi"
_AT_TERMINAL: Final = ("stream", "refused", "cancelled", "client killed")
SCRIPTS: Final = Path(__file__).parent / "scripts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program that asks a model, and knows nothing of Earmark."""

    commands: Mapping[Mode, Sequence[str]]
    """`$CACHE` in it is the folder of installed programs. Without `cancel` it is interrupted, and
    without `fan` four of it are started at once."""
    api: str
    model: str
    version: Sequence[str]
    needs: str
    """What of `install` it takes."""
    module: str = ""
    """Of a Python SDK."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    """Files of its home folder, by name."""
    fan_cap: str = ""
    """USD for four at once: about one call's hold, so that they line up."""
    at_terminal: bool = False
    """Whether it runs at a terminal, and goes on after its answer; Esc stops it there."""

    def is_brought_into(self, situation: str) -> bool:
        """Return whether it is tried there; at a terminal only what differs there is."""
        return not self.at_terminal or situation in _AT_TERMINAL


_BIN: Final = "$CACHE/node/node_modules/.bin"
_PYTHON: Final = "$CACHE/sdks/bin/python"
_SDK_NODE: Final = "$CACHE/node-sdks/node_modules"
_CLAUDE_OPUS: Final = "claude-opus-5-5"
_SONNET: Final = "claude-sonnet-4-5"
_CODEX_MODEL: Final = "gpt-6.2-sol"
_GPT: Final = "gpt-4o"
_FLASH: Final = "gemini-2.5-flash"


def _python(package: str, script: str, api: str, model: str) -> Program:
    """Return a few lines over a Python SDK."""
    return Program(
        commands={
            mode: (_PYTHON, str(SCRIPTS / f"{script}.py"), mode)
            for mode in ("plain", "stream", "cancel", "fan")
        },
        api=api,
        model=model,
        version=(_PYTHON, "-c", f"import importlib.metadata as m; print(m.version('{package}'))"),
        needs="sdks",
        module=package.replace("google-genai", "google"),
    )


def _node(package: str, script: str, api: str, model: str) -> Program:
    """Return a few lines over an SDK for Node."""
    node = f"{_SDK_NODE}/.bin/node"
    return Program(
        # Modules of CommonJS are found by NODE_PATH, the others are not.
        commands={
            mode: (node, str(SCRIPTS / f"{script}.cjs"), mode)
            for mode in ("plain", "stream", "cancel", "fan")
        },
        api=api,
        model=model,
        version=(
            *(node, "-p"),
            f"JSON.parse(fs.readFileSync('{_SDK_NODE}/{package}/package.json')).version",
        ),
        needs="node-sdks",
    )


def _aider(api: str, model: str, fan_cap: str) -> Program:
    """Return aider, asked once over LiteLLM."""
    command = (
        *("$CACHE/aider/bin/aider", "--no-git", "--yes-always", "--no-check-update"),
        *("--no-show-model-warnings", "--analytics-disable", "--no-pretty", "--map-tokens", "0"),
        *("--no-gitignore", "--message", PROMPT, "--model", model),
    )
    return Program(
        commands={"plain": (*command, "--no-stream"), "stream": command},
        api=api,
        model=model.partition("/")[2],
        version=("$CACHE/aider/bin/aider", "--version"),
        needs="aider",
        environment={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        fan_cap=fan_cap,
    )


def _llm(api: str, model: str, name: str, fan_cap: str) -> Program:
    """Return the program `llm`."""
    llm = "$CACHE/llm/bin/llm"
    chat = [{"model_id": "chat", "model_name": _GPT, "api_key_name": "openai"}]
    return Program(
        commands={
            "plain": (llm, "--no-stream", "-m", name, PROMPT),
            "stream": (llm, "-m", name, PROMPT),
        },
        api=api,
        model=model,
        version=(llm, "--version"),
        needs="llm",
        files={"llm/extra-openai-models.yaml": json.dumps(chat)},
        fan_cap=fan_cap,
    )


#: As after its first start: what it asks once is answered.
_CLAUDE_BEGUN: Final = {
    "hasCompletedOnboarding": True,
    "projects": {"$PROJECT": {"hasTrustDialogAccepted": True}},
}
_PARTS: Final = ("--output-format", "stream-json", "--include-partial-messages", "--verbose")
PROGRAMS: Final[Mapping[str, Program]] = {
    "Claude Code": Program(
        commands={
            "plain": (f"{_BIN}/claude", "-p", PROMPT),
            "stream": (f"{_BIN}/claude", "-p", *_PARTS, PROMPT),
        },
        api="Messages",
        model=_CLAUDE_OPUS,
        version=(f"{_BIN}/claude", "--version"),
        needs="node",
        environment={"IS_SANDBOX": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
        fan_cap="3",
    ),
    "Codex": Program(
        commands={"stream": (f"{_BIN}/codex", "exec", "--skip-git-repo-check", PROMPT)},
        api="Responses",
        model=_CODEX_MODEL,
        version=(f"{_BIN}/codex", "--version"),
        needs="node",
        fan_cap="1",
    ),
    "Claude Code, terminal": Program(
        commands={"stream": (f"{_BIN}/claude", PROMPT)},
        api="Messages",
        model=_CLAUDE_OPUS,
        version=(f"{_BIN}/claude", "--version"),
        needs="node",
        environment={"IS_SANDBOX": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
        files={".claude.json": json.dumps(_CLAUDE_BEGUN)},
        at_terminal=True,
    ),
    "Codex, terminal": Program(
        commands={"stream": (f"{_BIN}/codex", PROMPT)},
        api="Responses",
        model=_CODEX_MODEL,
        version=(f"{_BIN}/codex", "--version"),
        needs="node",
        files={".codex/config.toml": '[projects."$PROJECT"]\ntrust_level = "trusted"\n'},
        at_terminal=True,
    ),
    "aider, OpenAI": _aider("Chat Completions", f"openai/{_GPT}", "0.3"),
    "aider, Anthropic": _aider("Messages", f"anthropic/{_SONNET}", "1.2"),
    "aider, Gemini": _aider("Gemini", f"gemini/{_FLASH}", "0.3"),
    "llm, OpenAI": _llm("Chat Completions", _GPT, "chat", "0.3"),
    "llm, Anthropic": _llm("Messages", _SONNET, "claude-sonnet-4.5", "1.2"),
    "openai (Python)": _python("openai", "openai_chat", "Chat Completions", _GPT),
    "openai (Python), Responses": _python("openai", "openai_responses", "Responses", _GPT),
    "anthropic (Python)": _python("anthropic", "anthropic_messages", "Messages", _SONNET),
    "google-genai (Python)": _python("google-genai", "google_genai", "Gemini", _FLASH),
    "openai (Node)": _node("openai", "openai_chat", "Chat Completions", _GPT),
    "openai (Node), Responses": _node("openai", "openai_responses", "Responses", _GPT),
    "anthropic (Node)": _node("@anthropic-ai/sdk", "anthropic_messages", "Messages", _SONNET),
}


def environment_of(program: Program, cache: Path, home: Path) -> dict[str, str]:
    """Return the variables that a program has by itself: nothing of this user's."""
    return {
        "HOME": str(home),
        "PATH": f"{cache}/node/node_modules/.bin:/usr/bin:/bin",
        "NODE_PATH": f"{cache}/node-sdks/node_modules",
        "LLM_USER_PATH": str(home / "llm"),
        "TERM": "xterm",
        "LANG": "C.UTF-8",
        "USER": "dev",
        **program.environment,
    }


def filled(command: Sequence[str], cache: Path) -> list[str]:
    """Return *command* with the folder of installed programs in it."""
    installed = (cache / "sdks" / "done").exists()
    python = _PYTHON.replace("$CACHE", str(cache)) if installed else sys.executable
    return [python if each == _PYTHON else each.replace("$CACHE", str(cache)) for each in command]


def missing(program: Program, cache: Path) -> str:
    """Return why *program* cannot be run; empty if it can."""
    if (cache / program.needs / "done").exists():
        return ""
    # The tests themselves have two of the SDKs.
    if program.needs == "sdks" and find_spec(program.module) is not None:
        return ""
    return f"{program.needs} is not in {cache.name}: `make clients-installed`"
