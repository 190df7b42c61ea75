"""Installs the programs of the table, each kind in a folder of its own."""

import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

_NPM: Final[Mapping[str, Sequence[str]]] = {
    "node-sdks": ("openai@latest", "@anthropic-ai/sdk@latest", "node@latest"),
    "node": ("@anthropic-ai/claude-code@latest", "@openai/codex@latest", "node@latest"),
}
_VENVS: Final[Mapping[str, Sequence[str]]] = {
    "sdks": ("openai", "anthropic", "google-genai"),
    "llm": ("llm", "llm-anthropic"),
    "aider": ("aider-chat",),
}
#: What npm leaves to the owner of a folder: scripts that put a program in its place.
_SCRIPTS: Final = {
    "node": "installArchSpecificPackage",
    "@anthropic-ai/claude-code": "install.cjs",
}
ALL: Final = (*_VENVS, *_NPM)
#: What the suite runs: small, and quickly installed.
SMALL: Final = ("sdks", "llm", "node-sdks")


def install(cache: Path, kinds: Iterable[str] = ALL) -> None:
    """Install what is not in the folder *cache* yet, from npm and PyPI.

    Raises:
        CalledProcessError: It cannot be had.
    """
    cache.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        folder = cache / kind
        if (folder / "done").exists():
            continue
        if kind in _VENVS:
            _run(sys.executable, "-m", "venv", str(folder), folder=cache)
            pip = (str(folder / "bin/python"), "-m", "pip", "install", "--quiet")
            _run(*pip, "--disable-pip-version-check", *_VENVS[kind], folder=cache)
        else:
            folder.mkdir(exist_ok=True)
            (folder / "package.json").write_text('{"private": true}')
            _run(
                "npm", "install", "--no-audit", "--no-fund", "--silent", *_NPM[kind], folder=folder
            )
            for package, script in _SCRIPTS.items():
                place = folder / "node_modules" / package
                if (place / script).exists() or (place / f"{script}.js").exists():
                    _run("node", script, folder=place)
        (folder / "done").touch()


def _run(*command: str, folder: Path) -> None:
    sys.stderr.write(f"{' '.join(command)[:100]}\n")
    subprocess.run(command, cwd=folder, check=True)


if __name__ == "__main__":
    install(Path(sys.argv[1]).resolve(), sys.argv[2:] or SMALL)
