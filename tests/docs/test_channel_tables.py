"""The documentation has a row for every kind of nudge channel, with what it sends elsewhere."""

import re
from pathlib import Path

from earmark.nudges.channels.channel_settings import ChannelSettings
from earmark.nudges.channels.registry import CHANNEL_KINDS

DOCS = Path(__file__).parents[2] / "docs"


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the table below *heading* in *page*, row by row."""
    text = (DOCS / page).read_text("utf-8")
    table = text.partition(f"\n{heading}\n")[2].partition("|---")[2].partition("\n\n")[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines()[1:]]


def test_every_kind_is_documented_with_its_settings() -> None:
    """The page of the heartbeat lists the kinds there are, and all settings of each."""
    common = ChannelSettings.model_fields.keys()
    documented = {
        kind.strip("`"): set(re.findall(r"`(\w+)`", settings))
        for kind, settings, *_ in rows("heartbeat.md", "### Channels")
    }
    assert documented == {
        kind: settings.model_fields.keys() - common for kind, settings in CHANNEL_KINDS.items()
    }


def test_every_kind_says_what_it_sends_elsewhere() -> None:
    """The security page says of every kind where its nudges go."""
    found = rows("security.md", "## What nudges send elsewhere")
    assert [kind.strip("`") for kind, *_ in found] == [*CHANNEL_KINDS]
