"""Debian's `pgbouncer` in transaction mode in front of a test's PostgreSQL server."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

from support.last_resort import LAST_RESORT_S
from support.postgres_programs import free_port
from support.postgres_server import DATABASE, NOBODY, USER, PostgresServer

#: Nothing is ignored or mended for clients. Nobody reads its log once it runs, so it writes none.
_SETTINGS: Final = """
[databases]
{database} = host=127.0.0.1 port={server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {pool}
max_client_conn = 500
log_connections = 0
log_disconnections = 0
log_pooler_errors = 0
log_stats = 0
"""


class PgBouncer:
    """A pool of *pool* connections that any transaction of any client may get.

    Skips the test where the program is not installed.
    """

    def __init__(self, server: PostgresServer, *, pool: int = 4) -> None:
        program = shutil.which("pgbouncer", path=f"{os.defpath}:/usr/sbin:/sbin")
        if program is None:
            pytest.skip("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
        self._program = program
        self._server = server
        self._pool = pool
        self._port = free_port()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[str] | None = None

    def via(self, url: str) -> str:
        """Return a server's *url* by way of the pool."""
        assert f"@127.0.0.1:{self._server.port}/" in url
        return url.replace(f":{self._server.port}/", f":{self._port}/")

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="earmark-pool-")
        user = NOBODY if os.getuid() == 0 else None
        self._process = subprocess.Popen(
            [self._program, self._written(Path(self._folder.name), user)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
        assert self._process.stderr is not None
        said: list[str] = []
        for line in self._process.stderr:
            said.append(line)
            if "process up" in line:
                return self
        self.close()
        pytest.fail(f"pgbouncer did not start: {''.join(said)}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it and remove its folder."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate(timeout=LAST_RESORT_S)
        if self._folder is not None:
            self._folder.cleanup()

    def _written(self, folder: Path, user: int | None) -> Path:
        settings, users = folder / "pgbouncer.ini", folder / "users"
        settings.write_text(
            _SETTINGS.format(
                database=DATABASE,
                server=self._server.port,
                port=self._port,
                folder=folder,
                pool=self._pool,
            )
        )
        users.write_text(f'"{USER}" "{self._server.password}"\n')
        for each in (folder, settings, users):
            os.chown(each, user or -1, user or -1)
        return settings
