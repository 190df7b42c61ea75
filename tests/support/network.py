"""Hosts on one network, played by network namespaces: each can lose the others and come back."""

import os
import random
import shutil
import subprocess
from types import TracebackType
from typing import Final, Self

import pytest

#: Cleans up when its input ends, however the tests died.
_KEEPER: Final = """
cat > /dev/null
for name in $(seq 0 "$2"); do ip netns del "$1-$name"; done
ip link del "$1"
"""


class Network:
    """So many hosts beside this one, on a bridge; skips the test where that cannot be had.

    Making them takes root and the program `ip`.
    """

    def __init__(self, count: int) -> None:
        if os.getuid() != 0:
            pytest.skip("network namespaces take root")
        if shutil.which("ip") is None or shutil.which("nsenter") is None:
            pytest.skip("network namespaces take the programs ip and nsenter")
        self._name = f"emk{random.randrange(16**4):04x}"
        self._subnet = f"10.{random.randrange(200, 250)}.{random.randrange(250)}"
        self._count = count
        self._keeper: subprocess.Popen[bytes] | None = None
        self.hosts = [Host(self._name, f"{self._subnet}.{n + 2}", n) for n in range(count)]

    @property
    def address(self) -> str:
        """This host's address on the network, where a server may listen."""
        return f"{self._subnet}.1"

    def __enter__(self) -> Self:
        self._keeper = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "keeper", self._name, str(self._count - 1)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._make()
        except subprocess.CalledProcessError as error:
            self.close()
            pytest.skip(f"this system gives no network namespaces: {error.stderr.strip()}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the hosts and the network; programs that run there are left without one."""
        if self._keeper is not None:
            self._keeper.communicate()

    def _make(self) -> None:
        _ip(f"link add {self._name} type bridge")
        _ip(f"addr add {self.address}/24 dev {self._name}")
        _ip(f"link set {self._name} up")
        for host in self.hosts:
            _ip(f"netns add {host.name}")
            _ip(f"link add {host.name} type veth peer name eth0 netns {host.name}")
            _ip(f"-n {host.name} addr add {host.address}/24 dev eth0")
            _ip(f"-n {host.name} link set eth0 up")
            _ip(f"-n {host.name} link set lo up")
            _ip(f"link set {host.name} up")
            host.heal()


class Host:
    """One of them."""

    def __init__(self, network: str, address: str, number: int) -> None:
        self.name = f"{network}-{number}"
        self.address = address
        self._network = network

    @property
    def prefix(self) -> tuple[str, ...]:
        """What runs a command on this host when it is put before it."""
        return ("nsenter", f"--net=/run/netns/{self.name}")

    def partition(self) -> None:
        """Lose everything this host sends and is sent, and tell nobody so."""
        # Its own cable stays plugged in; the other end hangs in the air.
        _ip(f"link set {self.name} nomaster")

    def heal(self) -> None:
        """Let it through again."""
        _ip(f"link set {self.name} master {self._network}")


def _ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True, capture_output=True, text=True)
