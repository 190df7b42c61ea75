"""How one API is asked and answered: its address, its key, a request written, a reply read. Pure.

Each API has one `Dialect` in a file of its own; `earmark.apis.dialects` finds it by name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from earmark.apis.hosts import is_below

#: The APIs that are spoken: each has a dialect.
SpokenApi = Literal["openai", "openai-responses", "anthropic", "gemini"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What is asked of a model, before it is written in an API's form."""

    model: str
    messages: Sequence[Mapping[str, Any]]
    """`{"role": "system" | "user" | "assistant", "content": text or the API's own parts}`."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further fields of the body, as the API names them."""
    choices: int = 1
    stream: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyOutput:
    """What a reply holds beside its usage."""

    value: Any
    """The text, if that is all there is, else the API's own parts; a list for several choices."""
    finish: str | None
    """Why the output ended, in the API's own word."""
    written: int
    """How many choices hold any output at all."""
    fault: str = ""
    """Why this is no usable reply, though it came in full; empty if it is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One API's form of requests and replies, and where and with which key it is asked."""

    maker: str
    """Who made the API and answers at `base_url`, by the price list's name."""
    base_url: str
    """The address of the API's maker, without `path`."""
    path: str
    """What is added to a base URL; `{model}` stands for the model, where the path names it.

    It may begin with the API's version, which a base URL that ends in one replaces.
    """
    stream_path: str = ""
    """The path of a streamed reply, where that is another."""
    stream_query: Mapping[str, str] = field(default_factory=dict[str, str])
    key_header: str
    """The header that carries the key, in lower case."""
    key_prefix: str = ""
    """What stands before the key in it."""
    azure_key_header: str = ""
    """The header that carries the key at Azure, where that is another; without a prefix."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Headers that the API wants beside the key."""
    reserved_fields: frozenset[str]
    """Fields that the request itself sets and no option may; inner ones by a path with dots."""
    supports_choices: bool = False
    """Whether one call may ask for several answers."""
    counting_hosts: tuple[str, ...] = ()
    """Hosts, and those below them, known to report the usage of all choices of a call."""
    write: Callable[[Prompt], dict[str, Any]]
    """Writes the body, but for the limit of output tokens."""
    read: Callable[[Mapping[str, Any]], ReplyOutput]
    """Reads a whole reply; what is not as the API promises becomes its `fault`."""

    def counts_choices(self, host: str) -> bool:
        """Whether the server at *host* is known to report the usage of all choices of a call."""
        return any(is_below(host, known) for known in self.counting_hosts)


def nonempty_text(value: object) -> str | None:
    """Return *value* if it is a string that is not empty, else `None`."""
    return value if isinstance(value, str) and value else None
