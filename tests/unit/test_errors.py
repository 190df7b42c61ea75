"""Errors: one tree, each class with its code, its exit code and status, and one clear sentence."""

import pickle
import re
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from typing import Any

import pytest

from earmark import errors
from earmark.errors import (
    OUTCOMES,
    BudgetExceeded,
    EarmarkError,
    InputError,
    Reason,
    Refusal,
    StoreError,
)
from earmark.money import Money


def tree(root: type[EarmarkError] = EarmarkError) -> list[type[EarmarkError]]:
    """Return *root* and every public class below it that Earmark itself defines."""
    below = [kind for child in root.__subclasses__() for kind in tree(child)]
    public = root.__module__.startswith("earmark.") and not root.__name__.startswith("_")
    return [root, *below] if public else below


SAMPLES: dict[str, Any] = {
    "reason": Reason.HELD,
    "resets_at": datetime(2026, 12, 1, tzinfo=UTC),
    "problems": ("one", "two"),
    "billed": "unknown",
    "attempt": 2,
    "status": 529,
    "retryable": True,
    "retry_after": 1.5,
}


def sample(kind: type[EarmarkError]) -> EarmarkError:
    """Return an error of *kind* with something in every field that has no default."""
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    return kind(**{name: SAMPLES.get(name, f"<{name}>") for name in needed})


def test_every_class_has_an_outcome() -> None:
    """Each class of the tree has a row in the table, under a code of its own; no row is left."""
    codes = [kind.code for kind in tree()]
    assert sorted(codes) == sorted(set(codes))
    assert set(codes) == set(OUTCOMES)


@pytest.mark.parametrize("kind", tree(), ids=lambda kind: kind.__name__)
def test_every_class_is_drawn_where_it_stands(kind: type[EarmarkError]) -> None:
    """The module's docstring draws each class of the tree."""
    drawing = (errors.__doc__ or "").split("Each class has")[0]
    assert re.search(rf"\b{kind.__name__}\b", drawing)


@pytest.mark.parametrize("kind", tree(), ids=lambda kind: kind.__name__)
def test_every_error_is_one_sentence(kind: type[EarmarkError]) -> None:
    """An error's text is one line that holds what it was given, and its code is snake case."""
    error = sample(kind)
    assert str(error)
    assert "\n" not in str(error)
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    for name in ("detail", "text", "key", "budget", "store", "place"):
        if f"<{name}>" in error.facts().values():
            assert f"<{name}>" in str(error)


@pytest.mark.parametrize("kind", tree(), ids=lambda kind: kind.__name__)
def test_every_error_crosses_processes(kind: type[EarmarkError]) -> None:
    """Pickled and read back, an error is of the same class with the same fields."""
    error = sample(kind)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - own
    assert (type(again), again.facts(), str(again)) == (kind, error.facts(), str(error))


@pytest.mark.parametrize("kind", tree(), ids=lambda kind: kind.__name__)
def test_outcomes_follow_the_branches(kind: type[EarmarkError]) -> None:
    """Input errors leave with 1 and 4xx, refusals with 2, store errors with 1 and 503."""
    outcome = OUTCOMES[kind.code]
    if issubclass(kind, InputError):
        assert (outcome.exit_code, outcome.http_status) == (1, 400)
        assert issubclass(kind, ValueError)
    elif issubclass(kind, Refusal):
        assert outcome.exit_code == 2
        assert outcome.http_status in {402, 409, 422}
    elif issubclass(kind, StoreError):
        assert (outcome.exit_code, outcome.http_status) == (1, 503)
    assert outcome.exit_code in {1, 2, 3}


REFUSAL = BudgetExceeded(
    reason=Reason.HELD,
    budget="acme/lab",
    window="per day",
    limit=Money("10.5"),
    settled=Money("3"),
    held=Money("7"),
    available=Money("0.5"),
    requested=Money(1),
    resets_at=datetime(2026, 12, 1, tzinfo=UTC),
)


def test_a_refusal_says_all_its_numbers() -> None:
    """Who refused how much of what, what is left, why, and when it may fit."""
    assert str(REFUSAL) == (
        "budget 'acme/lab' refused 1 usd: 0.5 of 10.5 usd per day available (3 settled, 7 held);"
        " it is held by what is in flight: wait for that to settle; resets at 2026-12-01T00:00:00Z"
    )


@pytest.mark.parametrize("reason", list(Reason))
def test_each_reason_has_a_remedy(reason: Reason) -> None:
    """Every reason tells what to do; only `held` is worth asking again soon."""
    error = BudgetExceeded(reason=reason, budget="acme")
    assert len(str(error)) > len("budget 'acme' refused: ")
    assert error.retryable is (reason is Reason.HELD)
    assert error.facts()["retryable"] is error.retryable


def test_what_never_fits_has_no_reset() -> None:
    """A refusal as too large does not advise to wait for the window."""
    values = fields_of(REFUSAL)
    values["reason"] = Reason.TOO_LARGE
    error = BudgetExceeded(**values)
    assert "resets" not in str(error)
    assert "raise the limit" in str(error)


def fields_of(error: EarmarkError) -> dict[str, Any]:
    """Return what *error* was made of."""
    return {f.name: getattr(error, f.name) for f in fields(error)}


def test_no_numbers_of_a_refusal_are_floats() -> None:
    """Amounts in errors are Money or whole numbers."""
    assert not any(isinstance(value, float) for value in REFUSAL.facts().values())


def test_a_cause_is_kept() -> None:
    """An error raised from another keeps it, and can be raised again from several threads."""
    cause = OSError("disk")
    with pytest.raises(StoreError) as caught:
        raise errors.StoreUnavailable(store="s", detail="d") from cause
    assert caught.value.__cause__ is cause
