"""Stages that are programs: an argument list, never a shell; JSON on stdin and on stdout."""

import asyncio
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from subprocess import PIPE
from typing import cast

from earmark.admission.call import Grant, Reply
from earmark.clock import NANOS_PER_SECOND, parse_duration
from earmark.composition.catalogue import Quote
from earmark.composition.effects import NON_DETERMINISTIC, PROCESS
from earmark.composition.types import ANY
from earmark.errors import CallFailed, InvalidStage
from earmark.money import AmountLike, Money
from earmark.pricing.bound import Bound, DeclaredBound
from earmark.stages.kinds.declare import EffectLike, TypeLike, declare, declared_cost
from earmark.stages.kinds.envelope import StageReply, read_answer
from earmark.stages.kinds.jsontext import Json, read_json, write_json
from earmark.stages.kinds.kind import TAIL_CHARS, Tools, tail
from earmark.stages.stage import StageSpec

#: What a program may print before it is stopped, and how long it may run.
OUTPUT_LIMIT_BYTES = 10 * 1024 * 1024
TIME_LIMIT_S = 60.0

_STDIN, _STDOUT, _STDERR = 0, 1, 2


class Prints(StrEnum):
    """What a program's stdout holds."""

    VALUE = "value"
    """The output itself."""
    ENVELOPE = "envelope"
    """The envelope of `earmark.stages.kinds.envelope`, which can also say what was spent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStage:
    """A program run once per attempt, in a process group that ends with the attempt."""

    spec: StageSpec
    argv: tuple[str, ...]
    prints: Prints = Prints.VALUE
    timeout_s: float | None = TIME_LIMIT_S
    output_limit_bytes: int = OUTPUT_LIMIT_BYTES
    environment: Mapping[str, str] | None = None
    """The whole environment of the program; `None` passes on this process's own."""
    directory: Path | None = None

    @property
    def cost(self) -> Money:
        """What one attempt costs by declaration."""
        return declared_cost(self.spec)

    @property
    def free(self) -> bool:
        """It declares to cost nothing, and has no way to say otherwise."""
        return not self.cost and self.prints is Prints.VALUE

    def quote(self, tools: Tools) -> Quote | None:
        """Return the declared cost where the program cannot report another."""
        del tools
        if self.prints is Prints.VALUE and self.cost:
            return Quote(self.cost, self.cost, "declared", hold=self.cost)
        return None

    def call(self, value: Json, tools: Tools) -> "ProcessCall":
        """Return the call that runs the program once; *tools* are not needed."""
        del tools
        return ProcessCall(stage=self, stdin=_stdin(value))


def process_stage(
    name: str,
    argv: Sequence[str],
    *,
    cost: AmountLike | None = None,
    effects: Iterable[EffectLike] | None = None,
    input: TypeLike = ANY,  # noqa: A002 - the format's own word
    output: TypeLike = ANY,
    prints: Prints | str = Prints.VALUE,
    timeout: str | float = TIME_LIMIT_S,
    output_limit_bytes: int = OUTPUT_LIMIT_BYTES,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> ProcessStage:
    """Return the stage that runs the program *argv*; options as of `ProcessStage` and `stage`.

    Raises:
        InvalidStage: There is no program in *argv*, or a type or an effect is none.
        InvalidAmount: The cost is none.
        InvalidDuration: The time limit is none.
    """
    if not argv or isinstance(argv, str) or not all(isinstance(part, str) for part in argv):  # pyright: ignore[reportUnnecessaryIsInstance] - from a settings file
        raise InvalidStage(
            place="/argv", detail="a program is a list of texts: its name, its arguments"
        )
    return ProcessStage(
        spec=declare(
            name,
            "process",
            implementation={"argv": list(argv), "prints": str(prints)},
            effects=(PROCESS, NON_DETERMINISTIC) if effects is None else effects,
            cost=cost,
            input=input,
            output=output,
        ),
        argv=tuple(argv),
        prints=Prints(prints),
        timeout_s=parse_duration(timeout) / NANOS_PER_SECOND,
        output_limit_bytes=output_limit_bytes,
        environment=environment,
        directory=directory,
    )


@dataclass(frozen=True, slots=True)
class ProcessCall:
    """One run of a program."""

    stage: ProcessStage
    stdin: bytes

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.stage.spec.name or self.stage.argv[0]

    @property
    def bound(self) -> Bound:
        """The declared cost."""
        return DeclaredBound(self.stage.cost)

    @property
    def streams(self) -> bool:
        """Programs do not stream."""
        return False

    async def send(self, grant: Grant) -> Reply:
        """Run the program; kill its process group when it breaks a limit or the attempt ends.

        Raises:
            CallFailed: Not billed if it could not be started; else it cost what it reported, and
                nobody knows what if it reported nothing.
        """
        del grant
        transport, talk = await self._start()
        try:
            async with asyncio.timeout(self.stage.timeout_s):
                code = await talk.finished
        except TimeoutError:
            raise self._failed(f"no answer after {self.stage.timeout_s:g} s; killed") from None
        except _OutputTooLargeError:
            limit = self.stage.output_limit_bytes
            raise self._failed(f"printed more than {limit} bytes; killed") from None
        finally:
            _kill_group(transport.get_pid())
            await asyncio.shield(talk.exited)
            transport.close()
        return self._reply(code, bytes(talk.stdout), talk.stderr)

    async def _start(self) -> "tuple[asyncio.SubprocessTransport, _Talk]":
        stage = self.stage
        loop = asyncio.get_running_loop()
        try:
            return await loop.subprocess_exec(
                lambda: _Talk(loop, self.stdin, stage.output_limit_bytes),
                *stage.argv,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env=None if stage.environment is None else dict(stage.environment),
                cwd=stage.directory,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            detail = f"cannot start {stage.argv[0]!r}: {error}"
            raise CallFailed(detail=detail, billed="no") from error

    def _reply(self, code: int, stdout: bytes, stderr: bytes) -> Reply:
        if code != 0:
            raise self._failed(_exit(code, tail(stderr.decode(errors="replace"))))
        answer = self._answer(stdout)
        if answer.problem:
            raise self._failed(answer.problem, answer.spent)
        cost = self.stage.cost if answer.spent is None else answer.spent
        return Reply(value=answer.output, cost=cost, note=answer.note)

    def _answer(self, stdout: bytes) -> StageReply:
        if self.stage.prints is Prints.ENVELOPE:
            return read_answer(stdout)
        try:
            return StageReply(output=read_json(stdout), spent=None, problem="")
        except ValueError as error:
            start = stdout[:80].decode(errors="replace")
            problem = f"its output is not JSON: {error}; it begins {start!r}"
            return StageReply(output=None, spent=None, problem=problem)

    def _failed(self, detail: str, spent: Money | None = None) -> CallFailed:
        """Return the failure of a program that cost *spent*; `None` where nobody knows."""
        if spent is None and self.stage.cost:
            return CallFailed(detail=detail, billed="unknown", retryable=True)
        return CallFailed(detail=detail, billed="yes", cost=spent or Money(), retryable=True)


class _OutputTooLargeError(Exception):
    """The program printed more than it may."""


class _Talk(asyncio.SubprocessProtocol):
    """Feeds a program its input and collects what it prints.

    `asyncio.subprocess.Process.wait` also waits until every inherited pipe is closed, so one
    escaped grandchild would hang it; here `exited` is about the program alone.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, stdin: bytes, limit: int) -> None:
        self.stdout = bytearray()
        self.stderr = b""
        self.exited: asyncio.Future[None] = loop.create_future()
        self.finished: asyncio.Future[int] = loop.create_future()
        self._stdin = stdin
        self._limit = limit
        self._open = {_STDOUT, _STDERR}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)
        pipe = self._transport.get_pipe_transport(_STDIN)
        assert isinstance(pipe, asyncio.WriteTransport)
        pipe.write(self._stdin)
        pipe.write_eof()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == _STDERR:
            self.stderr = (self.stderr + data)[-4 * TAIL_CHARS :]
            return
        self.stdout += data
        if len(self.stdout) > self._limit and not self.finished.done():
            self.finished.set_exception(_OutputTooLargeError())

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        # A program that does not read its input is in its right, so a broken stdin is nothing.
        del exc
        self._open.discard(fd)
        self._finish()

    def process_exited(self) -> None:
        self.exited.set_result(None)
        self._finish()

    def _finish(self) -> None:
        code = self._transport.get_returncode()
        if code is not None and not self._open and not self.finished.done():
            self.finished.set_result(code)


def _stdin(value: Json) -> bytes:
    try:
        return write_json(value).encode(errors="replace")
    except ValueError as error:
        raise CallFailed(detail=f"its input is not JSON: {error}", billed="no") from error


def _kill_group(leader: int) -> None:
    # The kernel keeps the group's id from being used again while a member lives, so this reaches
    # the program's own children or nobody.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _exit(code: int, stderr: str) -> str:
    outcome = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    return f"{outcome}: {stderr}" if stderr else outcome
