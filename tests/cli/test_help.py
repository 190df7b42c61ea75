"""Help: every command is there, and says what every command takes."""

from typing import Any

import pytest
from typer.main import get_command

from earmark.cli.commands import COMMANDS, app
from support.shell import LEAVES, Shell

HELP = """\
Usage: earmark [OPTIONS] COMMAND [ARGS]...

  Runs AI agent work under budgets that cannot be overspent.

Options:
  --store URL    Where the books are: EARMARK_STORE, else earmark.toml, else
                 ./earmark.db.
  --config FILE  The configuration; the nearest earmark.toml unless given.
  --json         Answer with one JSON document on standard output.
  --version      Show the version.
  -h, --help     Show this message and exit.

Commands:
  plan       Price a composition as [min, max] before it runs.
  run        Run a composition under a budget of its own.
  exec       Run any agent's command under a budget, without changing it.
  trace      Show a past run, or list the latest ones.
  price      Show what a model costs, and what a call of it would.
  budget     Set, show, pause, resume and extend budgets.
  holds      List reservations whose true cost is not known, and settle them.
  entries    List what was booked, in the order of commits.
  audit      Recompute every balance from the entries and compare.
  heartbeat  Run the always-on dispatcher, or one cycle of it.
  task       Add, list, show, approve, grade and accept tasks of the board.
  quilt      Get, put and list patches of the agents' shared memory.
  nudge      List, acknowledge and test nudges.
  model      Serve the small local model to other programs: no key, no
             account.
  serve      Serve health, metrics, the API and the pages over HTTP.
  gateway    Serve models to any client, each call held on its token's budget.
  token      Make, list and revoke tokens of the service and the gateway.
  config     Show the configuration in force, and allow one that was found.
  backup     Copy the books while they are in use, and audit the copy.
  store      Show, migrate and copy what the books are kept in.
  demo       See it work: a real model on this machine, no key, no account.

  Exit codes: 0 done, 1 bad input, 2 refused, 3 a stage failed.
"""


@pytest.mark.parametrize("how", [[], ["--help"], ["-h"]])
def test_help_lists_every_command(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, how: list[str]
) -> None:
    """`earmark`, `earmark --help` and `earmark -h` list every command with its line."""
    monkeypatch.setenv("COLUMNS", "80")
    answer = shell.ok(*how)
    assert answer.out == HELP
    assert answer.err == ""


@pytest.mark.parametrize("leaf", LEAVES, ids=" ".join)
def test_every_command_says_what_every_command_takes(shell: Shell, leaf: list[str]) -> None:
    """`--store`, `--config` and `--json` are in every command's help, after its own options."""
    answer = shell.ok(*leaf, "--help")
    places = [answer.out.index(f"  {option}") for option in ("--store", "--config", "--json")]
    assert places == sorted(places)


def test_no_command_is_forgotten() -> None:
    """Each name in the table stands for a command with a line of help, and none is missing here."""
    group: Any = get_command(app)
    named = {leaf[0] for leaf in LEAVES}
    assert named == set(COMMANDS)
    for name in COMMANDS:
        found = group.get_command(None, name)
        assert found is not None
        assert found.help


def test_the_version(shell: Shell) -> None:
    """`--version` says which Earmark this is, also as JSON."""
    version = shell.json("--version")["version"]
    assert shell.ok("--version").out == f"earmark {version}\n"
