"""Which input a node gets, as pure functions."""

from earmark.composition.types import NULL, TEXT, Record, union
from earmark.runs.routing import overlay_config


def test_a_bare_value_goes_under_the_field_that_is_still_required() -> None:
    """With an optional field free too, a bare value is given to the required one."""
    wanted = Record({"before": union([TEXT, NULL]), "text": TEXT, "to": TEXT})

    assert overlay_config("hello", {"to": "de"}, wanted) == {"text": "hello", "to": "de"}
