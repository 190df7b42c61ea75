"""Budget paths."""

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
        ("a b", "letters, digits"),
        ("acmé", "letters, digits"),
        ("acme\n", "letters, digits"),
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


def test_what_is_no_text_is_no_path() -> None:
    """None or a number in place of a path is refused like any other wrong path."""
    for given in (None, 7):
        with pytest.raises(InvalidPath):
            parse_path(given)  # pyright: ignore[reportArgumentType] - that is the point
