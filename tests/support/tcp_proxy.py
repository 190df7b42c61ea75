"""A TCP proxy that stands between a client and a server and can be told to misbehave.

It forwards; cuts a connection after any byte of either side; swallows the answer to a request that
the server has carried out; and freezes, as a network does that is gone without saying so.
"""

import random
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Literal, Self

Side = Literal["client", "server"]
"""Who sent the bytes."""

#: Sees each piece that passes: says `None` to let it through, or after how many of its bytes the
#: connection is cut on both sides; 0 swallows the piece.
Judge = Callable[[Side, bytes], int | None]

_Link = tuple[socket.socket, socket.socket]
_PIECE: Final = 1 << 16
_BACKLOG: Final = 256


class TcpProxy:
    """Listens on a free port of *host* and forwards to *target*, a thread for each direction.

    Args:
        target: Host and port of the server.
        host: Where it listens.
    """

    def __init__(self, target: tuple[str, int], host: str = "127.0.0.1") -> None:
        self.judge: Judge | None = None
        """Asked about each piece; set it at any time."""
        self.cuts = 0
        """Connections that were cut, by `judge` or by `cut`."""
        self._target = target
        self._listener = socket.create_server((host, 0), backlog=_BACKLOG)
        self._flowing = threading.Event()
        self._flowing.set()
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self._closed = False
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that clients connect to."""
        host, port = self._listener.getsockname()[:2]
        return str(host), int(port)

    def via(self, url: str) -> str:
        """Return a server's *url* by way of this proxy."""
        (host, port), (to, at) = self.address, self._target
        assert f"@{to}:{at}/" in url
        return url.replace(f"@{to}:{at}/", f"@{host}:{port}/")

    def cut(self) -> int:
        """Cut all connections that stand; return how many."""
        with self._lock:
            links = list(self._links)
        self.cuts += len(links)
        for link in links:
            self._drop(link, reset=True)
        return len(links)

    def freeze(self) -> None:
        """Forward nothing and accept nobody from now on, and tell nobody so."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Forward what was held back, and go on."""
        self._flowing.set()

    def close(self) -> None:
        """Cut everything and stop listening."""
        self._closed = True
        self._flowing.set()
        # Wakes the thread that waits in `accept`.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.cut()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._flowing.wait()
            self._join(client)

    def _join(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target)
        except OSError:
            # The server is down: the client sees what it would see without a proxy.
            _close(client, reset=True)
            return
        link = (client, server)
        with self._lock:
            self._links.add(link)
        for side, source, sink in (("client", client, server), ("server", server, client)):
            threading.Thread(
                target=self._pump, args=(link, side, source, sink), daemon=True
            ).start()

    def _pump(self, link: _Link, side: Side, source: socket.socket, sink: socket.socket) -> None:
        cut = False
        with suppress(OSError):
            cut = self._forward(side, source, sink)
        self._drop(link, reset=cut)

    def _forward(self, side: Side, source: socket.socket, sink: socket.socket) -> bool:
        """Forward until *source* ends, or until `judge` wants the connection cut: then `True`."""
        while piece := source.recv(_PIECE):
            self._flowing.wait()
            passes = None if self.judge is None else self.judge(side, piece)
            sink.sendall(piece[:passes])
            if passes is not None:
                self.cuts += 1
                return True
        self._flowing.wait()
        return False

    def _drop(self, link: _Link, *, reset: bool) -> None:
        with self._lock:
            known = link in self._links
            self._links.discard(link)
        for end in link if known else ():
            _close(end, reset=reset)


def _close(end: socket.socket, *, reset: bool) -> None:
    """Close *end*, whoever waits on it: with a reset, as a dying host does, or in good order."""
    with suppress(OSError):
        if reset:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
    end.close()


# Judges -------------------------------------------------------------------------------------------


def cut_the_answer_to(request: bytes) -> Judge:
    """Let the next request that contains *request* through, and cut its answer off; once."""
    armed, done = threading.Event(), threading.Event()

    def judge(side: Side, piece: bytes) -> int | None:
        if side == "client":
            if request in piece and not done.is_set():
                armed.set()
        elif armed.is_set() and not done.is_set():
            done.set()
            return 0
        return None

    return judge


def cut_within(request: bytes) -> Judge:
    """Cut the next request that contains *request* off before its end; once."""
    done = threading.Event()

    def judge(side: Side, piece: bytes) -> int | None:
        if side == "server" or request not in piece or done.is_set():
            return None
        done.set()
        return len(piece) - 1

    return judge


def cut_by_chance(dice: random.Random, *, one_in: int) -> Judge:
    """Cut one in so many pieces, of requests and answers alike, anywhere from nothing to all."""

    def judge(_: Side, piece: bytes) -> int | None:
        # One that is cut after its last byte has arrived; whoever waits for the next does not know.
        return dice.randint(0, len(piece)) if dice.randrange(one_in) == 0 else None

    return judge
