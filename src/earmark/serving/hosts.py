"""Names by which a server may be asked: pages of other sites cannot pose as it by DNS rebinding."""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

#: This machine's own names.
LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")


@lru_cache(maxsize=256)
def host_of(request_host: str) -> str:
    """Return the name in a Host header, without port and brackets; empty if it is none."""
    try:
        parts = urlsplit(f"//{request_host}")
        plain = parts.netloc == request_host and "@" not in request_host and parts.port != 0
    except ValueError:
        return ""
    return (parts.hostname or "") if plain else ""


def named_host(host_headers: Sequence[str]) -> str:
    """Return the one host that a request names, in lower case; empty for none or several."""
    return host_of(host_headers[0]).lower() if len(host_headers) == 1 else ""


class HostNames:
    """The names that are answered to."""

    def __init__(self, hosts: Collection[str]) -> None:
        """Answer to *hosts*: names, `*.example.com`, or `*` for every one."""
        self._names = frozenset(host.lower() for host in hosts if not host.startswith("*"))
        self._endings = tuple(host[1:].lower() for host in hosts if host.startswith("*."))
        self._any = "*" in hosts

    def __contains__(self, host: object) -> bool:
        return isinstance(host, str) and (
            self._any or host in self._names or host.endswith(self._endings)
        )
