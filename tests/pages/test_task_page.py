"""The page of a task: the panels of facts, and what its state lets people do."""

import json

import pytest

from earmark.board.task import CompositionWork, ModelWork, TaskStatus
from support.page_house import AGENT, HOSTILE, MODEL, PageHouse, Visitor
from support.written_runs import GRAPH

#: What each state offers to people.
OFFERED = {
    TaskStatus.PENDING: {"cancel"},
    TaskStatus.CLAIMED: {"cancel"},
    TaskStatus.RUNNING: set[str](),
    TaskStatus.COMPLETED: {"grade", "accept", "reject"},
    TaskStatus.FAILED: {"retry", "cancel"},
    TaskStatus.UNKNOWN: {"retry", "cancel"},
    TaskStatus.GRADED: {"accept", "reject"},
    TaskStatus.ACCEPTED: set[str](),
    TaskStatus.REJECTED: {"retry", "cancel"},
    TaskStatus.CANCELLED: set[str](),
}
MOVES = ("approve", "deny", "grade", "accept", "reject", "retry", "cancel")


def offered(visitor: Visitor, task_id: str) -> set[str]:
    """Return the names of the moves whose buttons a task's page has."""
    page = visitor.read(f"/tasks/{task_id}")
    return {button["id"] for button in page.all("button") if button.get("id") in MOVES}


@pytest.mark.parametrize("status", list(TaskStatus))
def test_a_state_offers_what_it_allows(
    house: PageHouse, admin: Visitor, status: TaskStatus
) -> None:
    """Every state has a page, and its forms are those that would not be refused."""
    assert offered(admin, house.in_state(status).id) == OFFERED[status]


@pytest.mark.parametrize("status", list(TaskStatus))
def test_an_offered_move_is_carried_out(
    house: PageHouse, admin: Visitor, status: TaskStatus
) -> None:
    """Each button does what it says, and leads back to the task."""
    for move in sorted(OFFERED[status]):
        task = house.in_state(status)
        answer = admin.send(f"/tasks/{task.id}/{move}", note="seen", overall="90", verdict="pass")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/tasks/{task.id}")
        last = house.workspace.board.history(task.id)[-1]
        assert (last.actor, last.note) == ("AG Lu", "seen")
        assert house.workspace.board.get(task.id).version == task.version + 1
        house.later(31)


def test_a_refused_move_says_why_and_keeps_what_was_typed(house: PageHouse, admin: Visitor) -> None:
    """A move that the state no longer allows is a 409 on the same page; the note is not lost."""
    task = house.in_state(TaskStatus.COMPLETED)
    house.workspace.board.decide(task.id, "accept", actor="Carlos")
    answer = admin.send(f"/tasks/{task.id}/cancel", note="too late")
    page = admin.checked(answer)
    assert answer.status_code == 409
    assert f"cancel of task {task.id} refused: it is accepted" in page.text
    # Where its script looks for what changed, and where a login comes back to.
    assert page.all("body")[0]["data-address"] == f"/tasks/{task.id}"


def test_a_grade_needs_a_share_and_a_verdict(house: PageHouse, admin: Visitor) -> None:
    """A grade that is none is refused with a sentence, and the form still holds it."""
    task = house.in_state(TaskStatus.COMPLETED)
    for wrong in ("", "101", "-1", "9.5", "lots"):
        answer = admin.send(
            f"/tasks/{task.id}/grade", overall=wrong, verdict="fail", note="keep me"
        )
        page = admin.checked(answer)
        assert answer.status_code == 400
        assert page.field("overall")["value"] == wrong
        assert {"name": "note", "value": "keep me"}.items() <= page.field("note").items()
        assert page.all("option", value="fail", selected="")
    assert house.workspace.board.get(task.id).status is TaskStatus.COMPLETED


def test_a_grade_stands_on_the_page(house: PageHouse, admin: Visitor) -> None:
    """Overall, pass, by whom and when."""
    task = house.graded(65)
    text = admin.read(f"/tasks/{task.id}").text
    assert "Overall 65 % Pass FAIL Graded By VS Lu Graded At just now" in text
    assert "no tests" in text


def test_nobody_graded_says_so(house: PageHouse, admin: Visitor) -> None:
    """A result that nobody graded does not claim 100 %."""
    text = admin.read(f"/tasks/{house.completed().id}").text
    assert "Not graded" in text
    assert "100 %" not in text


def test_the_first_task_s_panels(house: PageHouse, admin: Visitor) -> None:
    """The page has what the seed's page has, and the Cost panel is filled from the ledger."""
    task = house.completed(
        title="[SELF-10] Persistent budget tracker",
        description="## SELF-10: Budget Tracker\n\n- Expose in *health endpoint*",
        type="code_gen",
    )
    house.later(25 * 60)
    page = admin.read(f"/tasks/{task.id}")
    for said in (
        "SELF-10 Persistent budget tracker",
        "completed code_gen P0",
        "Claimed By Cloud Lu → claude-sonnet-4-20250514",
        "Created 1 d ago 2026-11-22 12:00:00 UTC by Carlos",
        "Completed 1 d ago 2026-11-22 12:00:00 UTC",
        "Input Tokens 163 Output Tokens 3,025 USD 0.045864",
        '"estimated_usd": 0.045864',
        '"latency_ms": 40215',
        f"Task ID: {task.id}",
    ):
        assert said in page.text
    assert page.all("time", datetime="2026-11-22T12:00:00Z")
    assert page.all("em")


def test_what_is_held_and_presumed_is_told(house: PageHouse, admin: Visitor) -> None:
    """A running task shows its open hold; one whose outcome is unknown what is presumed."""
    task = house.running()
    assert "USD 0 Still held 0.1 USD" in admin.read(f"/tasks/{task.id}").text
    house.workspace.ledger.presume(f"task-{task.id}-1")
    assert "Presumed 0.1 USD: the true cost is not known" in admin.read(f"/tasks/{task.id}").text


def test_an_attempt_leads_to_the_books(house: PageHouse, admin: Visitor) -> None:
    """From the try to its reservation's entries, by a link that works."""
    task = house.completed()
    (link,) = [a for a in admin.read(f"/tasks/{task.id}").all("a") if "?key=" in a["href"]]
    text = admin.read(link["href"]).text
    assert f"Entries of task-{task.id}-1" in text
    assert "settle 0.045864 USD c8/cloud-lu" in text


def test_an_attempt_of_a_composition_leads_to_its_run(house: PageHouse, admin: Visitor) -> None:
    """A task that is a composition shows its graph, and its try the run."""
    work = CompositionWork(graph=json.loads(GRAPH.to_json()), input={"text": "x"}, budget="0.25")
    task = house.claimed(work=work)
    budget = "c8/cloud-lu/run-0123456789abcdef"
    house.workspace.board.start(task, model="composition", run_id="0123456789abcdef", budget=budget)
    page = admin.read(f"/tasks/{task.id}")
    assert page.all("a", href="/runs/0123456789abcdef")
    assert "Budget 0.25 USD" in page.text


def test_a_pending_task_says_who_does_not_take_it_and_why(house: PageHouse, admin: Visitor) -> None:
    """While the heartbeat is paused, the task's page says so with the reason."""
    task = house.add()
    house.beat("paused", "budget 'c8/cloud-lu' is paused by Carlos: too dear")
    assert "is paused by Carlos: too dear" in admin.read(f"/tasks/{task.id}").text


def test_a_parked_task_says_what_was_refused(house: PageHouse, admin: Visitor) -> None:
    """The refusal that put a task back stands on its page."""
    task = house.claimed()
    house.workspace.board.park(task.id, AGENT, "budget 'c8' refused 1 usd: 0.2 of 10 usd available")
    text = admin.read(f"/tasks/{task.id}").text
    assert "parked by Cloud Lu: budget 'c8' refused 1 usd: 0.2 of 10 usd available" in text


def test_approval_is_for_admins(house: PageHouse, admin: Visitor) -> None:
    """A destructive task asks for approval; who may only spend is told, and refused."""
    task = house.add(destructive=True)
    assert offered(admin, task.id) == {"approve", "deny", "cancel"}
    spender = house.visitor("spend")
    assert offered(spender, task.id) == {"cancel"}
    page = spender.read(f"/tasks/{task.id}")
    assert "To approve needs a token with the scope admin." in page.text
    assert spender.send(f"/tasks/{task.id}/approve").status_code == 403
    assert house.workspace.board.get(task.id).approval == "wanted"
    assert admin.send(f"/tasks/{task.id}/approve").status_code == 303
    assert "approval given by AG Lu" in admin.read(f"/tasks/{task.id}").text


def test_who_only_reads_is_offered_nothing(house: PageHouse) -> None:
    """Without a session, or with the scope read, there is no form to send."""
    task = house.in_state(TaskStatus.COMPLETED)
    assert offered(house.visitor(), task.id) == set()
    assert offered(house.visitor("read"), task.id) == set()


def test_the_needs_are_links_with_their_states(house: PageHouse, admin: Visitor) -> None:
    """What a task waits for is one step away."""
    first = house.add("first")
    task = house.add("second", needs=(first.id,))
    page = admin.read(f"/tasks/{task.id}")
    assert page.all("a", href=f"/tasks/{first.id}")
    assert "It waits for 1 of the tasks it needs." in page.text


def test_a_huge_result_is_cut_and_says_where_all_of_it_is(house: PageHouse, admin: Visitor) -> None:
    """A result of a megabyte does not make a page of a megabyte."""
    task = house.running()
    house.workspace.board.complete(task.id, 1, AGENT, {"response_text": "x\n" * 500_000})
    answer = admin.get(f"/tasks/{task.id}")
    assert len(answer.content) < 300_000
    assert f"/v1/tasks/{task.id}" in admin.checked(answer).text


def test_nothing_of_a_task_is_ever_used(house: PageHouse, admin: Visitor) -> None:
    """Markup in the title, description, work, result, error, note and name is text."""
    work = ModelWork(model="a/" + HOSTILE.replace(" ", ""), prompt=HOSTILE, system=HOSTILE)
    task = house.claimed(title=HOSTILE, description=HOSTILE, work=work, labels=("<b>",))
    board = house.workspace.board
    board.start(task, model=MODEL + "<b>", key=f"k{HOSTILE}", budget="c8/cloud-lu")
    board.complete(task.id, 1, AGENT, {"response_text": f"{HOSTILE}\n{HOSTILE}"})
    board.decide(task.id, "reject", actor=HOSTILE, note=HOSTILE)
    board.decide(task.id, "retry", actor="Carlos")
    (again,) = board.claim(HOSTILE, 1, lease_ns=60_000_000_000)
    board.start(again, model=HOSTILE, key="again", budget="c8/cloud-lu")
    board.fail(task.id, 2, HOSTILE, HOSTILE)
    answer = admin.get(f"/tasks/{task.id}")
    for used in ("<script>alert", "<img", "<b>"):
        assert used not in answer.text
    assert admin.checked(answer).text.count("<script>alert('x')</script>") >= 8


def test_a_task_that_is_not_there_is_a_page(house: PageHouse, admin: Visitor) -> None:
    """An unknown id, and a move that there is not, are 404."""
    assert "no task 'zzzzzzzz'" in admin.read("/tasks/zzzzzzzz", 404).text
    task = house.add()
    assert admin.send(f"/tasks/{task.id}/explode").status_code == 404
