"""`earmark serve`, as far as it goes before it serves: what it refuses, and why."""

import socket
from typing import Any, Final

import pytest

from earmark.cli.serve import cautions
from earmark.config.settings import ServiceSettings
from support.shell import Shell

#: Where every machine listens that is told to listen everywhere.
EVERYWHERE: Final = "::"


def test_others_are_let_in_by_a_token_or_not_at_all(shell: Shell) -> None:
    """An address that others reach needs a token that opens something; how to make one is said."""
    made = shell.json("token", "create", "me", "--scope", "admin")
    shell.ok("token", "revoke", made["id"])
    refused = shell("serve", "--host", EVERYWHERE)
    assert refused.code == 1
    assert "earmark token create" in refused.err


def test_a_port_that_is_taken_is_told(shell: Shell) -> None:
    """In one sentence with the address and what to do; that of the local model, too."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for command in ("serve", "model"):
            refused = shell(command, "--port", str(port))
            assert refused.code == 1
            assert refused.err.splitlines()[-1] == (
                f"earmark: configuration refused at port {port} of 127.0.0.1: another program"
                " listens there: end it, or give another by --port (0: any)"
            )


def test_an_address_that_is_none_is_told(shell: Shell) -> None:
    """Also a port that no machine has."""
    shell.ok("token", "create", "me", "--scope", "read")
    assert "cannot listen" in shell("serve", "--host", "no.such.host.invalid").err
    assert shell("serve", "--port", "70000").code == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, []),
        ({"open_reads": True}, ["anybody on this machine may read"]),
        ({"host": "192.0.2.7", "open_reads": True}, ["no TLS"]),
        ({"host": EVERYWHERE}, ["no TLS", "allowed_hosts"]),
        ({"host": EVERYWHERE, "allowed_hosts": ["books.example"]}, ["no TLS"]),
    ],
)
def test_who_serves_others_is_told_what_that_means(given: dict[str, Any], said: list[str]) -> None:
    """Who may read, that tokens travel in the clear, and that no other name is answered yet."""
    found = list(cautions(ServiceSettings.model_validate(given)))
    assert len(found) == len(said)
    assert all(word in caution for word, caution in zip(said, found, strict=True))
