"""Programs as stages, on real processes: JSON in and out, and limits that hold."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from earmark.admission.call import Grant, Reply
from earmark.errors import CallFailed, InvalidDuration, InvalidStage
from earmark.money import Money
from earmark.stages.kinds.kind import TAIL_CHARS, Tools
from earmark.stages.kinds.process import ProcessStage, process_stage
from support.last_resort import until


async def _quiet(_: int) -> None:
    """Nothing grows."""


GRANT = Grant(max_output_tokens=None, timeout_s=60.0, available=Money(1), produced=_quiet)


def program(code: str, **options: Any) -> ProcessStage:
    """Return the stage that runs some Python in a process of its own."""
    return process_stage("p", [sys.executable, "-c", code], **options)


def send(made: ProcessStage, value: Any = None) -> Reply:
    """Run the stage's call once."""
    return asyncio.run(made.call(value, Tools()).send(GRANT))


def fail(made: ProcessStage, value: Any = None) -> CallFailed:
    """Run the stage's call, which must fail."""
    with pytest.raises(CallFailed) as caught:
        send(made, value)
    return caught.value


def alive(pid: int) -> bool:
    """Whether the process runs: neither gone nor a zombie waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def shell(script: str, **options: Any) -> ProcessStage:
    """Return the stage that runs a shell, which is there at once."""
    return process_stage("p", ["/bin/sh", "-c", script], **options)


ECHO = "import json,sys; json.dump({'got': json.load(sys.stdin)}, sys.stdout)"


@pytest.mark.parametrize("value", [None, 7, "zwölf 🎈", {"a": [1, {"b": None}]}, "x" * 1_000_000])
def test_input_goes_in_and_output_comes_out(value: Any) -> None:
    """The program reads the input as JSON and prints the output as JSON, of any size."""
    assert send(program(ECHO), value).value == {"got": value}


def test_no_shell_is_involved() -> None:
    """Arguments reach the program as they are written."""
    trick = "; echo x $(id) `id` *"
    show = "import sys,json; print(json.dumps(sys.argv[1:]))"
    assert send(process_stage("p", [sys.executable, "-c", show, trick])).value == [trick]


def test_program_that_does_not_read_its_input_is_fine() -> None:
    """A program may ignore what it is given, however much that is."""
    assert send(program("print(1)"), "x" * 1_000_000).value == 1


def test_declared_cost_is_what_it_cost() -> None:
    """A program's cost is the declared one; without one it is free."""
    assert send(program("print(1)", cost="0.02")).cost == Money("0.02")
    assert program("print(1)").free


def test_envelope_says_what_was_spent() -> None:
    """A program may print the envelope, with its output and what it really cost."""
    code = 'print(\'{"ok": true, "data": {"output": [1], "spent_usd": "0.0123"}}\')'
    made = program(code, cost="1", prints="envelope")
    assert send(made) == Reply(value=[1], cost=Money("0.0123"))


def test_failure_in_the_envelope_is_a_failure_with_its_cost() -> None:
    """A program that says it failed has failed, and is charged what it says it spent."""
    said = '{"ok": false, "error": {"code": "E1", "message": "bad"}, "data": {"spent_cents": 3}}'
    failure = fail(program(f"print({said!r})", cost="1", prints="envelope"))
    assert (failure.detail, failure.billed, failure.cost) == ("E1: bad", "yes", Money("0.03"))


def test_exit_code_fails_with_the_end_of_stderr() -> None:
    """A program that exits with a code has failed; its last words are in the error, cut short."""
    code = "import sys; sys.stderr.write('x' * 100000 + 'the reason'); sys.exit(3)"
    failure = fail(program(code, cost="0.05"))
    assert failure.detail.startswith("exit code 3: ")
    assert failure.detail.endswith("the reason")
    assert len(failure.detail) < TAIL_CHARS + 100
    assert (failure.billed, failure.cost, failure.retryable) == ("unknown", None, True)


def test_program_killed_by_a_signal_says_which() -> None:
    """Death by a signal is a failure with the signal's number."""
    assert fail(program("import os; os.kill(os.getpid(), 9)")).detail == "killed by signal 9"


@pytest.mark.parametrize("printed", ["", "hello", "1 2", "NaN", "[" * 100_000], ids=str)
def test_output_that_is_no_json_is_a_failure(printed: str) -> None:
    """The error shows how the output begins."""
    failure = fail(program(f"print({printed[:10]!r} * {max(1, len(printed) // 10)})"))
    assert "its output is not JSON" in failure.detail


def test_program_that_does_not_exist_costs_nothing() -> None:
    """What could not be started was not billed."""
    failure = fail(process_stage("p", ["/no/such/program"], cost="1"))
    assert (failure.billed, failure.retryable) == ("no", False)
    assert "/no/such/program" in failure.detail


def test_time_limit_kills_the_program_and_its_children(tmp_path: Path) -> None:
    """After its time the whole process group is killed."""
    pids = tmp_path / "pids"
    script = f"sleep 9999 & echo $$ $! > '{pids}'; sleep 9999"
    failure = fail(shell(script, cost="0.05", timeout="2s"))
    assert failure.detail == "no answer after 2 s; killed"
    assert (failure.billed, failure.cost) == ("unknown", None)
    for pid in pids.read_text().split():
        until(lambda pid=pid: not alive(int(pid)))


def test_child_that_keeps_the_pipe_open_is_killed_too(tmp_path: Path) -> None:
    """A child left behind cannot hold up a stage whose program has ended."""
    pid = tmp_path / "pid"
    failure = fail(shell(f"sleep 9999 & echo $! > '{pid}'", timeout="2s"))
    assert "no answer after 2 s" in failure.detail
    until(lambda: not alive(int(pid.read_text())))


def test_child_that_left_the_group_does_not_hang_the_stage(tmp_path: Path) -> None:
    """Even a daemon that holds the pipes only costs the time limit."""
    pid = tmp_path / "pid"
    failure = fail(shell(f"setsid sleep 9999 & echo $! > '{pid}'", timeout="2s"))
    assert "no answer after 2 s" in failure.detail
    os.kill(int(pid.read_text()), 9)


def test_output_limit_kills_the_program() -> None:
    """A program that prints without end is stopped at its limit."""
    code = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
    failure = fail(program(code, output_limit_bytes=1_000_000))
    assert failure.detail == "printed more than 1000000 bytes; killed"


def test_cancelled_attempt_kills_the_program(tmp_path: Path) -> None:
    """A program does not outlive its attempt."""
    told = tmp_path / "told"
    os.mkfifo(told)
    code = (
        "import os,time\n"
        f"with open({str(told)!r}, 'w') as told: told.write(str(os.getpid()))\n"
        "time.sleep(600)"
    )

    async def main() -> int:
        task = asyncio.ensure_future(program(code).call(None, Tools()).send(GRANT))
        pid = await asyncio.to_thread(told.read_text)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return int(pid)

    pid = asyncio.run(main())
    until(lambda: not alive(pid))


def test_environment_and_directory_are_what_was_said(tmp_path: Path) -> None:
    """A program sees the environment it was given, and no more."""
    code = (
        "import os,json\n"
        "print(json.dumps([os.environ.get('A'), 'HOME' in os.environ, os.getcwd()]))"
    )
    made = program(code, environment={"A": "1"}, directory=tmp_path)
    assert send(made).value == ["1", False, str(tmp_path)]


def test_input_that_is_no_json_is_refused_unbilled() -> None:
    """What cannot be said in JSON is not sent."""
    with pytest.raises(CallFailed) as caught:
        program(ECHO).call({1, 2}, Tools())
    assert caught.value.billed == "no"


@pytest.mark.parametrize(
    ("argv", "options", "error"),
    [
        ([], {}, InvalidStage),
        ("echo hi", {}, InvalidStage),
        (["echo", 1], {}, InvalidStage),
        (["echo"], {"timeout": "soon"}, InvalidDuration),
        (["echo"], {"prints": "pictures"}, ValueError),
    ],
    ids=str,
)
def test_declaration_that_makes_no_sense_is_refused(argv: Any, options: Any, error: Any) -> None:
    """A program is a list of texts, its limits are limits."""
    with pytest.raises(error):
        process_stage("p", argv, **options)
