"""A nudge as people read it: its text in lines, and how urgent it is; the title is its own."""

from typing import Final, Literal

from earmark.nudges.nudge import Nudge

#: How urgent a nudge is, least first; services have names or numbers of their own for these.
MessageLevel = Literal["info", "success", "warning", "failure"]

_LEVELS: Final[dict[str, MessageLevel]] = {
    "exhausted": "failure",
    "overrun": "failure",
    "resumed": "success",
    "extended": "info",
    "test": "info",
}
#: Parts of a nudge's data that its title has already, or that only programs read.
_NOT_SHOWN: Final = frozenset({"type", "labels", "entry"})


def level_of(nudge: Nudge) -> MessageLevel:
    """Return how urgent *nudge* is: a warning, unless its kind says otherwise."""
    return _LEVELS.get(nudge.kind, "warning")


def text_of(nudge: Nudge) -> str:
    """Return the lines below the title: for whom, the facts, and the id, which tells a repeat."""
    lines = [f"For {nudge.recipient}: {nudge.kind}"]
    for key, value in nudge.data.items():
        if key not in _NOT_SHOWN and isinstance(value, str | int | float) and value != "":
            lines.append(f"{key}: {value}")
    return "\n".join([*lines, f"id: {nudge.id}"])
