"""One process of a client, in a home of its own: by itself, or at a terminal that tmux plays."""

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from earmark.gateway.client_environment import client_command
from support.last_resort import LAST_RESORT_S, until
from tests.clients.place import Scene
from tests.clients.programs import Mode, Program, environment_of, filled

#: What both of the programs that are run at a terminal say after Esc.
_INTERRUPTED: Final = "nterrupted"
_WIDE: Final = ("-x", "300", "-y", "60")


class Running(Protocol):
    """A client that runs."""

    def ended(self) -> bool:
        """Return whether it has ended."""
        ...

    def interrupt(self) -> None:
        """Do what its user does to stop it; returns once it stopped."""
        ...

    def wait_until_ended(self) -> None:
        """Return once it has ended by itself."""
        ...

    def kill(self) -> None:
        """End it as a power cut does."""
        ...

    def wait(self, shown: Callable[[str], bool]) -> tuple[int, str]:
        """Return its exit code and what it said, once it has ended.

        A program that waits for more input is ended once what it shows is enough for *shown*.
        """
        ...


def start(program: Program, mode: Mode, scene: Scene, cache: Path) -> Running:
    """Start it, its requests sent to the gateway as `earmark exec` has them sent."""
    folder = tempfile.TemporaryDirectory()
    home, project = Path(folder.name) / "home", Path(folder.name) / "project"
    home.mkdir()
    project.mkdir()
    for name, text in program.files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text.replace("$PROJECT", str(project)), "utf-8")
    made = client_command(
        filled(program.commands[mode], cache),
        environment_of(program, cache, home),
        url=scene.place.url,
        token=scene.token,
    )
    kind = _AtTerminal if program.at_terminal else _ByItself
    return kind(made.arguments, dict(made.environment), folder)


class _ByItself:
    """A process without a terminal, which ends by itself."""

    def __init__(
        self,
        command: Sequence[str],
        environment: dict[str, str],
        folder: "tempfile.TemporaryDirectory[str]",
    ) -> None:
        self._folder = folder
        self._output = Path(folder.name) / "output"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                list(command),
                env=environment,
                cwd=Path(folder.name) / "project",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ended(self) -> bool:
        return self._process.poll() is not None

    def interrupt(self) -> None:
        self._signal(signal.SIGINT)
        self._process.wait(LAST_RESORT_S)

    def wait_until_ended(self) -> None:
        self._process.wait(LAST_RESORT_S)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._process.wait(LAST_RESORT_S)

    def wait(self, shown: Callable[[str], bool]) -> tuple[int, str]:  # noqa: ARG002 - it ends
        code = self._process.wait(LAST_RESORT_S)
        said = self._output.read_text("utf-8", "replace")
        self._folder.cleanup()
        return code, said

    def _signal(self, number: int) -> None:
        if not self.ended():
            os.killpg(self._process.pid, number)


class _AtTerminal:
    """A program at a terminal, which goes on until it is ended."""

    def __init__(
        self,
        command: Sequence[str],
        environment: dict[str, str],
        folder: "tempfile.TemporaryDirectory[str]",
    ) -> None:
        self._folder = folder
        self._socket = str(Path(folder.name) / "tmux")
        variables = [f"{name}={value}" for name, value in environment.items()]
        own = shlex.join(["exec", "env", "-i", *variables, *command])
        project = str(Path(folder.name) / "project")
        self._tmux(
            *("start-server", ";", "set-option", "-g", "remain-on-exit", "on", ";"),
            *("new-session", "-d", *_WIDE, "-c", project, own),
        )

    def ended(self) -> bool:
        return self._tmux("display-message", "-p", "#{pane_dead}").strip() == "1"

    def interrupt(self) -> None:
        self._tmux("send-keys", "Escape")
        until(lambda: _INTERRUPTED in self._screen() or self.ended())

    def wait_until_ended(self) -> None:
        until(self.ended)

    def kill(self) -> None:
        try:
            pid = int(self._tmux("display-message", "-p", "#{pane_pid}"))
        except subprocess.CalledProcessError:
            return  # The terminal has ended, and all in it.
        os.kill(pid, signal.SIGKILL)
        until(self.ended)

    def wait(self, shown: Callable[[str], bool]) -> tuple[int, str]:
        until(lambda: shown(self._screen()) or self.ended())
        said = self._screen()
        self._tmux("kill-server")
        self._folder.cleanup()
        return 0, said

    def _screen(self) -> str:
        return self._tmux("capture-pane", "-p", "-J", "-S", "-500")

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-f", "/dev/null", "-S", self._socket, *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=LAST_RESORT_S,
        )
        return done.stdout
