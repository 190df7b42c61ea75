"""The kept mutations fit the code as it stands: `make mutations` runs them, which takes minutes."""

import pytest

from tests.mutations.kept import ROOT, Mutation, WrongPlaceError, misplaced, read_mutations


def test_every_mutation_has_its_place_and_its_test() -> None:
    """Each text is found exactly once, in a file that is there, and its test is defined."""
    assert misplaced(read_mutations()) == []


def test_every_package_has_mutations() -> None:
    """No package of the source is left out, and no two mutations are the same."""
    kept = [(each.path, each.before, each.after) for each in read_mutations()]
    assert len(set(kept)) == len(kept) >= 60
    packages = {each.parent.name for each in (ROOT / "src" / "earmark").glob("*/__init__.py")}
    mutated = {path.split("/")[2] for path, *_ in kept}
    assert packages - mutated - {"errors", "testing"} == set()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"path": "src/earmark/moved.py"}, "there is no file src/earmark/moved.py"),
        ({"before": "what nobody wrote"}, "0 places, not 1"),
        ({"before": "[tool."}, "places, not 1"),
        ({"test": "tests/unit/test_ids.py::test_that_was_renamed"}, "there is no test tests/unit"),
        ({"test": "tests/unit/test_moved.py::test_one"}, "there is no test tests/unit/test_moved"),
    ],
)
def test_what_moved_is_named(changed: dict[str, str], said: str) -> None:
    """A file, a text or a test that is not where it was, or a text that is there twice."""
    parts = {
        "path": "pyproject.toml", "before": "[build-system]", "after": "[build-systems]",
        "test": "tests/mutations/test_places.py::test_what_moved_is_named", "source": "x.toml 7",
    }  # fmt: skip
    with pytest.raises(WrongPlaceError, match=r"^x\.toml 7: ") as error:
        Mutation(**parts | changed).check()
    assert said in str(error.value)
