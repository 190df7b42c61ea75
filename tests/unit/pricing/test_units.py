"""The table of billed units."""

import pytest
from genai_prices.data_units import unit_data

from earmark.pricing.units import UNITS, billed_within, missing_prices


def test_units_are_those_of_the_price_list() -> None:
    """Kinds, price keys, divisors and dimensions equal the installed price list's, all of them."""
    ours = {
        unit.kind: {
            "per": unit.per,
            "price_key": unit.price_key,
            "dimensions": dict(unit.dimensions),
        }
        for unit in UNITS.values()
    }
    assert ours == unit_data


PLAIN = frozenset({"input_tokens", "output_tokens"})
CACHED = PLAIN | {"cache_read_tokens", "cache_write_tokens"}


@pytest.mark.parametrize(
    ("kind", "priced", "expected"),
    [
        ("output_reasoning_tokens", PLAIN, "output_tokens"),
        ("output_text_reasoning_tokens", PLAIN, "output_tokens"),
        ("input_text_tokens", PLAIN, "input_tokens"),
        ("input_image_tokens", PLAIN, "input_tokens"),
        ("input_tool_tokens", PLAIN, "input_tokens"),
        ("cache_read_tokens", PLAIN, "input_tokens"),
        ("cache_image_read_tokens", CACHED, "cache_read_tokens"),
        ("cache_write_5m_tokens", CACHED, "cache_write_tokens"),
        ("cache_write_tokens", PLAIN, None),
        ("cache_write_1h_tokens", CACHED, None),
        ("input_audio_tokens", PLAIN, None),
        ("output_audio_tokens", PLAIN, None),
        ("output_image_tokens", PLAIN, None),
        ("cache_audio_read_tokens", CACHED, None),
        ("output_citation_tokens", PLAIN, None),
        ("web_searches", PLAIN, None),
        ("holograms", PLAIN, None),
    ],
)
def test_a_kind_without_a_price_is_billed_in_its_whole_only_where_that_is_not_too_little(
    kind: str, priced: frozenset[str], expected: str | None
) -> None:
    """Reasoning is output; audio, one-hour cache writes and searches need a price of their own."""
    assert billed_within(kind, priced) == expected


def test_overlapping_kinds_need_a_price_for_their_overlap() -> None:
    """Audio and cache reads priced without cached audio leave a usage in doubt."""
    priced = frozenset({"input_tokens", "input_audio_tokens", "cache_read_tokens"})
    assert missing_prices(priced) == ["cache_audio_read_tokens"]
    assert missing_prices(priced - {"input_tokens", "input_audio_tokens"}) == ["input_tokens"]
