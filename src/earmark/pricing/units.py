"""The kinds of units providers bill, and which kinds are parts of which.

The names, divisors and dimensions are those of genai-prices' unit registry (0.2.3, MIT), kept here
so that a pinned price can be used without loading its 2,300 models; a test holds the two equal.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One kind of billed unit, such as `cache_read_tokens`, priced per *per* of them."""

    kind: str
    price_key: str
    per: int
    dimensions: frozenset[tuple[str, str]]

    def includes(self, other: "Unit") -> bool:
        """Whether every *other* is also one of these: input tokens include cache reads."""
        return self.dimensions <= other.dimensions

    def dimension(self, name: str) -> str | None:
        """Return the value of one dimension, such as `input` for `direction`."""
        return dict(self.dimensions).get(name)

    @property
    def family(self) -> str:
        """What is counted: `tokens`, `durations`, `tool_calls`, `requests`, or another."""
        return self.dimension("family") or ""


MODALITIES: Final = ("text", "audio", "image", "video")


def _tokens(kind: str, direction: str, **more: str) -> Unit:
    return Unit(
        kind=f"{kind}_tokens",
        price_key=f"{kind}_mtok",
        per=1_000_000,
        dimensions=frozenset({"family": "tokens", "direction": direction, **more}.items()),
    )


def _other(kind: str, price_key: str, per: int, **dimensions: str) -> Unit:
    return Unit(kind=kind, price_key=price_key, per=per, dimensions=frozenset(dimensions.items()))


def _caches(infix: str, **modality: str) -> list[Unit]:
    write = {"token_type": "cache_write", **modality}
    return [
        _tokens(f"cache_{infix}read", "input", token_type="cache_read", **modality),  # noqa: S106 - no secret
        _tokens(f"cache_{infix}write", "input", **write),
        _tokens(f"cache_{infix}write_5m", "input", cache_ttl="5m", **write),
        _tokens(f"cache_{infix}write_1h", "input", cache_ttl="1h", **write),
    ]


def _of_modality(infix: str, **modality: str) -> list[Unit]:
    return [
        _tokens(f"input{infix}", "input", **modality),
        _tokens(f"output{infix}", "output", **modality),
        *_caches(f"{infix[1:]}_" if infix else "", **modality),
        _tokens(f"input{infix}_tool", "input", token_type="tool", **modality),  # noqa: S106 - no secret
        _tokens(f"output{infix}_reasoning", "output", token_type="reasoning", **modality),  # noqa: S106
        _tokens(f"output{infix}_citation", "output", token_type="citation", **modality),  # noqa: S106
    ]


_ALL: Final = [
    *_of_modality(""),
    *(unit for name in MODALITIES for unit in _of_modality(f"_{name}", modality=name)),
    _other("input_characters", "input_mchars", 10**6, family="characters", direction="input"),
    _other(
        "input_text_messages",
        "input_text_messages_kcount",
        1000,
        family="messages",
        direction="input",
        modality="text",
    ),
    _other("audio_seconds", "audio_hours", 3600, family="durations", modality="audio"),
    _other(
        "input_audio_seconds",
        "input_audio_hours",
        3600,
        family="durations",
        direction="input",
        modality="audio",
    ),
    _other(
        "output_audio_seconds",
        "output_audio_hours",
        3600,
        family="durations",
        direction="output",
        modality="audio",
    ),
    _other("input_pixels", "input_gpixels", 10**9, family="pixels", direction="input"),
    _other(
        "input_document_pages",
        "input_document_kpages",
        1000,
        family="document_pages",
        direction="input",
    ),
    _other(
        "input_annotated_document_pages",
        "input_annotated_document_kpages",
        1000,
        family="document_pages",
        direction="input",
        page_type="annotated",
    ),
    _other("rerank_searches", "rerank_searches_kcount", 1000, family="rerank"),
    *(
        _other(f"{plural}", f"{plural}_kcount", 1000, family="tool_calls", tool_type=singular)
        for plural, singular in (
            ("web_searches", "web_search"),
            ("social_searches", "social_search"),
            ("storage_searches", "storage_search"),
            ("code_executions", "code_execution"),
        )
    ),
    _other("requests", "requests_kcount", 1000, family="requests"),
]

UNITS: Final = {unit.kind: unit for unit in _ALL}
UNITS_BY_PRICE_KEY: Final = {unit.price_key: unit for unit in _ALL}

#: What a part may have beyond the whole it is billed in, when it has no price of its own.
#:
#: - `text` is the modality a plain token price is for.
#: - `image` and `video` *inputs* become tokens billed at the plain input rate, unless a rate of
#:   their own is published (OpenAI's and Anthropic's vision guides; Google's price page says
#:   "text / image / video"). Audio is dearer wherever it is sold, as is what is generated.
#: - reasoning tokens are billed as output, tool-use prompt tokens as input (price pages of OpenAI,
#:   Anthropic and Google): without a rate of their own they are counts for information.
#: - a cache read replaces an input token and is not dearer than it (so in 1,152 of the 1,153
#:   prices listed): billed as plain input, it is never counted too low. A cache *write* is dearer,
#:   so it needs a price of its own.
#: - a cache write lives 5 minutes unless one hour is asked for (Anthropic, prompt caching), so the
#:   plain cache-write rate is the 5-minute one. One hour is dearer.
_BILLED_AS_THE_WHOLE: Final = frozenset(
    {
        ("input", "modality", "text"),
        ("output", "modality", "text"),
        ("input", "modality", "image"),
        ("input", "modality", "video"),
        ("input", "token_type", "cache_read"),
        ("input", "token_type", "tool"),
        ("output", "token_type", "reasoning"),
        ("input", "cache_ttl", "5m"),
    }
)


@cache
def billed_within(kind: str, priced: frozenset[str]) -> str | None:
    """Return the priced kind that *kind* is billed in: itself, a whole it is part of, or `None`.

    `None` means the kind has no price: it must be refused, never counted as 0.
    """
    if kind in priced:
        return kind
    unit = UNITS.get(kind)
    if unit is None:
        return None
    wholes = [UNITS[name] for name in priced if UNITS[name].includes(unit)]
    if not wholes:
        return None
    nearest = max(wholes, key=lambda whole: len(whole.dimensions))
    direction = unit.dimension("direction") or ""
    beyond = {(direction, name, value) for name, value in unit.dimensions - nearest.dimensions}
    return nearest.kind if beyond <= _BILLED_AS_THE_WHOLE else None


def missing_prices(kinds: frozenset[str]) -> list[str]:
    """Return the kinds that must be priced too for *kinds* to split a usage without doubt.

    A part needs its whole priced; two kinds that overlap need their overlap priced.
    """
    priced = [UNITS[kind] for kind in sorted(kinds)]
    missing = {whole.kind for part in priced for whole in _ALL if whole.includes(part)} - kinds
    by_dimensions = {unit.dimensions: unit.kind for unit in _ALL}
    for index, one in enumerate(priced):
        for two in priced[index + 1 :]:
            both = one.dimensions | two.dimensions
            overlaps = len(dict(both)) == len(both)
            if overlaps and by_dimensions.get(both, "") not in kinds:
                missing.add(by_dimensions.get(both, f"{one.kind} with {two.kind}"))
    return sorted(missing)
