"""How each option and content part of a request is bounded: the rows of an API's tables.

What a table does not list is refused, or needs an explicit bound: an option added to an API
tomorrow may bill what no bound of today covers.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from earmark.apis.hosts import is_below
from earmark.pricing.units import MODALITIES

#: Tokens a part of so many input modalities can be billed in.
Modalities = frozenset[str]

#: The date of a tool's version: `web_search_20250305`, `web_search_2025_08_26`.
_VERSION: Final = re.compile(r"_(?:20\d{6}|20\d\d_\d\d_\d\d)$")

#: The calls of built-in tools that are asked for where a request sets no maximum of its own: what
#: Claude Code asks for its own searches.
DEFAULT_MAX_TOOL_CALLS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What one option, content part or tool of a request can do to its cost.

    A list is read element by element, by the same row.

    `text`: its JSON becomes prompt text at most.
    `prompt`: a text of the prompt, which a tokenizer can count.
    `schema`: text, and a hidden system prompt comes with it.
    `input`: it brings input that cannot be counted from the request; *detail* names it.
    `tokens`: whole numbers, each of them one token.
    `cache`: it asks for a cache write, with the lifetime of its `ttl`.
    `outputs`: the modalities the answer may have.
    `thinking`: a budget of thinking tokens: with fewer output tokens the request is refused.
    `compaction`: the conversation is summarised by a sampling of its own before the answer.
    `refused`: nothing bounds it, or its values in *unbounded*; *detail* says why and what to do.
    """

    effect: Literal[
        "text",
        "prompt",
        "schema",
        "input",
        "tokens",
        "cache",
        "outputs",
        "thinking",
        "compaction",
        "refused",
    ] = "text"
    detail: str = ""
    values: frozenset[str] | None = None
    """The only values allowed; `None` allows all."""
    unbounded: frozenset[str] = frozenset()
    """For `refused`: the only values that are; none for all."""
    fields: Mapping[str, "Option"] | None = None
    """For an object: its fields, by the same rules; `None` does not look inside."""
    kinds: Mapping[str, "Option"] | None = None
    """For objects told apart by their `type`, without its date; the empty name is for no type."""
    others: "Option | None" = None
    """The row of fields and kinds that are not listed; `None` refuses them."""
    is_list: bool = False
    """Whether it is always a list."""
    needs: tuple[str, ...] = ()
    """An object with none of these fields is not of this kind."""
    holds: tuple[str, ...] = ()
    """The fields of its content: an object with an `id` that lacks one of them stands for one that
    the provider has stored."""
    modalities: Modalities = frozenset(MODALITIES)
    """For `input`: what its tokens can be billed in."""
    requested: Modalities = frozenset()
    """For `input`: modalities it names for certain, which must have a price."""
    loops: bool = False
    """Whether the provider samples several times, each with its own input."""
    unit: str = ""
    """For a tool the provider runs: the kind of unit each use is billed in beside tokens."""
    maximum: str = ""
    """For such a tool: the field that limits its uses: its own, or one of the whole request."""
    billed_unseen: bool = False
    """For `refused`: whether no counter of a reply shows all that it costs."""
    kept: bool = False
    """Whether it names by an id what the provider keeps, such as a file or an earlier answer."""


TEXT: Final = Option()
#: Anything: it needs an explicit bound.
INPUT: Final = Option(effect="input")
#: The id of what the provider keeps, which adds no input by itself.
KEPT: Final = Option(kept=True)
PROMPT: Final = Option(effect="prompt")
SCHEMA: Final = Option(effect="schema")
TOKENS: Final = Option(effect="tokens")
OUTPUTS: Final = Option(effect="outputs")
THINKING: Final = Option(effect="thinking")
#: A service tier: no call that is answered at once is billed as a batch, at half the price.
TIER: Final = Option(
    effect="refused",
    detail="batches are sent to an endpoint of their own, no call is billed as one: leave it out",
    unbounded=frozenset({"batch"}),
)


def uncounted_input(
    name: str, *, loops: bool = False, requires: str = "", may_be: str = "", kept: bool = False
) -> Option:
    """Return an option that brings input which cannot be counted: `an earlier response`.

    *requires* is the modality it certainly has, *may_be* all it can have; separated by spaces.
    Where it may be an id of what the provider keeps, it is *kept*.
    """
    requested = frozenset(requires.split())
    modalities = requested | frozenset(may_be.split()) or frozenset(MODALITIES)
    return Option(
        effect="input",
        detail=name,
        loops=loops,
        requested=requested,
        modalities=modalities,
        kept=kept,
    )


def refused(advice: str) -> Option:
    """Return an option that nothing bounds; *advice* ends in what to do."""
    return Option(effect="refused", detail=advice)


#: It may be billed, in what no reply counts.
UNPUBLISHED: Final = replace(
    refused("what it costs is not published: leave it out"), billed_unseen=True
)


def allowed_values(*values: str) -> Option:
    """Return an option with a list of allowed values; others are refused."""
    return Option(values=frozenset(values))


def texts(*names: str) -> dict[str, Option]:
    """Return rows of text, to be merged into a table."""
    return dict.fromkeys(names, TEXT)


def fields(*text_fields: str, **rows: Option) -> Option:
    """Return an object with these fields, the *text_fields* ones of text; others are refused."""
    return Option(fields={**texts(*text_fields), **rows})


def block(*text_fields: str, others: Option | None = None, **rows: Option) -> Option:
    """Return an object with a `type`, these fields, and others by *others*."""
    return Option(fields={**texts("type", *text_fields), **rows}, others=others)


def kinds(
    rows: Mapping[str, Option], *, others: Option | None = None, is_list: bool = False
) -> Option:
    """Return objects told apart by their `type`."""
    return Option(kinds=rows, others=others, is_list=is_list)


def content(rows: Mapping[str, Option], *, others: Option | None = None) -> Option:
    """Return a text, or a list of parts told apart by their `type`."""
    return Option(effect="prompt", kinds=rows, others=others)


def server_tool(row: Option, *, unit: str = "", maximum: str = "") -> Option:
    """Return the tool *row* as one the provider runs, in rounds of their own."""
    return replace(row, effect="input", loops=True, unit=unit, maximum=maximum)


def allow_advice(api: str, name: str) -> str:
    """Return what allows the option *name*: the callers' parameter, and its like in a file."""
    key = name if name.replace("_", "").isalnum() else f'"{name}"'
    return f'allowed_options={{"{name}"}}, in earmark.toml [apis.{api}.options] {key} = "text"'


def row_of_kind(rows: Mapping[str, Option], part: Mapping[str, Any]) -> Option | None:
    """Return the row for the type of *part*, whatever its version; `None` if none lists it."""
    name = str(part.get("type") or "")
    row = rows.get(name)
    if row is None and name:
        row = rows.get(_VERSION.sub("", name))
    if row is not None and row.needs and part.keys().isdisjoint(row.needs):
        return None
    return row


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What the requests to one host hold beyond what the caller asks for."""

    output_limit: str = ""
    """Its name for the limit of output tokens; empty if it is the API's first."""
    defaults: Mapping[str, str] = field(default_factory=dict[str, str])
    """Options that, left out, would be set by the account, at another price."""
    free_models: tuple[str, ...] = ()
    """How the names of the models begin whose requests cost nothing there."""


_ANY_HOST: Final = Host()


@dataclass(frozen=True, slots=True, kw_only=True)
class CountEndpoint:
    """Where a provider counts the input tokens of a request without answering it, for nothing."""

    ending: str
    """What ends its path, which is else that of the requests it counts."""
    instead_of: str = ""
    """What ends theirs in its place."""
    options: frozenset[str]
    """The options of a request that are sent to be counted. What the others hold is not in the
    count."""
    wrapped_in: str = ""
    """The member of the body that holds the request; empty where it is the body."""
    answer: str = "input_tokens"
    """The member of the reply that is the count."""

    def path(self, of_requests: str) -> str:
        """Return its path, where *of_requests* is that of the requests it counts."""
        return of_requests.removesuffix(self.instead_of) + self.ending


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTable:
    """All that one API's requests may hold, and how it is bounded."""

    options: Mapping[str, Option]
    messages: str
    """The option that holds the conversation."""
    output_limits: tuple[str, ...]
    """Paths of the limit of output tokens, the one to add first; none if there is no output."""
    min_output: int = 1
    """The lowest limit of output tokens: many servers read 0 as no limit."""
    thinking_budget: str = ""
    """Path of a thinking budget that has to be below that limit: one that is not passes it."""
    choices: str = ""
    """Path of the number of answers asked for; empty if there is always one."""
    tiers: tuple[str, ...] = ()
    """Options that ask for a service tier."""
    unset_tiers: Mapping[str, str] = field(default_factory=dict[str, str])
    """By provider: the tier of a request that asks for none, where the account may choose it."""
    tool_call_limit: str = ""
    """The option that limits the calls of all tools the provider runs; empty if none does."""
    outputs: Modalities = frozenset(MODALITIES)
    """What an answer can consist of where the request does not say."""
    bounded_outputs: Modalities = frozenset({"text", "audio"})
    """What it may be asked to consist of. Images are not bounded by a limit of output tokens."""
    headers: Mapping[str, Mapping[str, Option]] = field(
        default_factory=dict[str, Mapping[str, Option]]
    )
    """By name: headers that alter price or behaviour, and their known values."""
    camel_case: bool = False
    """Whether names may also be written with underscores."""
    is_free: bool = False
    """Whether its requests cost nothing."""
    text_alone: str = ""
    """How a request asks for an answer of text alone; empty where it cannot."""
    fixed_output: Callable[[Mapping[str, Any], str], int] | None = None
    """From the body and the model: the output tokens of one answer at most, where no limit lowers
    them; `None` where a limit decides, or there are none."""
    billed_units: Callable[[Mapping[str, Any]], Mapping[str, int]] | None = None
    """From the body: all that it is billed for, by kind, where its own content is that and no
    tokens are; `None` where it is billed in tokens."""
    has_template: bool = True
    """Whether the provider wraps the conversation in words of its own."""
    asks_for_stream_usage: bool = False
    """Whether a stream counts only where `stream_options.include_usage` says so."""
    hosts: Mapping[str, Host] = field(default_factory=dict[str, Host])
    """By host name; also for the hosts below it."""
    count: CountEndpoint | None = None
    """Where its requests are counted; `None` where no endpoint is known."""

    def host_rules(self, host: str) -> Host:
        """Return what holds for requests to *host*."""
        # Regions have names of their own, such as eu.api.openai.com.
        below = (rules for name, rules in self.hosts.items() if is_below(host, name))
        return next(below, _ANY_HOST)

    def is_free_at(self, host: str, model: str) -> bool:
        """Whether a request to *host* for *model* costs nothing."""
        return self.is_free or model.startswith(self.host_rules(host).free_models)
