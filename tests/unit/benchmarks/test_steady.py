"""Rounds that other work disturbed are discarded, counted, and measured again."""

from collections.abc import Iterable
from itertools import chain, count, repeat
from pathlib import Path

import pytest

from benchmarks.raw import Syncs
from benchmarks.settings import Settings
from benchmarks.steady import Probe, Steady, drift_figure, probe, steady

SETTINGS = Settings(folder=Path(), rounds=3)


def at(steps: float, syncs: float = 1000) -> Probe:
    """Return what a probe finds."""
    return Probe(steps=steps, syncs=Syncs(rate=syncs, p50_ns=1, p99_ns=2))


def rounds(probes: Iterable[Probe]) -> Steady[int]:
    """Measure 0, 1, 2 and so on, between *probes*."""
    each = iter(probes)
    return steady(count().__next__, "a", SETTINGS, probe=lambda _: next(each))


def test_rounds_between_probes_that_agree_are_kept() -> None:
    """Three rounds, three values, nothing discarded and nothing said of it."""
    measured = rounds(repeat(at(100)))
    assert (measured.values, measured.discarded) == ((0, 1, 2), 0)
    assert measured.detail(lambda: "said") == "said"


@pytest.mark.parametrize("other", [at(131), at(76), at(100, syncs=1301), at(100, syncs=768)])
def test_a_round_in_which_the_machine_changed_is_measured_again(other: Probe) -> None:
    """Whether processor or disk, slower or faster: the round before the change is kept, not it."""
    measured = rounds(chain([at(100), at(100)], repeat(other)))
    assert (measured.values, measured.discarded) == ((0, 2, 3), 1)
    assert measured.detail(lambda: "said") == "said; 1 of 4 rounds discarded"


def test_a_change_within_the_bound_discards_nothing() -> None:
    """The bound itself is within it."""
    assert rounds(chain([at(100)], repeat(at(130, syncs=770)))).discarded == 0


def test_a_machine_that_is_never_steady_is_not_measured() -> None:
    """It is given up once nine attempts cannot give three rounds: no value, but the reason."""
    measured = rounds(iter([at(100 + 100 * (number % 2)) for number in range(20)]))
    assert (measured.values, measured.discarded, len(measured.drifts)) == ((), 7, 7)
    assert measured.detail(lambda: "said").startswith("not measured: 7 of 7 rounds discarded")
    figure = drift_figure("ledger", [measured])
    assert figure.median == 2
    assert figure.detail.startswith("7 of 7 rounds discarded; fdatasync 1.0k/s")


def test_too_few_steady_rounds_have_no_median() -> None:
    """Two of three that were asked for are as good as none."""
    unsteady = [at(100 + 100 * (number % 2)) for number in range(8)]
    measured = rounds(iter([at(200), at(200), at(200), *unsteady]))
    assert (measured.values, measured.discarded) == ((), 7)


def test_a_probe_times_the_processor_and_the_disk(tmp_path: Path) -> None:
    """Both are rates; a probe agrees with itself."""
    found = probe(Settings(folder=tmp_path, seconds=0.05))
    assert found.steps > 0
    assert found.syncs.rate > 0
    assert found.drift(found) == 1
