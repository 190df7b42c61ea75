"""A real `earmark gateway`, in a process of its own that may be killed and started again."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from support.last_resort import LAST_RESORT_S
from support.served import EARMARK, environment


class GatewayProcess:
    """The gateway of a folder with an `earmark.toml`; after its first start on the same port."""

    def __init__(self, folder: Path, keys: Mapping[str, str]) -> None:
        self.port = 0
        self._folder = folder
        self._keys = keys
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it; returns when it answers."""
        with (self._folder / "gateway.err").open("a") as errors:
            self._process = subprocess.Popen(
                [
                    *EARMARK,
                    "--config",
                    "earmark.toml",
                    "gateway",
                    "--json",
                    "--port",
                    str(self.port),
                ],
                cwd=self._folder,
                env={**environment(), **self._keys},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._process.stdout is not None
        said = ""
        while not said.rstrip().endswith("}"):
            line = self._process.stdout.readline()
            assert line, (self._folder / "gateway.err").read_text()
            said += line
        self.port = int(str(json.loads(said)["url"]).rpartition(":")[2])

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(LAST_RESORT_S)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None
