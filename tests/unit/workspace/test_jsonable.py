"""Amounts as JSON shows them."""

import json

import pytest

from earmark.workspace.jsonable import expand_exponents


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (8.2e-05, "0.000082"),
        (1e-09, "0.000000001"),
        (-2.5e-07, "-0.00000025"),
        (0.045864, "0.045864"),
        (1.5, "1.5"),
        (1e300, "1e+300"),
        (5e-324, "5e-324"),
    ],
)
def test_small_numbers_are_written_out(number: float, said: str) -> None:
    """A nano-USD has nine digits; what is no amount of anything stays as it is."""
    text = expand_exponents(json.dumps([number, {"e-05": number}]))
    assert text == f'[{said}, {{"e-05": {said}}}]'
    assert json.loads(text) == [number, {"e-05": number}]


@pytest.mark.parametrize("words", ["8.2e-05", 'a "1e-05" b', "\\", '\\"1e-05', "é 1e-05\n"])
def test_texts_stay_as_they_are(words: str) -> None:
    """What a model wrote is not touched, however it is quoted."""
    for ascii_only in (True, False):
        text = json.dumps({"a": words, "b": [words, 1e-05]}, ensure_ascii=ascii_only)
        assert json.loads(expand_exponents(text)) == {"a": words, "b": [words, 1e-05]}
        assert expand_exponents(text) == text.replace("1e-05]", "0.00001]")
