"""Clients that cost little: each one connection, kept open, and one request at a time on it."""

import asyncio
from dataclasses import dataclass
from time import perf_counter_ns
from urllib.parse import urlsplit


@dataclass(slots=True)
class Client:
    """One connection to a server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    host: str

    @classmethod
    async def to(cls, url: str) -> "Client":
        """Connect to the server at *url*."""
        place = urlsplit(url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        return cls(reader, writer, place.netloc)

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        """Send a request."""
        told = {"Host": self.host, "Content-Length": str(len(body)), **headers}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def receive(self) -> tuple[int, bytes]:
        """Return the status and the body of an answer that says its length."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return status, await self.reader.readexactly(length)

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        """Return the body of a request's answer, which is a success."""
        self.send(method, path, body, **headers)
        status, said = await self.receive()
        if status // 100 != 2:
            raise RuntimeError(f"{method} {path}: {status} {said[:200]!r}")
        return said

    async def until(self, wanted: bytes) -> int:
        """Read until *wanted* has come; return when that was."""
        await self.reader.readuntil(wanted)
        return perf_counter_ns()

    def close(self) -> None:
        """Hang up."""
        self.writer.close()


async def rate(url: str, path: str, connections: int, seconds: float) -> float:
    """Return how many requests a second are answered on so many connections."""
    clients = [await Client.to(url) for _ in range(connections)]
    for client in clients:
        await client.ask("GET", path)
    began = perf_counter_ns()
    end = began + int(seconds * 1e9)
    counts = await asyncio.gather(*(_ask_until(client, path, end) for client in clients))
    took = perf_counter_ns() - began
    for client in clients:
        client.close()
    return sum(counts) * 1e9 / took


async def _ask_until(client: Client, path: str, end: int) -> int:
    done = 0
    while not done or perf_counter_ns() < end:
        await client.ask("GET", path)
        done += 1
    return done
