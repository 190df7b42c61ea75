"""The report of the benchmarks: the table, the JSON and the section in `RESULTS.md`."""

import json
import os
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.figure import Figure, at_least, at_most
from benchmarks.machine import build, disk, machine
from benchmarks.policies import figures as policy_figures
from benchmarks.report import document, missed, save, table, with_last_run

MACHINE = {"date": "2026-12-01", "cores": "2"}
HOT = Figure(
    area="ledger", what="ops per fdatasync", samples=(15.2, 14.1, 16.0), target=at_least(14)
)
SLOW = Figure(area="memory", what="spend block", samples=(31.0,), target=at_most(30))
TOLD = Figure(area="memory", what="told only", samples=(), detail="not measured: no program")


def test_the_table_has_a_line_for_each_figure_with_its_range_and_verdict() -> None:
    """A reader sees the median, how far the rounds lie apart, the target and whether it is met."""
    lines = table([HOT, SLOW, TOLD]).splitlines()
    assert lines[1] == "ledger:"
    assert lines[2].split() == ["ops", "per", "fdatasync", "15.2", "(14.1-16)", ">=", "14", "pass"]
    assert lines[4].split() == ["spend", "block", "31", "<=", "30", "miss"]
    assert lines[5].split()[:3] == ["told", "only", "-"]


def test_only_missed_targets_fail_a_run() -> None:
    """What is told without a target, or could not be measured, fails nothing."""
    assert missed([HOT, SLOW, TOLD]) == [SLOW]


def test_json_has_every_sample_and_the_machine() -> None:
    """Another program can judge the rounds by itself."""
    said = json.loads(document(MACHINE, [HOT]))
    assert said["machine"]["cores"] == "2"
    assert said["figures"][0]["samples"] == [15.2, 14.1, 16.0]
    assert said["figures"][0]["median"] == 15.2
    assert said["figures"][0]["verdict"] == "pass"


def test_a_run_of_one_area_keeps_the_others_and_the_words_around_them(tmp_path: Path) -> None:
    """`python -m benchmarks memory` replaces the memory store's numbers and nothing else."""
    file = tmp_path / "RESULTS.md"
    file.write_text("# Results\n\nHow.\n\n## Last run\n\nold\n\n## History\n\nkept\n")
    save(file, MACHINE, [HOT])
    save(file, {**MACHINE, "date": "2026-12-02"}, [SLOW])
    text = file.read_text()
    assert text.startswith("# Results\n\nHow.\n\n## Last run\n\n### ledger\n\n2026-12-01: cores 2")
    assert text.count("### memory") == 1
    assert "2026-12-02: cores 2" in text
    assert text.endswith("\n\n## History\n\nkept\n")
    assert "old" not in text


def test_an_area_of_which_nothing_was_measured_keeps_its_numbers() -> None:
    """Where every round was discarded, the last ones that mean something stay."""
    drift = replace(HOT, what="drift", target=None)
    nothing = replace(HOT, samples=(), detail="not measured: 9 of 9 rounds discarded")
    once = with_last_run("# Results\n", MACHINE, [HOT])
    assert with_last_run(once, MACHINE, [drift, nothing]) == once
    assert "9 of 9" in with_last_run("# Results\n", MACHINE, [nothing])
    assert "9 of 9" in with_last_run(once, MACHINE, [nothing, SLOW, replace(SLOW, area="ledger")])


def test_a_run_measured_again_replaces_its_own_numbers() -> None:
    """Writing the same run twice gives the same text."""
    once = with_last_run("# Results\n", MACHINE, [HOT, SLOW])
    assert with_last_run(once, MACHINE, [HOT, SLOW]) == once


def test_the_machine_is_described_without_its_name_or_paths(tmp_path: Path) -> None:
    """Results can be published: no host name, no folder."""
    said = " ".join(machine(tmp_path).values())
    assert os.uname().nodename not in said
    assert "/" not in disk(tmp_path)
    assert str(tmp_path) not in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("'--enable-optimizations' '--with-lto'", "PGO, LTO"),
        ("'--enable-shared'", "no PGO, no LTO"),
        (None, "build unknown"),
    ],
)
def test_how_the_interpreter_was_built_is_told_by_what_it_was_configured_with(
    options: str | None, said: str
) -> None:
    """One built without profile does six tenths of one with: a reader must know."""
    assert build(options) == said


def test_the_machines_line_says_how_the_interpreter_was_built(tmp_path: Path) -> None:
    """It is this interpreter's build."""
    said = build(sysconfig.get_config_var("CONFIG_ARGS"))
    assert machine(tmp_path)["python"].endswith(f"({said})")


def test_the_policies_are_judged_by_overspend_use_and_false_refusals() -> None:
    """Zero overspend passes; a nano-dollar over, or 2 % false refusals, is a miss."""
    row = {
        "policy": "strict",
        "overspent_usd": "0.000000001",
        "used": 0.985,
        "false_refusals": 0.02,
        "cut": 0.0,
        "wait_p99_s": 1.0,
    }
    assert [figure.verdict for figure in policy_figures(row)] == ["miss", "pass", "miss"]
    assert policy_figures({**row, "overspent_usd": "0"})[0].verdict == "pass"
