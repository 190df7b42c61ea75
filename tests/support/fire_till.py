"""A provider that keeps its till: what it charges, and what the books said at that moment.

The provider's own bill is the truth that a ledger is held against. Money is counted in nano-USD.
"""

import random
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from support.last_resort import LAST_RESORT_S
from support.stub_server import Received, Scene, StubServer, completion

#: Nano-USD per token, in and out, by model: what `fire_place` writes into its prices.
PRICES: Final[Mapping[str, tuple[int, int]]] = {"m": (1000, 2000), "dear": (3000, 6000)}

Answer = Callable[[Received], Scene]


class Till(StubServer):
    """A stub server that adds up what it charges and looks into the books each time it does."""

    def __init__(self) -> None:
        super().__init__()
        # More callers than the default backlog arrive at once; those left out come a second later.
        self._http.socket.listen(256)
        self.owed = 0
        """What it has charged in all."""
        self.owed_for: dict[str, int] = {}
        """The same by the text that was asked."""
        self.short: list[tuple[int, int]] = []
        """(charged, booked) whenever the books had less than was charged."""
        self.watch: Callable[[], int] | None = None
        """Reads what the books count as spent or held, in nano-USD."""
        self.answer: Answer | None = None
        """Answers every request instead of the scenes."""
        self._asked = threading.Condition()
        self._callers: list[socket.socket] = []
        self._http.get_request = self._let_in
        self._busy = threading.Lock()

    def next_scene(self, received: Received) -> Scene:
        """Take note of a request and of what it is charged; return what happens to it."""
        with self._busy:
            scene = super().next_scene(received)
            if self.answer is not None:
                scene = self.answer(received)
            if scene.billed is not None:
                text = received.body["messages"][-1]["content"]
                charge = charge_of(scene.billed)
                self.owed_for[text] = self.owed_for.get(text, 0) + charge
                self.owed += charge
            self.look()
        with self._asked:
            self._asked.notify_all()
        return scene

    def _let_in(self) -> tuple[socket.socket, Any]:
        caller, address = self._http.socket.accept()
        self._callers.append(caller)
        return caller, address

    def until_hung_up(self) -> None:
        """Return once every caller has closed its connection without waiting for an answer."""
        for caller in self._callers:
            with suppress(ConnectionResetError):
                while caller.recv(1, socket.MSG_PEEK):
                    pass

    def look(self) -> None:
        """Compare what was charged until now with the books.

        The charge is read first: whatever the books lose meanwhile, they lose for a settlement.
        """
        owed = self.owed
        if self.watch is not None:
            booked = self.watch()
            if booked < owed:
                self.short.append((owed, booked))

    def quiet(self) -> None:
        """Return once every request of callers that are gone has been taken note of."""
        with socket.create_connection(("127.0.0.1", self._http.server_port)) as last:
            # Answered after all who came before were let in; their threads end with their callers.
            last.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while last.recv(4096):
                pass
        for thread in threading.enumerate():
            if thread.name.endswith("(process_request_thread)"):
                thread.join(LAST_RESORT_S)

    def until_asked(self, times: int) -> None:
        """Return once *times* requests have come in."""
        with self._asked:
            came = self._asked.wait_for(lambda: len(self.requests) >= times, LAST_RESORT_S)
        assert came, f"{len(self.requests)} of {times} requests came"


def charge_of(billed: Mapping[str, Any]) -> int:
    """Return what a usage costs in nano-USD, in either API's words; `model` names whose price."""
    price_in, price_out = PRICES[billed.get("model", "m")]
    tokens_in = billed.get("prompt_tokens", billed.get("input_tokens"))
    tokens_out = billed.get("completion_tokens", billed.get("output_tokens"))
    return price_in * tokens_in + price_out * tokens_out


def usage(tokens_in: int, tokens_out: int) -> dict[str, int]:
    """Return a usage block of Chat Completions."""
    total = tokens_in + tokens_out
    return {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": total}


def honest(seed: int) -> Answer:
    """Answer within what was asked for, a different length each time, and charge what is said."""
    dice = random.Random(seed)

    def answer(received: Received) -> Scene:
        count = usage(dice.randint(5, 60), dice.randint(1, received.body["max_tokens"]))
        return Scene(body=completion(count), billed=count)

    return answer
