"""A real `earmark gateway` in a process of its own, which dies where a test wants it to.

As a program: `python -m support.dying_gateway STEP ARGUMENTS…` runs `earmark ARGUMENTS…` and is
killed, as by `kill -9`, once a call is at STEP, a name of `STEPS`.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from support.last_resort import LAST_RESORT_S
from support.served import EARMARK, environment

KEY: Final = "sk-the-providers-own"
_TESTS: Final = str(Path(__file__).parents[1])


@contextmanager
def gateway_process(
    folder: Path, store: str, stub_url: str, *, dies_at: str = ""
) -> Generator[tuple["subprocess.Popen[str]", str]]:
    """Give a process over *store*, and its URL; killed in the end if it is still there."""
    (folder / "earmark.toml").write_text(
        f'[providers.openai]\napi = "openai"\nbase_url = "{stub_url}/v1"\n'
        'api_key_env = "OPENAI_API_KEY"\n',
        "utf-8",
    )
    own = [sys.executable, "-m", "support.dying_gateway", dies_at] if dies_at else EARMARK
    options = ["gateway", "--config", "earmark.toml", "--store", store, "--port", "0", "--json"]
    with (folder / "gateway.err").open("a") as errors:
        process = subprocess.Popen(
            [*own, *options],
            cwd=folder,
            env=environment() | {"OPENAI_API_KEY": KEY, "PYTHONPATH": _TESTS},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    try:
        said = ""
        while not said.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, (folder / "gateway.err").read_text()
            said += line
        yield process, str(json.loads(said)["url"])
    finally:
        process.kill()
        process.wait(LAST_RESORT_S)
        process.stdout.close()


def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _held() -> None:
    from earmark.gateway import call

    call._send = _die  # type: ignore[assignment]


def _answered() -> None:
    from earmark.gateway import call

    call.pass_stream = _die  # type: ignore[assignment]


def _read() -> None:
    from earmark.gateway import stream

    stream._settle = _die  # type: ignore[assignment]


def _settled() -> None:
    from earmark.gateway import stream

    settle: Callable[..., Any] = stream._settle  # pyright: ignore[reportPrivateUsage]

    async def settle_and_die(ticket: object) -> None:
        await settle(ticket)
        _die()

    stream._settle = settle_and_die  # type: ignore[assignment]


#: Between which two steps of a streamed call the process ends.
STEPS: Final[Mapping[str, Callable[[], None]]] = {
    "held, not sent": _held,
    "answered, nothing passed": _answered,
    "passed, not settled": _read,
    "settled, not said": _settled,
}


if __name__ == "__main__":
    from earmark.cli.main import main

    STEPS[sys.argv[1]]()
    sys.argv[1:] = sys.argv[2:]
    sys.exit(main())
