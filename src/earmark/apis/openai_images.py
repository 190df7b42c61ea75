"""OpenAI's Images API, "Create image": the size, the quality and the number decide the output.

Which model writes how many tokens for an image, and where that is from (read 2026-11):

- `gpt-image-1`: OpenAI, "Image generation", "Cost and latency", the table of output tokens.
- `gpt-image-1-mini`: what the same page lists as its price for an image is up to 350 tokens above
  that table, so the price counts, and half a unit of its last place, at 8 USD for a million tokens.
- `gpt-image-2`: the page has a calculator and no table. Its formula was published by a user in
  OpenAI's forum ("Gpt-image-2 output pricing calculator"), and gives all six prices that the page
  lists.

Refused, as no source bounds what they write: `gpt-image-1.5`, which bills text beside its images,
`chatgpt-image-latest`, and the models from `gpt-image-2.5` on.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from earmark.apis import openai_responses
from earmark.apis.counters import Counter, Fees
from earmark.apis.options import UNPUBLISHED, RequestTable, allowed_values, texts
from earmark.pricing.json_values import mapping
from earmark.pricing.rates import unpriced

COUNTERS: Final = openai_responses.COUNTERS
PROVIDERS: Final[Mapping[str, Mapping[str, Counter]]] = {}

_SIZES: Final = ("1024x1024", "1024x1536", "1536x1024")
#: Output tokens of one image by quality, for each of the sizes.
_TABLES: Final[Mapping[str, Mapping[str, tuple[int, int, int]]]] = {
    "gpt-image-1": {
        "low": (272, 408, 400),
        "medium": (1056, 1584, 1568),
        "high": (4160, 6240, 6208),
    },
    # 0.005, 0.006; 0.011, 0.015; 0.036, 0.052 USD.
    "gpt-image-1-mini": {
        "low": (688, 813, 813),
        "medium": (1438, 1938, 1938),
        "high": (4563, 6563, 6563),
    },
}
_CALCULATED: Final = frozenset({"gpt-image-2", "gpt-image-2-2026-04-21"})
#: Of the calculator: tokens along the longer edge, and the two numbers of its area.
_ALONG_EDGE: Final[Mapping[str, int]] = {"low": 16, "medium": 48, "high": 96}
_AREA_OFFSET: Final = 2_000_000
_AREA_DIVISOR: Final = 4_000_000
#: The largest square, which has the most tokens: no edge is longer than 3840, no area larger.
_LARGEST: Final = (2880, 2880)
_STEP, _LONGEST_EDGE, _LONGEST_RATIO = 16, 3840, 3
_PIXELS: Final = range(655_360, 8_294_400 + 1)
_SIZE: Final = re.compile(r"([1-9][0-9]{1,3})x([1-9][0-9]{1,3})")
_ANY: Final = (None, "", "auto")


def fees(body: Mapping[str, Any]) -> Fees:
    """Return what a reply shows beside its usage: the work of another model, which wrote an SVG."""
    used = mapping(body.get("svg_usage"))
    return Fees.of({}, ("svg_usage",) if any(used.values()) else ())


def image_tokens(body: Mapping[str, Any], model: str) -> int:
    """Return the most output tokens of one image that *body* asks *model* for.

    A size or a quality that is left to the model is the one with the most tokens.

    Raises:
        BudgetExceeded: With reason `unpriced`: no source says how many it has.
    """
    name, quality, size = model.rpartition("/")[2], body.get("quality"), body.get("size")
    table = _TABLES.get(name)
    if table is None and name not in _CALCULATED:
        known = ", ".join((*_TABLES, *sorted(_CALCULATED)))
        raise unpriced(
            f"how many output tokens an image of '{name[:60]}' has at most is not published: ask"
            f" for one of {known}"
        )
    qualities = tuple(_ALONG_EDGE) if quality in _ANY else (quality,)
    if not _ALONG_EDGE.keys() >= set(map(str, qualities)):
        known = ", ".join(_ALONG_EDGE)
        raise unpriced(f"option 'quality' is {str(quality)[:60]!r}; only auto, {known} is bounded")
    if table is not None:
        return max(_listed(table[str(each)], size) for each in qualities)
    width, height = _LARGEST if size in _ANY else _edges(size)
    return max(_calculated(_ALONG_EDGE[str(each)], width, height) for each in qualities)


def _listed(tokens: tuple[int, int, int], size: object) -> int:
    if size in _ANY:
        return max(tokens)
    if size not in _SIZES:
        known = ", ".join(_SIZES)
        raise unpriced(f"option 'size' is {str(size)[:60]!r}; only auto, {known} is bounded")
    return tokens[_SIZES.index(str(size))]


def _edges(size: object) -> tuple[int, int]:
    found = _SIZE.fullmatch(str(size))
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    longer, shorter = max(width, height), min(width, height)
    fits = longer <= min(_LONGEST_EDGE, _LONGEST_RATIO * shorter) and width * height in _PIXELS
    if not fits or width % _STEP or height % _STEP:
        raise unpriced(
            f"option 'size' is {str(size)[:60]!r}; only auto and WIDTHxHEIGHT is bounded, of"
            f" multiples of {_STEP} up to {_LONGEST_EDGE}, at most {_LONGEST_RATIO}:1, of"
            f" {_PIXELS[0]} to {_PIXELS[-1]} pixels"
        )
    return width, height


def _calculated(along_edge: int, width: int, height: int) -> int:
    longer, shorter = max(width, height), min(width, height)
    across = (2 * along_edge * shorter + longer) // (2 * longer)
    return -(-along_edge * across * (_AREA_OFFSET + width * height) // _AREA_DIVISOR)


#: Source: OpenAI API reference, "Create image", and the types of the `openai` SDK 3.57, 2026-11.
REQUEST: Final = RequestTable(
    messages="prompt",
    output_limits=(),
    fixed_output=image_tokens,
    choices="n",
    options={
        **texts("model", "n", "size", "quality", "prompt", "background", "moderation", "style"),
        **texts("output_compression", "response_format", "safety_identifier", "user"),
        # A GIF has many frames, an SVG an author of another model.
        "output_format": allowed_values("png", "jpeg", "webp"),
        "frame_count": UNPUBLISHED,
        "frame_duration_ms": UNPUBLISHED,
        "svg": UNPUBLISHED,
        "complexity": UNPUBLISHED,
        # 100 output tokens for each partial image; no stream of images is read here.
        "stream": allowed_values("false"),
        "partial_images": allowed_values("0"),
    },
)
