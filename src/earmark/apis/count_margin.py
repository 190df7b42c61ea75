"""How far a provider's own count of a request may be off: what is added to it, as a share."""

import re
from decimal import Decimal
from typing import Final

from earmark.errors import InvalidUsage
from earmark.errors.inputs import shown

#: Added to a count unless the user says otherwise. No provider says how far its count can be off:
#: Anthropic's by "a small amount", OpenAI's is "exact"; llama.cpp's was off by nothing, nine times.
DEFAULT_MARGIN: Final = "2 %"
MILLION: Final = 1_000_000
_PERCENT: Final = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)\s?%")


def parse_margin(text: object) -> int:
    """Return a margin such as `2 %` or `0.5%` in parts per million.

    Raises:
        InvalidUsage: It is no share from 0 % to 100 %.
    """
    found = _PERCENT.fullmatch(text) if isinstance(text, str) else None
    parts = int(Decimal(found[1]) * (MILLION // 100)) if found else MILLION + 1
    if parts > MILLION:
        raise InvalidUsage(detail=f"the margin is {shown(text)!r}; give a share such as '2 %'")
    return parts
