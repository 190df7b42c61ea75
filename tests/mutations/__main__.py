"""`python -m tests.mutations`: put each kept mutation into a copy of the tree and run its test.

What stays green is a guard that no test holds. Exit code 1 where one does. Nothing is run where the
text of one is not in its file exactly once.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Literal

from tests.mutations.kept import ROOT, Mutation, misplaced, read_mutations

#: What a test may need; never the environment, caches or results.
COPIED = ("src", "tests", "docs", "benchmarks", ".ci")
#: A fault can make a test wait for ever; that is noticed too.
LAST_RESORT_S = 600
_FAILED, _PASSED = 1, 0

State = Literal["red", "green", "broken"]


@dataclass(frozen=True)
class Verdict:
    """What came of one mutation."""

    mutation: Mutation
    state: State
    detail: str = ""


@contextmanager
def copy_of_tree() -> Iterator[Path]:
    """A copy of the tree to put faults into, without anything compiled."""
    with tempfile.TemporaryDirectory(prefix="mutations-") as name:
        copy = Path(name).resolve()
        for folder in COPIED:
            if (ROOT / folder).is_dir():
                copytree(ROOT / folder, copy / folder, ignore=ignore_patterns("__pycache__"))
        for file in ROOT.iterdir():
            if file.is_file():
                (copy / file.name).write_bytes(file.read_bytes())
        yield copy


def run_tests(copy: Path, *tests: str) -> tuple[int, str]:
    """Run *tests* on the package in *copy*; return the exit code and what was said."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider"]
    # By time and size alone Python would take a compiled file for that of the mutated source.
    environ = {
        **os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1",
        "EARMARK_TEST_SLOW": "1",
    }  # fmt: skip
    done = subprocess.run(
        [*command, f"--timeout={LAST_RESORT_S}", *tests],
        cwd=copy,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout[-2000:] + done.stderr[-2000:]


def judge(copy: Path, mutation: Mutation) -> Verdict:
    """Put one mutation in, run its test, and take it out again."""
    file = copy / mutation.path
    whole = file.read_text(encoding="utf-8")
    file.write_text(mutation.applied(copy), encoding="utf-8")
    try:
        code, said = run_tests(copy, mutation.test)
    finally:
        file.write_text(whole, encoding="utf-8")
    if code == _FAILED:
        return Verdict(mutation, "red")
    if code == _PASSED:
        return Verdict(mutation, "green", f"{mutation.test} passes")
    return Verdict(mutation, "broken", f"pytest ended with {code}: {said}")


def say(text: str) -> None:
    """Tell how far it is."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main() -> int:
    """Run what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="make mutations", description=__doc__)
    parser.add_argument("only", nargs="*", help="parts of paths, such as ledger/ or rules.py")
    parser.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    asked = parser.parse_args()
    kept = [m for m in read_mutations() if not asked.only or any(o in m.path for o in asked.only)]
    if wrong := misplaced(kept):
        say("\n".join(["nothing was run: put these right first", *wrong]))
        return 1
    verdicts: list[Verdict] = []
    with copy_of_tree() as copy:
        say(f"{len(kept)} mutations; first their tests without any")
        code, said = run_tests(copy, *dict.fromkeys(each.test for each in kept))
        if code:
            say(f"the tests do not pass as the code stands:\n{said}")
            return 1
        for number, mutation in enumerate(kept, 1):
            verdicts.append(judge(copy, mutation))
            say(f"{number}/{len(kept)} {verdicts[-1].state} {mutation}")
    missed = [each for each in verdicts if each.state != "red"]
    if asked.json:
        print(json.dumps([asdict(each) for each in verdicts], indent=2))  # noqa: T201
    for each in missed:
        say(f"{each.state}: {each.mutation}\n  {each.detail}")
    say(f"{len(verdicts) - len(missed)} of {len(verdicts)} are noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
