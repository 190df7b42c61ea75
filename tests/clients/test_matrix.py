"""Real clients in every situation: the books cover the bill at every moment, and are it in the end.

`make clients` runs all programs, this those that are installed quickly: `make clients-installed`.
What is claimed of every cell: at each request that reaches the provider, at each piece of an answer
and at the end, settled and held together are no less than the bill and no more than the cap; once
what is presumed is settled by the bill, the books are the bill.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.cell import run_cell
from tests.clients.install import SMALL
from tests.clients.place import Place
from tests.clients.programs import PROGRAMS, missing
from tests.clients.situations import SITUATIONS

_CACHE = Path(__file__).parents[2] / "build" / "clients"
#: Of a program that a person runs; the SDKs are brought into all of them.
_OF_A_PROGRAM = ("plain", "stream", "refused")
#: What the suite brings its own SDKs into, those of Node and one command; `make slow` into all.
_SHORT = {
    "openai (Python)": ("plain", "stream", "fan", "refused", "client killed", "gateway killed"),
    "anthropic (Python)": ("stream", "refused", "gateway killed"),
    "openai (Python), Responses": ("stream", "refused"),
    "openai (Node)": ("stream", "refused"),
    "anthropic (Node)": ("stream", "refused"),
    "llm, OpenAI": ("plain", "refused"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A gateway before a provider with a bill, for one client after the other."""
    with Place(tmp_path_factory.mktemp("place")) as opened:
        yield opened


@pytest.mark.parametrize(
    ("name", "situation"),
    [
        pytest.param(
            name,
            situation,
            marks=() if situation in _SHORT.get(name, ()) else pytest.mark.slow,
            id=f"{name}-{situation}",
        )
        for name, program in PROGRAMS.items()
        for situation in SITUATIONS
        if program.needs in SMALL and (program.needs != "llm" or situation in _OF_A_PROGRAM)
    ],
)
def test_a_client_s_books_are_its_bill(name: str, situation: str, place: Place) -> None:
    """And it is answered, stops at a refusal and shows why."""
    program = PROGRAMS[name]
    if reason := missing(program, _CACHE):
        pytest.skip(reason)
    cell = run_cell(place, name, program, situation, _CACHE)
    assert not cell.wrong, cell
