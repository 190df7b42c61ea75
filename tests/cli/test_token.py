"""`earmark token`: made, listed, revoked; the token itself is shown once."""

import json
from pathlib import Path

from earmark.clock import SystemClock
from earmark.stores.open import open_ledger
from earmark.workspace.tokens import Tokens
from support.shell import Shell
from support.tables_at import tables_at


def test_a_token_is_made_listed_and_revoked(shell: Shell) -> None:
    """Its secret is on standard output once, and opens until it is revoked."""
    made = shell.ok("token", "create", "ci", "--scope", "spend", "--expires", "90d")
    secret = made.out.strip()
    assert secret.startswith("emk_")
    assert secret not in made.err
    tables = tables_at(f"sqlite:///{shell.folder / 'earmark.db'}")
    row = Tokens(tables, SystemClock()).check(secret)
    assert row is not None
    assert row.scopes == ("read", "spend")
    listed = shell.ok("token", "list")
    assert "read spend" in listed.out
    assert secret not in listed.out
    (form,) = shell.json("token", "list")["tokens"]
    assert form["id"] == row.id
    assert form["expires_at"] > form["created_at"]
    revoked = shell.json("token", "revoke", row.id)
    assert revoked["revoked_at"] is not None
    assert Tokens(tables, SystemClock()).check(secret) is None
    assert "revoked" in shell.ok("token", "list").out
    tables.close()


def test_the_secret_is_in_the_json_of_its_making_only(shell: Shell) -> None:
    """Programs get it as `token`."""
    made = shell.json("token", "create", "ci", "--scope", "admin")
    assert made["token"].startswith("emk_")
    assert made["scopes"] == ["read", "spend", "admin"]
    assert "token" not in json.dumps(shell.json("token", "list")["tokens"])


def test_a_token_is_rotated_shown_and_revoked_by_its_name(shell: Shell) -> None:
    """The new secret is shown once, the old one opens for the overlap; a name of two is refused."""
    old = shell.ok(
        "token", "create", "agent", "--budget", "acme/agent", "--most", "0.5"
    ).out.strip()
    rotated = shell.ok("token", "rotate", "agent", "--overlap", "2h")
    new = rotated.out.strip()
    assert "opens until" in rotated.err
    assert new not in rotated.err
    tables = tables_at(f"sqlite:///{shell.folder / 'earmark.db'}")
    tokens = Tokens(tables, SystemClock())
    rows = [tokens.check(each) for each in (old, new)]
    assert rows[0] is not None
    assert rows[1] is not None
    assert rows[0].id == rows[1].id
    shown = shell.ok("token", "show", "agent").out
    assert "budget acme/agent" in shown
    assert "open until" in shown
    form = shell.json("token", "show", rows[1].id)
    assert (form["name"], form["most_per_request"]) == ("agent", "0.5")
    assert form["overlap_until"] > form["rotated_at"]
    last = shell.json("token", "rotate", "agent", "--overlap", "0s")
    assert [tokens.check(each) is None for each in (old, new, last["token"])] == [True, True, False]
    shell.ok("token", "create", "agent", "--scope", "read")
    ambiguous = shell("token", "revoke", "agent")
    assert ambiguous.code == 1
    assert rows[1].id in ambiguous.err
    shell.ok("token", "revoke", rows[1].id)
    shell.ok("token", "revoke", "agent")
    assert tokens.check(last["token"]) is None
    assert shell("token", "rotate", rows[1].id).code == 2
    tables.close()


def test_a_token_says_how_its_requests_are_made_and_refused(shell: Shell) -> None:
    """Whether they may bound themselves, their tier, their budget's status; for a budget alone."""
    terms = ("--may-bound", "--tier", "flex", "--refusal-status", "429")
    made = shell.json("token", "create", "agent", "--budget", "acme", *terms)
    assert (made["may_bound"], made["tier"], made["refusal_status"]) == (True, "flex", 429)
    assert "flex" in shell.ok("token", "show", "agent").out
    plain = shell.json("token", "create", "plain", "--budget", "acme")
    assert (plain["may_bound"], plain["tier"], plain["refusal_status"]) == (False, "", None)
    assert shell("token", "create", "ops", "--scope", "read", "--may-bound").code == 1
    assert shell("token", "create", "x", "--budget", "acme", "--refusal-status", "200").code == 1
    assert len(shell.json("token", "list")["tokens"]) == 2


def test_a_token_observes_in_an_observed_tree(shell: Shell) -> None:
    """Made there alone; shown with what its tree makes of it, and so is one that enforces there."""
    observe = ("token", "create", "agent", "--budget", "acme/agent", "--mode", "observe")
    shell.ok("budget", "set", "acme", "--limit", "1 usd total")
    refused = shell(*observe)
    assert refused.code == 2
    assert "`earmark budget set acme --observed` marks it" in refused.err
    for mode in ("enforce", ""):
        assert shell("token", "create", "ops", "--scope", "read", "--mode", mode).code == 1
    for mode in ("later", ""):
        assert shell("token", "create", "x", "--budget", "acme", "--mode", mode).code == 1
    shell.ok("budget", "set", "acme", "--observed")
    assert shell.json(*observe)["mode"] == "observe"
    made = shell.ok("token", "create", "plain", "--budget", "acme")
    assert "--mode observe" in made.err, "it spends nothing here"
    assert "acme/agent, observe" in shell.ok("token", "list").out
    shown = [shell.ok("token", "show", each).out for each in ("agent", "plain")]
    assert "calls are refused" in shown[1]
    shell.ok("budget", "set", "acme", "--no-observed")
    now = [shell.ok("token", "show", each).out for each in ("agent", "plain")]
    assert ["limits bind" in each for each in (*shown, *now)] == [False, False, True, False]
    assert "calls are refused" not in now[1]


def test_what_cannot_be_made_is_refused(shell: Shell) -> None:
    """An unknown scope, a name that spoils a log, a moment that is past, an unknown id."""
    assert shell("token", "create", "ci", "--scope", "root").code == 1
    assert shell("token", "create", "a\nb", "--scope", "read").code == 1
    assert shell("token", "create", "ci", "--scope", "read", "--expires", "2020-01-01").code == 1
    assert shell("token", "create", "ci").code == 1
    assert shell.json("token", "list")["tokens"] == []
    assert shell("token", "revoke", "nobody").code == 1


def test_no_books_are_made_by_looking(shell: Shell) -> None:
    """Listing the tokens of books that are not there says so."""
    assert shell("token", "list").code == 1
    assert not (shell.folder / "earmark.db").exists()
    with open_ledger("sqlite:///earmark.db"):
        assert shell.json("token", "list")["tokens"] == []


def test_nothing_stays_open(shell: Shell) -> None:
    """Each command closes every file it has opened."""
    made = shell.json("token", "create", "ci", "--scope", "read")
    shell.ok("token", "list")
    shell.ok("token", "revoke", made["id"])
    opened = [each.readlink() for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    assert not [each for each in opened if each.is_relative_to(shell.folder)]
