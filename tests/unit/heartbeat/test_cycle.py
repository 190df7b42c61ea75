"""A cycle: what is claimed, what becomes of it, and what keeps it from being claimed."""

from datetime import timedelta

import pytest

from earmark.board.task import CompositionWork, ModelWork, Priority, TaskStatus
from earmark.config.assemble import Providers, key_from
from earmark.config.settings import Settings
from earmark.errors import AgentBusy
from earmark.heartbeat.cycle import MOST_LOOKED_AT
from earmark.heartbeat.recovery import recover
from earmark.money import Money
from earmark.quilt.quilt import Patch
from earmark.testing import ManualClock
from earmark.workspace.task_costs import task_cost, task_costs
from support.beat_house import BOOK, MODEL, BeatHouse, answer

HALF_HOUR = timedelta(minutes=30)


def test_the_most_urgent_tasks_are_dispatched_up_to_the_most(beats: BeatHouse) -> None:
    """Three of five go, by priority and age; the rest goes in the next cycle."""
    tasks = [beats.add(f"{n}", priority=Priority(p)) for n, p in enumerate((3, 2, 1, 1, 2))]
    report = beats.cycle()
    assert sorted(each.title for each in report.dispatched) == ["1", "2", "3"]
    assert {each.outcome for each in report.dispatched} == {"completed"}
    assert [beats.status(tasks[n]) for n in (0, 4)] == [TaskStatus.PENDING] * 2
    assert [each.title for each in beats.cycle(after=HALF_HOUR).dispatched] == ["4", "0"]
    assert (beats.spent, beats.provider.billed) == (Money("0.50"), Money("0.50"))


def test_a_result_has_the_shape_that_siblings_read(beats: BeatHouse) -> None:
    """Tokens, model, status, transport, latency and text; what it cost, the ledger says."""
    task = beats.add("[SELF-10] Write", description="two lines")
    beats.cycle()
    done = beats.board.get(task.id)
    assert done.result == {
        "cost": {"input_tokens": 100, "output_tokens": 1000},
        "model": "m",
        "status": "success",
        "transport": "scripted",
        "latency_ms": 0,
        "response_text": "ok",
    }
    assert (done.status, done.quality) == (TaskStatus.COMPLETED, None)
    assert done.claimed_by == "Cloud Lu → m"
    (attempt,) = beats.board.attempts(task.id)
    assert attempt.key == f"task-{task.id}-1"
    assert beats.ledger.reservation(attempt.key).labels == (
        f'{{"agent": "Cloud Lu", "task": "{task.id}"}}'
    )
    cost = task_cost(beats.ledger, [attempt])
    assert (cost.settled, cost.held, cost.presumed) == (Money("0.10"), Money(), Money())
    assert (cost.input_tokens, cost.output_tokens) == (100, 1000)
    assert task_costs(beats.ledger, {task.id: [attempt], "none": []})["none"].settled == Money()


def test_a_model_is_asked_what_the_task_says(beats: BeatHouse) -> None:
    """The prompt and the system text where there are any, else title and description."""
    beats.add("Title", description="Words")
    work = ModelWork(model=MODEL, prompt="Do {it}", system="Be brief", max_tokens=7)
    beats.add("Other", work=work)
    beats.cycle()
    plain, told = sorted(
        (sent.request for sent in beats.provider.sent), key=lambda request: len(request.messages)
    )
    assert [each["content"] for each in plain.messages] == ["Title\n\nWords"]
    assert [(each["role"], each["content"]) for each in told.messages] == [
        ("system", "Be brief"),
        ("user", "Do {it}"),
    ]
    assert told.max_tokens == 7
    # Ten minutes each, and five in line before that: priced until it can have ended.
    assert plain.within_s == told.within_s == 900


def test_the_attempt_is_written_before_the_model_is_asked() -> None:
    """When the call is sent, the board knows the attempt and the ledger holds its bound."""
    with BeatHouse(answer(10, after=60)) as beats:
        task = beats.add()
        seen: list[tuple[TaskStatus, int, str, Money]] = []

        def look() -> None:
            (attempt,) = beats.board.attempts(task.id)
            hold = beats.ledger.reservation(attempt.key)
            seen.append((beats.status(task), attempt.number, hold.state, hold.amount))
            beats.clock.advance(timedelta(seconds=60))

        beats.when_sent(look)
        beats.cycle()
        assert seen == [(TaskStatus.RUNNING, 1, "open", Money("0.10"))]
        assert beats.status(task) is TaskStatus.COMPLETED


def test_while_it_dispatches_it_says_so_and_is_not_stale() -> None:
    """A call may take longer than two intervals: its heartbeat lives, and health knows it."""
    with BeatHouse(answer(10, after=60), interval="10s") as beats:
        beats.cycle()
        beats.add()
        seen: list[tuple[object, str]] = []

        def look() -> None:
            beats.clock.advance(timedelta(seconds=40))
            found = beats.health()
            seen.append((found.heartbeat["state"], found.status))
            beats.clock.advance(timedelta(seconds=20))

        beats.when_sent(look)
        assert beats.cycle().state == "idle"
        assert seen == [("dispatching", "pass")]


# At the cap ---------------------------------------------------------------------------------------


def test_at_the_cap_it_beats_dispatches_nothing_and_says_why() -> None:
    """What does not fit is not claimed; the cycle names the limit, and goes on after the turn."""
    with BeatHouse(limits=["0.25 usd per day"]) as beats:
        tasks = beats.fill(3)
        report = beats.cycle()
        assert [each.outcome for each in report.dispatched].count("completed") == 2
        for _ in range(3):
            report = beats.cycle(after=HALF_HOUR)
            assert (report.state, report.dispatched) == ("at_cap", ())
            assert "0.05 of 0.25 usd per day available (0.2 settled, 0 held)" in report.reason
            assert "2026-11-23T00:00:00Z" in report.reason
        assert len(beats.provider.sent) == 2
        health = beats.health()
        assert health.status == "warn"
        assert "0.05 of 0.25 usd" in health.output
        beats.clock.set(beats.clock.now.replace(day=23, hour=0, minute=0))
        assert beats.cycle().state == "idle"
        assert {beats.status(task) for task in tasks} == {TaskStatus.COMPLETED}


def test_a_limit_of_calls_is_a_cap_too() -> None:
    """Three dispatches in half an hour are three, however cheap they are."""
    with BeatHouse(answer(1), limits=["3 calls per 30min", "9 usd per day"]) as beats:
        beats.fill(5)
        beats.cycle()
        report = beats.cycle(after=timedelta(minutes=10))
        assert (report.state, len(beats.provider.sent)) == ("at_cap", 3)
        assert "3 calls per 30min" in report.reason
        assert len(beats.cycle(after=timedelta(minutes=20)).dispatched) == 2


def test_a_cap_of_nothing_refuses_everything_and_fails_nobody() -> None:
    """With a limit of 0 tasks stay pending, and health says 100 %."""
    with BeatHouse(limits=["0 usd per day"]) as beats:
        task = beats.add()
        assert beats.cycle().state == "at_cap"
        assert beats.status(task) is TaskStatus.PENDING
        assert beats.health().budget["utilization_percent"] == 100.0


def test_what_is_too_dear_leaves_its_place_to_what_fits() -> None:
    """A task that can never fit fails and says so; a cheap one behind it goes in the same cycle."""
    with BeatHouse(limits=["0.50 usd per day"]) as beats:
        dear = beats.add("dear", priority=Priority.P0, work=ModelWork(max_tokens=9000))
        cheap = beats.fill(3)
        report = beats.cycle()
        assert beats.status(dear) is TaskStatus.FAILED
        assert "it is more than the whole limit" in beats.board.get(dear.id).error
        assert [beats.status(task) for task in cheap] == [TaskStatus.COMPLETED] * 3
        assert len(report.dispatched) == 4


@pytest.mark.parametrize("spent", [False, True], ids=["nothing spent", "at the cap"])
@pytest.mark.parametrize("before", [0, 1, 4], ids=["alone", "behind one", "behind many"])
def test_what_can_never_fit_fails_in_the_first_cycle(before: int, *, spent: bool) -> None:
    """Alone or not, and also while the window is used up; what may fit later only waits."""
    with BeatHouse(limits=["0.50 usd per day"]) as beats:
        if spent:
            beats.ledger.settle(beats.ledger.reserve("c8/cloud-lu", "0.50").key, "0.50")
        others = [beats.add(f"{n}", priority=Priority.P0) for n in range(before)]
        dear = [
            beats.add(f"dear {n}", priority=Priority.P3, work=ModelWork(max_tokens=9000))
            for n in range(5)
        ]
        report = beats.cycle()
        assert {beats.status(task) for task in dear} == {TaskStatus.FAILED}
        assert "it is more than the whole limit" in beats.board.get(dear[0].id).error
        done = 0 if spent else min(before, 3)
        assert [beats.status(task) for task in others].count(TaskStatus.COMPLETED) == done
        assert report.state == ("at_cap" if spent and before else "idle")
        assert len(beats.provider.sent) == done
        assert [beats.board.get(task.id).attempts for task in others] == [1] * done + [0] * (
            before - done
        )


def test_tasks_of_a_provider_without_a_key_take_nobodys_place() -> None:
    """Each is put back once, with the reason; those behind it go in the same cycle, at once."""
    others = Providers(Settings(), book=BOOK, clock=ManualClock(), key=key_from({}))
    with BeatHouse(others=others, max_dispatches=1) as beats:
        keyless = [
            beats.add("no key", priority=Priority.P0, work=ModelWork(model="openai/gpt-4o"))
            for _ in range(MOST_LOOKED_AT + 10)
        ]
        fine = beats.fill(3)
        reports = [beats.cycle(after=HALF_HOUR) for _ in fine]
        assert [beats.status(task) for task in fine] == [TaskStatus.COMPLETED] * len(fine)
        assert {report.state for report in reports} == {"error"}
        assert "variable OPENAI_API_KEY holds no key" in reports[-1].reason
        for task in keyless:
            assert (beats.status(task), beats.board.get(task.id).attempts) == (
                TaskStatus.PENDING,
                0,
            )
            parked = [each for each in beats.board.history(task.id) if each.move == "parked"]
            assert [each.note for each in parked] == [reports[0].reason]
            beats.board.decide(task.id, "cancel", actor="ann")
        assert beats.cycle().state == "idle"


def test_a_composition_that_names_too_large_a_budget_is_tried_where_nothing_else_can_be() -> None:
    """It may cost less than it names: the books decide when its stages run."""
    graph = {"description": "d", "version": "1", "root": {"op": "Const", "value": "done"}}
    with BeatHouse(limits=["0.15 usd per day"]) as beats:
        beats.fill(1)
        beats.cycle()
        composed = beats.add("c", work=CompositionWork(graph=graph, input=None, budget="5"))
        waits = beats.add("waits", priority=Priority.P0)
        beats.cycle()
        assert beats.status(composed) is TaskStatus.COMPLETED
        assert (beats.status(waits), beats.board.get(waits.id).attempts) == (TaskStatus.PENDING, 0)


def test_a_task_that_only_waits_for_money_has_not_tried(beats: BeatHouse) -> None:
    """Refused by the budget it is pending again, and that was no attempt of its three."""
    big = beats.add("big", work=ModelWork(max_tokens=9500), priority=Priority.P1)
    small = beats.add("small")
    beats.ledger.settle(beats.ledger.reserve("c8/cloud-lu", "0.20").key, "0.20")
    report = beats.cycle()
    assert beats.status(small) is TaskStatus.COMPLETED
    waiting = beats.board.get(big.id)
    assert (waiting.status, waiting.attempts) == (TaskStatus.PENDING, 0)
    assert report.state == "at_cap"
    assert beats.cycle(after=HALF_HOUR).state == "at_cap"
    beats.clock.set(beats.clock.now.replace(day=23, hour=1))
    beats.cycle()
    assert beats.status(big) is TaskStatus.COMPLETED


def test_a_task_gets_its_whole_answer_or_waits() -> None:
    """Near the cap no answer is cut short to fit what is left."""
    with BeatHouse(limits=["0.15 usd per day"]) as beats:
        beats.fill(2)
        beats.cycle()
        (sent,) = beats.provider.sent
        assert sent.grant.max_output_tokens == 1000


# The controls -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        {"enabled": False},
        {"value": False},
        {"autonomous": False},
        {"cloud_lu_autonomous": False},
        {"enabled": "no"},
        {"enabled": 1},
        {"enabled": True, "value": False},
        {"on": True},
        {},
    ],
)
def test_the_kill_switch_stops_every_dispatch(beats: BeatHouse, data: dict[str, object]) -> None:
    """Any sibling may set it to false; what it says unclearly means the same."""
    task = beats.add()
    beats.kill_switch(**data)
    report = beats.cycle()
    assert (report.state, report.dispatched) == ("killed", ())
    assert "cloud_lu_autonomous' by VS Lu" in report.reason
    assert beats.status(task) is TaskStatus.PENDING
    beats.kill_switch(enabled=True)
    assert len(beats.cycle().dispatched) == 1


def test_a_kill_switch_of_any_type_counts(beats: BeatHouse) -> None:
    """It is found by its name; one that says no outweighs one that says yes."""
    beats.add()
    beats.kill_switch(enabled=True)
    beats.workspace.quilt.put("flag", "cloud_lu_autonomous", {"value": False}, author="AG Lu")
    assert beats.cycle().state == "killed"


def test_the_kill_switch_is_read_before_each_call() -> None:
    """Set while a call waits for its turn, it stops that call too, and nothing is spent on it."""
    with BeatHouse(answer(5, after=60), limits=["0.15 usd per day"]) as beats:
        tasks = beats.fill(2)

        def kill() -> None:
            beats.kill_switch(enabled=False)
            beats.clock.advance(timedelta(seconds=60))

        beats.when_sent(kill)
        assert beats.cycle().state == "killed"
        # The second one was let in when the first had settled, and was stopped then.
        assert len(beats.holds()) == 2
        assert len(beats.provider.sent) == 1
        assert sorted(beats.status(task) for task in tasks) == [
            TaskStatus.COMPLETED,
            TaskStatus.PENDING,
        ]
        assert (beats.spent, beats.held) == (Money("0.05"), Money())


def test_a_kill_switch_that_cannot_be_read_is_off(beats: BeatHouse) -> None:
    """Damaged in the store, it says nothing: then nothing is dispatched, and the report says so."""
    beats.add()
    beats.kill_switch(enabled=True)
    damage = "UPDATE {schema}.quilt_patches SET data = '{'"
    beats.workspace.tables.write("quilt", lambda rows: rows.run(damage))
    report = beats.cycle()
    assert (report.state, report.dispatched) == ("error", ())
    assert "the controls cannot be read, so nothing is dispatched" in report.reason


def test_a_task_that_was_taken_back_is_not_sent(beats: BeatHouse) -> None:
    """Held up between its hold and its call, a heartbeat looks once more whether it is its own."""
    task = beats.add()
    named, looks = beats.workspace.quilt.named, iter(range(9))

    def late(name: str) -> list[Patch]:
        # Read at the beginning of the cycle, of the dispatch, and last before the call.
        if next(looks) == 2:
            over = "UPDATE {schema}.task SET lease_until = 1"
            beats.workspace.tables.write("board", lambda rows: rows.run(over))
            (lost,) = recover(beats.workspace, agent="VS Lu")
            assert (lost.id, lost.status) == (task.id, TaskStatus.PENDING)
        return named(name)

    beats.workspace.quilt.named = late  # type: ignore[method-assign]
    report = beats.cycle()
    # Its own again in the same cycle, it is sent once.
    assert [each.outcome for each in report.dispatched] == ["lost", "completed"]
    assert len(beats.provider.sent) == 1
    assert (beats.spent, beats.held) == (Money("0.10"), Money())


def test_a_heartbeat_that_lost_its_name_meanwhile_sends_nothing(beats: BeatHouse) -> None:
    """Between its hold and its call another one took the name, and with it the tasks."""
    task = beats.add()
    named, looks = beats.workspace.quilt.named, iter(range(9))

    def late(name: str) -> list[Patch]:
        if next(looks) == 2:
            beats.workspace.agents.give_up("Cloud Lu", "host:1")
            beats.workspace.agents.acquire("Cloud Lu", "host:2", 10**12)
        return named(name)

    beats.workspace.quilt.named = late  # type: ignore[method-assign]
    with pytest.raises(AgentBusy):
        beats.cycle()
    assert beats.provider.sent == []
    assert (beats.status(task), beats.held) == (TaskStatus.PENDING, Money())


def test_a_store_that_cannot_be_read_stops_dispatching(beats: BeatHouse) -> None:
    """Closed in doubt: no control that cannot be read lets a task go."""
    task = beats.add()
    beats.start()
    beats.line.down = True
    report = beats.cycle()
    assert (report.state, report.dispatched) == ("error", ())
    assert "the line is down" in report.errors[0]
    assert beats.health().status == "fail"
    beats.line.down = False
    assert len(beats.cycle().dispatched) == 1
    assert beats.status(task) is TaskStatus.COMPLETED


@pytest.mark.parametrize("path", ["c8/cloud-lu", "c8"])
def test_a_paused_budget_or_one_above_it_stops_dispatching(beats: BeatHouse, path: str) -> None:
    """A pause is named with who and why; after it the heartbeat goes on by itself."""
    task = beats.add()
    beats.ledger.set_budget("c8", limits=["5 usd per day"])
    beats.ledger.pause(path, actor="ann", reason="too hot")
    report = beats.cycle()
    assert (report.state, report.dispatched) == ("paused", ())
    assert f"'{path}' is paused by ann: too hot" in report.reason
    assert (beats.board.get(task.id).attempts, beats.health().status) == (0, "warn")
    beats.ledger.resume(path)
    beats.cycle(after=HALF_HOUR)
    assert beats.status(task) is TaskStatus.COMPLETED


def test_a_budget_without_any_limit_runs_nothing() -> None:
    """No limit on the path is no permission, and says how to set one."""
    with BeatHouse(limits=()) as beats:
        beats.ledger.set_budget("c8/cloud-lu")
        beats.start()
        # Its own limits are the first thing it sets; somebody takes them away again.
        for path in ("c8", "c8/cloud-lu"):
            beats.ledger.set_budget(path, limits=[])
        task = beats.add()
        report = beats.cycle()
        assert report.state == "error"
        assert "earmark budget set c8/cloud-lu" in report.reason
        assert beats.status(task) is TaskStatus.PENDING
        assert [each.move for each in beats.board.history(task.id)] == ["added"]


def test_limits_are_set_where_there_are_none() -> None:
    """A first start gets the owner's numbers: a cycle's without alerts, the day's above it."""
    with BeatHouse(limits=()) as beats:
        beats.start()
        day, cycle = beats.ledger.budgets("c8")
        assert (day.path, [str(limit) for limit in day.limits]) == ("c8", ["10 usd per day"])
        assert cycle.path == "c8/cloud-lu"
        assert [str(limit) for limit in cycle.limits] == ["0.5 usd per 30min", "3 calls per 30min"]
        assert (day.alerts, cycle.alerts) == ((800_000, 1_000_000), ())
        beats.fill(9)
        beats.cycles(3, every=HALF_HOUR)
        assert (len(beats.provider.sent), beats.nudges()) == (9, [])
        assert beats.health().budget["daily_cap"] == "10"
    with BeatHouse(limits=(), budget="alone") as beats:
        beats.ledger.set_budget("alone", timezone="Asia/Tokyo")
        (alone,) = beats.start().ledger.budgets()
        assert (len(alone.limits), alone.timezone) == (3, "Asia/Tokyo")
    with BeatHouse(limits=["7 usd total"]) as beats:
        beats.start()
        assert [str(limit) for limit in beats.ledger.budgets()[0].limits] == ["7 usd total"]


def test_what_waits_for_a_person_is_not_dispatched(beats: BeatHouse) -> None:
    """A destructive task runs once it was approved; one for another agent never here."""
    task = beats.add("rm -rf", destructive=True)
    other = beats.add("not mine", assignee="VS Lu")
    assert beats.cycle().dispatched == ()
    assert beats.nudges() == ["approval"]
    beats.board.decide(task.id, "approve", actor="ann")
    beats.cycle(after=HALF_HOUR)
    assert (beats.status(task), beats.status(other)) == (TaskStatus.COMPLETED, TaskStatus.PENDING)


def test_a_p0_task_nudges_a_person_once_and_runs(beats: BeatHouse) -> None:
    """The most urgent wait for nobody, and somebody is told."""
    task = beats.add("prod is down", priority=Priority.P0)
    beats.cycle()
    assert beats.status(task) is TaskStatus.COMPLETED
    assert beats.nudges() == ["urgent"]
    assert beats.workspace.nudges.get(f"task/{task.id}/p0").title == "P0 task runs: prod is down"


def test_a_p0_task_that_does_not_run_nudges_nobody() -> None:
    """Refused by the budget, for good or for now, or failed before a call: nothing runs."""
    with BeatHouse(limits=["0.15 usd per day"]) as beats:
        beats.ledger.settle(beats.ledger.reserve("c8/cloud-lu", "0.10").key, "0.10")
        late = beats.add("late", priority=Priority.P0)
        small = beats.add("small", work=ModelWork(max_tokens=100))
        large = beats.add("large", priority=Priority.P0, work=ModelWork(max_tokens=9000))
        wrong = beats.add("wrong", priority=Priority.P0, work=ModelWork(model="nobody/m"))
        beats.cycle()
        assert beats.status(small) is TaskStatus.COMPLETED, "others could be dispatched"
        assert (beats.status(late), beats.board.get(late.id).attempts) == (TaskStatus.PENDING, 0)
        assert "parked" in [each.move for each in beats.board.history(late.id)]
        assert beats.status(large) is TaskStatus.FAILED
        assert not beats.board.get(wrong.id).result
        assert "urgent" not in beats.nudges()
        beats.clock.set(beats.clock.now.replace(day=23, hour=1))
        beats.cycle()
        assert beats.status(late) is TaskStatus.COMPLETED
        assert beats.workspace.nudges.get(f"task/{late.id}/p0").title == "P0 task runs: late"
        assert beats.nudges().count("urgent") == 1


# What it would do ---------------------------------------------------------------------------------


def test_simulating_shows_bounds_and_changes_nothing() -> None:
    """Each task with the most it can cost, and whether that fits beside those before it."""
    with BeatHouse(limits=["0.25 usd per day"]) as beats:
        beats.fill(3)
        before = (beats.board.last_event(), len(beats.holds()))
        verdict, planned = beats.beat.simulate()
        assert verdict.ok
        assert [(each.bound_usd, each.fits) for each in planned] == [
            ("0.1", True),
            ("0.1", True),
            ("0.1", False),
        ]
        assert "0.05 of 0.25 usd per day available" in planned[2].why
        assert (beats.board.last_event(), len(beats.holds())) == before
        assert beats.provider.sent == []
        beats.kill_switch(enabled=False)
        assert beats.beat.simulate()[0].state == "killed"
