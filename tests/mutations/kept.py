"""The kept mutations: faults put in by hand, each with the test that has to notice it.

They stand in the TOML files beside this one: for each source file its path, and for each fault the
text before and after, and the test. A text that is not in its file exactly once is an error that
names the place, so the list follows the code wherever that moves.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent


class WrongPlaceError(Exception):
    """A mutation that fits no place in the code, or more than one."""


@dataclass(frozen=True)
class Mutation:
    """One fault: in *path*, *before* becomes *after*, and *test* fails."""

    path: str
    before: str
    after: str
    test: str
    source: str
    "Where it is kept: file and number, such as `ledger.toml 3`."

    def __str__(self) -> str:
        return f"{self.source}: {self.path}: {' '.join(self.after.split())}"

    def applied(self, root: Path = ROOT) -> str:
        """Return the text of its file under *root* with the fault in it.

        Raises:
            WrongPlaceError: There is no such file, or not exactly one such place in it.
        """
        file = root / self.path
        if not file.is_file():
            raise WrongPlaceError(f"{self}: there is no file {self.path}")
        text = file.read_text(encoding="utf-8")
        if (places := text.count(self.before)) != 1:
            raise WrongPlaceError(f"{self}: {places} places, not 1, with\n{self.before}")
        return text.replace(self.before, self.after)

    def check(self) -> None:
        """Raise `WrongPlaceError` where it has no place in the code, or its test is not there."""
        self.applied()
        file, _, name = self.test.partition("::")
        function = name.partition("[")[0].rpartition("::")[2]
        path = ROOT / file
        if not path.is_file() or f"def {function}(" not in path.read_text(encoding="utf-8"):
            raise WrongPlaceError(f"{self}: there is no test {self.test}")


def read_mutations() -> list[Mutation]:
    """Return all that are kept, in the order of the files and in them."""
    return [each for file in sorted(FOLDER.glob("*.toml")) for each in _of(file)]


def misplaced(mutations: list[Mutation]) -> list[str]:
    """Return what is wrong with the places and the tests of *mutations*."""
    found: list[str] = []
    for each in mutations:
        try:
            each.check()
        except WrongPlaceError as error:
            found.append(str(error))
    return found


def _of(file: Path) -> list[Mutation]:
    groups: list[dict[str, Any]] = tomllib.loads(file.read_text(encoding="utf-8"))["file"]
    found = [(group["path"], each) for group in groups for each in group["mutation"]]
    return [
        Mutation(path=path, source=f"{file.name} {number}", **each)
        for number, (path, each) in enumerate(found, 1)
    ]
