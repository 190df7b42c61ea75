"""What can befall the clients of a PostgreSQL server and the server itself, drawn by a seed."""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from support.ledger_clients import Clients
from support.postgres_server import PostgresServer
from support.tcp_proxy import TcpProxy


class Nemesis:
    """Strikes one blow at a time; each is over, except for its consequences, when it returns.

    Args:
        server: Is killed, stopped and started again.
        proxy: Some of the clients reach the server through it.
        clients: Are killed, stopped and replaced.
        dice: Decides which blow, whom it hits, and for how long.
        longest_s: How long anything is stopped or cut off at most.
    """

    def __init__(
        self,
        server: PostgresServer,
        proxy: TcpProxy,
        clients: Clients,
        dice: random.Random,
        longest_s: float,
    ) -> None:
        self.done: Counter[str] = Counter()
        """How often each blow was struck."""
        self._server = server
        self._proxy = proxy
        self._clients = clients
        self._dice = dice
        self._longest = longest_s
        self.blows: dict[str, Callable[[], None]] = {
            "client killed": lambda: clients.kill(dice),
            "client stopped": self._stop_a_client,
            "backend killed": self._kill_a_backend,
            "backend ended": self._end_a_backend,
            "backend stopped": self._stop_a_backend,
            "postmaster killed": self._kill_the_postmaster,
            "server stopped at once": lambda: server.restart("immediate"),
            "server stopped": self._stop_the_server,
            "sockets cut": self._cut_the_line,
            "line frozen": self._freeze_the_line,
        }
        self._deck: list[str] = []

    def strike(self, name: str | None = None) -> None:
        """Strike this blow, or the next: each comes up before any comes up again."""
        if not self._deck:
            self._deck = self._dice.sample(sorted(self.blows), len(self.blows))
        blow = name or self._deck.pop()
        self.blows[blow]()
        self.done[blow] += 1

    def pause(self, shortest_s: float, longest_s: float) -> None:
        """Let things run for a while, as long as the dice say."""
        threading.Event().wait(self._dice.uniform(shortest_s, longest_s))

    def _stop_a_client(self) -> None:
        victim = self._clients.one(self._dice)
        victim.send_signal(signal.SIGSTOP)
        self.pause(0, self._longest)
        victim.send_signal(signal.SIGCONT)

    def _kill_a_backend(self) -> None:
        self._signal_a_backend(signal.SIGKILL)

    def _end_a_backend(self) -> None:
        self._signal_a_backend(signal.SIGTERM)

    def _signal_a_backend(self, how: signal.Signals) -> int | None:
        self._server.until_ready()
        backends = self._server.backends()
        if not backends:
            return None
        victim = self._dice.choice(backends)
        with suppress(ProcessLookupError):
            os.kill(victim, how)
        return victim

    def _stop_a_backend(self) -> None:
        victim = self._signal_a_backend(signal.SIGSTOP)
        self.pause(0, self._longest)
        if victim is not None:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGCONT)

    def _kill_the_postmaster(self) -> None:
        self._server.kill()
        self._server.start()

    def _stop_the_server(self) -> None:
        # One that is just recovering may overlook it.
        self._server.until_ready()
        self._server.restart("fast")

    def _cut_the_line(self) -> None:
        self._proxy.cut()

    def _freeze_the_line(self) -> None:
        self._proxy.freeze()
        self.pause(0, self._longest)
        self._proxy.thaw()
