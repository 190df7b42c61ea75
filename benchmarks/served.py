"""Programs that serve HTTP, each in a process of its own, as the benchmarks ask them."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks.worker import ROOT


class Served:
    """A server in a process of its own."""

    def __init__(self, url: str, number: int) -> None:
        self.url = url
        self._number = number

    @property
    def resident(self) -> int:
        """Bytes of memory that the process has."""
        status = Path(f"/proc/{self._number}/statm").read_text(encoding="ascii")
        return int(status.split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def process(*arguments: str) -> Iterator[Served]:
    """Run a Python program that says its URL once it serves."""
    command = [sys.executable, *arguments]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        yield Served(_url_said(process.stdout), process.pid)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def served(url: str) -> AbstractContextManager[Served]:
    """Run `earmark serve` on the books at *url*; whoever asks may read."""
    return process(
        "-m", "earmark.cli.main", "serve", "--open-reads", "--port", "0", "--json", "--store", url
    )


def _url_said(lines: Iterable[str]) -> str:
    for line in lines:
        if "http://" in line:
            return "http://" + line.partition("http://")[2].strip().strip('",')
    raise RuntimeError("it did not start")
