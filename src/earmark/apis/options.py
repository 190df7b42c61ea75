"""How each option and content part of a request is bounded: the rows of an API's tables.

What a table does not list is refused, or needs an explicit bound: an option added to an API
tomorrow may bill what no bound of today covers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

#: Tokens a part of so many input modalities can be billed in.
Modalities = frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What one option of a request can do to its cost.

    `text`: its JSON becomes prompt text at most.
    `schema`: the same, and a hidden system prompt comes with it.
    `input`: it brings input that is not in the request; *detail* names it.
    `refused`: nothing bounds it; *detail* says why and what to do.
    """

    effect: Literal["text", "schema", "input", "refused"] = "text"
    detail: str = ""
    values: frozenset[str] | None = None
    """The only values allowed, each of a list; `None` allows all."""
    fields: Mapping[str, "Option"] | None = None
    """For an object: its fields, by the same rules; `None` does not look inside."""
    loops: bool = False
    """Whether the provider samples several times, each with its own input."""


TEXT: Final = Option()
SCHEMA: Final = Option(effect="schema")


def brings(what: str, *, loops: bool = False) -> Option:
    """Return an option that brings input which cannot be counted: `an earlier response`."""
    return Option(effect="input", detail=what, loops=loops)


def refused(why: str) -> Option:
    """Return an option that nothing bounds; *why* ends in what to do."""
    return Option(effect="refused", detail=why)


def one_of(*values: str) -> Option:
    """Return an option with a list of allowed values; others are refused."""
    return Option(values=frozenset(values))


def fields(**options: Option) -> Option:
    """Return an option that is an object with these fields; others are refused."""
    return Option(fields=options)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTool:
    """A tool that the provider runs: each use may be a fee, and a round of sampling."""

    unit: str = ""
    """The kind of unit each use is billed in; empty if it is not billed apart from tokens."""
    needs_max_uses: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What the requests to one host hold beyond what the caller asks for."""

    output_limit: str = ""
    """Its name for the limit of output tokens; empty if it is the API's first."""
    defaults: Mapping[str, str] = field(default_factory=dict[str, str])
    """Options that, left out, would be set by the account, at another price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTable:
    """All that one API's requests may hold, and how it is bounded."""

    output_limits: tuple[str, ...]
    """Paths of the limit of output tokens, the one to add first; none if there is no output."""
    choices: str = ""
    """Path of the number of answers asked for; empty if there is always one."""
    asks_for_stream_usage: bool = False
    """Whether a stream counts only where `stream_options.include_usage` says so."""
    hosts: Mapping[str, Host] = field(default_factory=dict[str, Host])
    """By host name; also for the hosts below it."""
    options: Mapping[str, Option]
    message_fields: frozenset[str]
    """Fields of a message that are text; others need an explicit bound."""
    text_parts: Mapping[str, frozenset[str]]
    """Content parts that are text, by type, with their fields."""
    media_parts: Mapping[str, Modalities]
    """Content parts of other modalities, by type; each needs an explicit bound."""
    function_tools: frozenset[str]
    """Types of tools that are only described to the model and run by the caller."""
    client_tools: tuple[str, ...] = ()
    """Beginnings of the types of tools the caller runs, whose definition the provider writes."""
    server_tools: Mapping[str, ServerTool] = field(default_factory=dict[str, ServerTool])
    """Beginnings of the types of tools the provider runs."""
