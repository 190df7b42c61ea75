"""The form of a new task: from what is typed to what stands on the board."""

import json
from dataclasses import replace
from itertools import product

import pytest
from markupsafe import escape

from earmark.board.task import CompositionWork, ModelWork, Priority
from earmark.errors import InvalidDuration, InvalidTask
from earmark.service.pages.forms import draft_of, quality_of
from earmark.testing import ManualClock
from support.page_house import HOSTILE, PageHouse, Visitor
from support.written_runs import GRAPH

TYPED = {
    "title": "  [SELF-10] Persistent budget tracker ",
    "description": "## SELF-10\n- Expose",
    "type": "code_gen",
    "priority": "P0",
    "labels": " cloud, gcp resilience ,,",
    "destructive": "yes",
    "assignee": " Cloud Lu ",
    "kind": "model",
    "model": "local/smollm2-135m",
    "prompt": "Say hi.",
    "system": "Be brief.",
    "max_tokens": "1,200",
    "needs": "",
    "max_attempts": "2",
    "due": "2h",
}


def test_all_that_is_typed_arrives() -> None:
    """Every field of the form is a field of the draft."""
    clock = ManualClock()
    draft = draft_of(TYPED, clock)
    assert (draft.title, draft.type, draft.priority) == (
        "[SELF-10] Persistent budget tracker", "code_gen", Priority.P0,
    )  # fmt: skip
    assert draft.labels == ("cloud", "gcp resilience")
    assert (draft.destructive, draft.assignee, draft.max_attempts) == (True, "Cloud Lu", 2)
    assert draft.due_at == clock.instant() + 7_200_000_000_000
    assert draft.work == ModelWork(
        model="local/smollm2-135m", prompt="Say hi.", system="Be brief.", max_tokens=1200
    )


def test_an_empty_form_is_a_plain_question() -> None:
    """What is not typed has the board's own defaults."""
    draft = draft_of({"title": "x"}, ManualClock())
    assert (draft.type, draft.priority, draft.work) == ("consult", Priority.P2, ModelWork())
    assert (draft.max_attempts, draft.due_at, draft.needs) == (3, 0, ())


def test_a_composition_is_read_as_json() -> None:
    """Graph and input are JSON, the budget is an amount."""
    form = {"title": "x", "kind": "composition", "graph": GRAPH.to_json(), "budget": " 0.25 "}
    work = draft_of({**form, "input": '{"a": 1}'}, ManualClock()).work
    assert work == CompositionWork(graph=json.loads(GRAPH.to_json()), input={"a": 1}, budget="0.25")
    assert draft_of(form, ManualClock()).work == CompositionWork(
        graph=json.loads(GRAPH.to_json()), input=None, budget="0.25"
    )


WRONG = {
    "priority": ["P9", "urgent"],
    "max_attempts": ["-1", "x", "9" * 19, "१"],
    "max_tokens": ["lots", "1.5"],
    "due": ["yesterday", "2020-01-01", "2026-12-01T09:30"],
}


@pytest.mark.parametrize(
    ("name", "text"), [pair for name, texts in WRONG.items() for pair in product([name], texts)]
)
def test_what_cannot_be_read_is_refused(name: str, text: str) -> None:
    """A number, priority or moment that is none says what to give."""
    with pytest.raises((InvalidTask, InvalidDuration), match="give"):
        draft_of({"title": "x", name: text}, ManualClock())


@pytest.mark.parametrize("graph", ["", "[]", "{", "1", "[" * 100_000])
def test_a_graph_that_is_none_is_refused(graph: str) -> None:
    """Broken JSON, other JSON and JSON that is too deep are refused with a sentence."""
    with pytest.raises(InvalidTask):
        draft_of({"title": "x", "kind": "composition", "graph": graph}, ManualClock())


def test_a_quality_is_typed_as_people_write_it() -> None:
    """`90 %` is 90."""
    found = quality_of({"overall": " 90 %", "verdict": "pass"}, actor="me", now=1)
    assert (found.overall, found.passed, found.graded_by, found.graded_at) == (90, True, "me", 1)
    with pytest.raises(InvalidTask, match="pass or fail"):
        quality_of({"overall": "90", "verdict": "maybe"}, actor="me", now=1)


# Through the page ---------------------------------------------------------------------------------


def test_a_task_is_added_from_the_page(house: PageHouse) -> None:
    """The form's answer leads to the task, which is there under the name of who sent it."""
    spender = house.visitor("spend", "Carlos")
    answer = spender.send("/tasks/new", **TYPED)
    (task,) = house.workspace.board.find()
    assert (answer.status_code, answer.headers["location"]) == (303, f"/tasks/{task.id}")
    assert (task.created_by, task.approval) == ("Carlos", "wanted")
    assert "SELF-10 Persistent budget tracker" in spender.read(f"/tasks/{task.id}").text


def test_what_the_configuration_says_a_person_approves(house: PageHouse) -> None:
    """A task that the heartbeat's settings want approved is, from the page as from elsewhere."""
    state = house.app.state
    state.service = replace(state.service, approval_for=frozenset({"deploy"}))
    admin = house.visitor("admin")
    admin.send("/tasks/new", title="a", type="deploy")
    admin.send("/tasks/new", title="b", destructive="yes")
    assert [task.approval for task in house.workspace.board.find()] == ["wanted", ""]
    assert [nudge.kind for nudge in house.workspace.nudges.find()] == ["approval"]


def test_the_form_sent_twice_makes_one_task(admin: Visitor, house: PageHouse) -> None:
    """A double click, and a reload of the answer, add nothing."""
    key = admin.read("/tasks/new").field("key")["value"]
    places = {admin.send("/tasks/new", key=key, **TYPED).headers["location"] for _ in range(3)}
    assert len(places) == len(house.workspace.board.find()) == 1


def test_the_next_form_makes_another_task(admin: Visitor, house: PageHouse) -> None:
    """Each form has a key of its own."""
    for _ in range(2):
        admin.send("/tasks/new", key=admin.read("/tasks/new").field("key")["value"], **TYPED)
    assert len(house.workspace.board.find()) == 2


def test_a_refused_task_keeps_every_word(admin: Visitor, house: PageHouse) -> None:
    """The refusal stands above the form, and each field still holds what was typed."""
    hostile = {
        **TYPED,
        "kind": "composition",
        "graph": f'{{"{HOSTILE}": 1',
        "input": HOSTILE,
        "budget": HOSTILE,
        "description": f"\n{HOSTILE}\n</textarea>",
    }
    answer = admin.send("/tasks/new", key="k", **hostile)
    assert answer.status_code == 400
    assert "<script>alert" not in answer.text
    page = admin.checked(answer)
    assert "Refused." in page.text
    for name in ("title", "type", "labels", "assignee", "model", "max_tokens", "input", "budget"):
        assert page.field(name)["value"] == hostile[name]
    assert page.all("option", selected="")
    assert page.all("input", name="destructive", checked="")
    assert page.all("input", id="kind-composition", checked="")
    assert page.all("details", id="d-work", open="")
    # The first end of a line after the tag is no part of the text.
    assert '<textarea id="description" name="description" rows="8" class="" aria-d' in answer.text
    assert f'hint">\n\n{escape(HOSTILE)}' in answer.text
    assert "</textarea>" in page.text
    assert house.workspace.board.find() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": ""}, {"title": "x" * 201}, {"type": "Two Words"}, {"labels": 'a"b'},
        {"needs": "00000000-0000-0000-0000-000000000000"}, {"max_tokens": "0"},
        {"model": "no-slash"}, {"title": "a\x00b"}, {"max_attempts": "1000"},
        {"kind": "composition", "graph": "{}", "budget": "1"},
        {"kind": "composition", "graph": GRAPH.to_json(), "budget": "a lot"},
    ],
)  # fmt: skip
def test_what_the_board_refuses_is_said(
    admin: Visitor, house: PageHouse, wrong: dict[str, str]
) -> None:
    """Whatever is wrong with a task is a 400 with a sentence on the form."""
    answer = admin.send("/tasks/new", **{"title": "fine", **wrong})
    assert answer.status_code == 400
    assert "Refused." in admin.checked(answer).text
    assert house.workspace.board.find() == []
