"""The parser of requests: one that offers another protocol is read like any other, body included.

A server may ignore an `Upgrade` header (RFC 9110 §7.8), and those here do: Java's `HttpClient`
offers HTTP/2 with each request. httptools takes the body of such a request for bytes of the
protocol that was offered. So the head is read again without the offer, and what follows it after
that, by a parser that knows of none.
"""

from typing import Any, Protocol

import httptools

_OFFER = b"upgrade"


class ReadsHeads(Protocol):
    """What a parser reads for: the callbacks of httptools, and the head that they add up to."""

    url: bytes
    headers: list[tuple[bytes, bytes]]
    """Names in lower case."""


class RequestParser:
    """httptools' parser of requests, which never ends with an offer of another protocol.

    While `should_upgrade` says so, `on_headers_complete` and `on_message_complete` are about a head
    that is going to be read again.
    """

    def __init__(self, reader: ReadsHeads) -> None:
        self._reader = reader
        self._parser = _parser_for(reader)

    def feed_data(self, data: bytes) -> None:
        """Read on.

        Raises:
            httptools.HttpParserError: It is no request.
        """
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                head = self._head_without_offer()
                self._parser = _parser_for(self._reader)
                self._parser.feed_data(head)
                data = data[offer.args[0] :]
            else:
                return

    def _head_without_offer(self) -> bytes:
        method, version = self.get_method(), self.get_http_version().encode("ascii")
        lines = [method + b" " + self._reader.url + b" HTTP/" + version]
        lines += [name + b": " + value for name, value in self._reader.headers if name != _OFFER]
        return b"\r\n".join([*lines, b"", b""])

    def should_upgrade(self) -> bool:
        """Return whether the head that was read last offers another protocol."""
        return bool(self._parser.should_upgrade())

    def get_method(self) -> bytes:
        """Return the method of the request."""
        return bytes(self._parser.get_method())

    def get_http_version(self) -> str:
        """Return its version, such as `1.1`."""
        return str(self._parser.get_http_version())

    def should_keep_alive(self) -> bool:
        """Return whether the connection stays open after it."""
        return bool(self._parser.should_keep_alive())


def _parser_for(reader: ReadsHeads) -> Any:  # noqa: ANN401 - httptools has no types
    parser = httptools.HttpRequestParser(reader)
    # As uvicorn sets its own: what comes after a last request is not read, and no error.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser
