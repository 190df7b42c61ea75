"""Budget paths."""

import re
from pathlib import Path

import pytest

from earmark.budget.path import ancestors, is_within, parse_path
from earmark.errors import InvalidPath


def test_a_path_is_its_segments() -> None:
    """A well-formed path is accepted as it is, case kept."""
    for text in (
        "acme",
        "acme/research/agent-7",
        "A.b_c-9/x",
        "a" * 64,
        "/".join("abcdefghijklmnop"),
    ):
        assert parse_path(text) == text


def test_ancestors_come_leaf_first() -> None:
    """A reservation touches the budget itself, then everything above it."""
    assert ancestors("acme/research/agent-7") == ("acme/research/agent-7", "acme/research", "acme")
    assert ancestors("acme") == ("acme",)


def test_below_means_whole_segments() -> None:
    """`acme2` is not below `acme`, though its name begins with it."""
    assert is_within("acme/x", "acme")
    assert is_within("acme", "acme")
    assert not is_within("acme2", "acme")
    assert not is_within("acme2/x", "acme")
    assert not is_within("acme", "acme/x")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "single slashes"),
        ("/acme", "single slashes"),
        ("acme/", "single slashes"),
        ("acme//x", "single slashes"),
        (".", "not '.'"),
        ("acme/../x", "not '..'"),
        ("a b", "letters, digits, '.', '_' and '-', without ' '"),
        ("users/ann@example.com", "without '@'"),
        ("acmé", r"without '\xe9'"),
        ("acme\n", r"without '\n'"),
        ("acme/%2e", "letters, digits"),
        ("a\\b", "letters, digits"),
        ("a" * 65, "64 characters"),
        ("/".join("abcdefghijklmnopq"), "16 segments"),
        ("/".join(["a" * 60] * 5), "255 characters"),
        ("a" * 100_000_000, "255 characters"),
    ],
)
def test_a_wrong_path_says_what_is_wrong(text: str, says: str) -> None:
    """Each wrong path is refused in one short sentence that names the rule it breaks."""
    with pytest.raises(InvalidPath, match="is not a budget path: give") as caught:
        parse_path(text)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 400


DOCUMENTED = re.compile(
    r"is 1 to (\d+) segments joined by `/`, at most (\d+) characters in all\."
    r" A segment is `(\S+)`, and neither `(\S+)` nor `(\S+)`"
)


def test_the_rule_of_the_documentation_is_the_one_of_the_code() -> None:
    """What the page says of segments holds for each character and at each length."""
    page = (Path(__file__).parents[3] / "docs" / "library.md").read_text("utf-8")
    (most, longest, segment, here, above) = DOCUMENTED.findall(page)[0]
    samples = [chr(n) for n in range(0x250)] + ["a" * n for n in range(70)]
    assert {each for each in samples if taken(each)} == {
        each for each in samples if re.fullmatch(segment, each) and each not in {here, above}
    }
    assert [taken(each) for each in (here, above, "A.b_c-9")] == [False, False, True]
    assert [taken("/".join("a" * n)) for n in (int(most), int(most) + 1)] == [True, False]
    whole = "/".join(["a" * 63] * 4)
    assert len(whole) == int(longest)
    assert [taken(each) for each in (whole, f"{whole}a")] == [True, False]


def taken(path: str) -> bool:
    """Return whether a budget may stand at *path*."""
    try:
        return parse_path(path) == path
    except InvalidPath:
        return False


def test_what_is_no_text_is_no_path() -> None:
    """None or a number in place of a path is refused like any other wrong path."""
    for given in (None, 7):
        with pytest.raises(InvalidPath):
            parse_path(given)  # pyright: ignore[reportArgumentType] - that is the point
