"""`earmark serve`, as far as it goes before it serves: what it refuses, and why."""

import socket
from typing import Final

import pytest

from earmark.cli.serve import cautions
from earmark.config.settings import ServiceSettings
from support.shell import Shell

#: Where every machine listens that is told to listen everywhere.
EVERYWHERE: Final = "::"


def test_others_are_let_in_by_a_token_or_not_at_all(shell: Shell) -> None:
    """An address that others reach needs a token that opens something; how to make one is said."""
    refused = shell("serve", "--host", EVERYWHERE)
    assert refused.code == 1
    assert "earmark token create" in refused.err
    made = shell.json("token", "create", "me", "--scope", "admin")
    shell.ok("token", "revoke", made["id"])
    assert shell("serve", "--host", EVERYWHERE).code == 1


def test_a_port_that_is_taken_is_told(shell: Shell) -> None:
    """With the address, and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = shell("serve", "--port", str(taken.getsockname()[1]))
    assert refused.code == 1
    assert "cannot listen at 127.0.0.1" in refused.err


def test_an_address_that_is_none_is_told(shell: Shell) -> None:
    """Also a port that no machine has."""
    shell.ok("token", "create", "me", "--scope", "read")
    assert "cannot listen" in shell("serve", "--host", "no.such.host.invalid").err
    assert shell("serve", "--port", "70000").code == 1


@pytest.mark.parametrize(
    ("host", "names", "said"),
    [
        ("127.0.0.1", [], []),
        ("192.0.2.7", [], ["no TLS"]),
        (EVERYWHERE, [], ["no TLS", "allowed_hosts"]),
        (EVERYWHERE, ["books.example"], ["no TLS"]),
    ],
)
def test_who_serves_others_is_told_what_that_means(
    host: str, names: list[str], said: list[str]
) -> None:
    """That tokens travel in the clear, and that no other name is answered yet."""
    found = list(cautions(ServiceSettings.model_validate({"host": host, "allowed_hosts": names})))
    assert len(found) == len(said)
    assert all(word in caution for word, caution in zip(said, found, strict=True))
