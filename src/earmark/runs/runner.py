"""Runs a composition under a budget of its own, and says what it cost, however it ended.

    parse → check → plan → the run's budget → engine → statement

Nothing is called before everything was checked. A run is a child budget, so that each hold is on
the run and on every budget above it.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Unpack

from earmark.admission.call import Call
from earmark.admission.cancellation import run_to_completion
from earmark.admission.guard import DEFAULT_TIMEOUT, DEFAULT_WAIT, Guard
from earmark.admission.policy import Policy
from earmark.budget.path import parse_path
from earmark.clock import NANOS_PER_SECOND, Clock, check_clock, parse_duration
from earmark.composition.ast import Composition
from earmark.composition.check import check_input
from earmark.errors import EarmarkError, InvalidConfig
from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.ledger import Ledger
from earmark.ledger.requests import Duration
from earmark.money import AmountLike, Money
from earmark.runs.attempts import AttemptTerms, StageAttempts, ungated
from earmark.runs.closing import carry, error_json, status_of, totals, unaccounted
from earmark.runs.engine import Engine, Execution
from earmark.runs.engines.local import LocalEngine
from earmark.runs.events import OnEvent, RunEnded, RunStarted
from earmark.runs.journal import LEASE_NS, Journal, JournalWriter, LedgerJournal, RunRecord
from earmark.runs.journals import journal_of
from earmark.runs.lease import RunLease
from earmark.runs.options import (
    Options,
    check_call,
    concurrency_of,
    policy_of,
    repeats_of,
    run_id_of,
    stages_of,
)
from earmark.runs.payers import payers_of, refuse_hopeless, warnings_of
from earmark.runs.prepare import AnyStage, Prepared, library_of, prepare, read_graph
from earmark.runs.statement import Statement, total
from earmark.stages.kinds.jsontext import Json, validated_json
from earmark.stages.kinds.kind import Tools


def run(
    graph: Composition | str | bytes,
    input: Json,  # noqa: A002 - the format's own word
    *,
    ledger: Ledger,
    under: str,
    budget: AmountLike,
    **options: Unpack[Options],
) -> Statement:
    """Run a composition to its end; see `run_async`, of which this is the blocking form.

    Raises:
        RuntimeError: An event loop runs in this thread: await `run_async` there.
    """
    if not isinstance(ledger, Ledger):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        raise TypeError("run takes the Ledger that earmark.open gives; await run_async on others")
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        books = ledger.as_async()
        return asyncio.run(
            run_async(graph, input, ledger=books, under=under, budget=budget, **options)
        )
    raise RuntimeError("run blocks, and an event loop runs in this thread: await run_async")


async def run_async(
    graph: Composition | str | bytes,
    input: Json,  # noqa: A002 - the format's own word
    *,
    ledger: AsyncLedger,
    under: str,
    budget: AmountLike,
    **options: Unpack[Options],
) -> Statement:
    """Run a composition under its own budget below *under*, and return its statement.

    The run's budget is `<under>/run-<id>` with `<budget> usd total`. A composition that cannot
    succeed, because it costs or holds more than can ever be there even at its least, is refused
    before a call is made; one that may cost more runs, and is refused where the next call does not
    fit.

    Args:
        graph: The composition, or its JSON text.
        input: A JSON value, checked against the type the composition takes.
        ledger: The books.
        under: The budget that pays; the statement's `warnings` say where no limit is above.
        budget: The most the run may spend, in USD.
        options: See `Options`.

    Returns:
        The statement of a run that succeeded.

    Raises:
        TypeError, InputError: Ledger, graph, path, an amount or option is none; nothing was run.
        BudgetExceeded, NoBudget, CheckFailed: The run was refused, before or while it ran.
        RunIdReused: A run of that id exists; nothing was run, and it has no statement.
        TooManyRepeats: Its retries wanted more attempts than `max_repeats` allows.
        StageFailed: A stage failed for good.
        StoreError: The books or the journal could not be written.
        asyncio.CancelledError: The run was cancelled; what was under way is booked.
            All but InputError and RunIdReused carry the run's `statement`.
    """
    check_call(ledger, options)
    run_request = _run_request(read_graph(graph), input, ledger, under, budget, options)
    value = options.get("journal")
    if value is not None:
        return await _execute(run_request, ledger, value, None)
    # To the end, both: what is opened here has nobody else to close it.
    ledger_journal, cancelled = await run_to_completion(journal_of(ledger))
    try:
        _raise_if(cancelled)
        return await _execute(run_request, ledger, ledger_journal, ledger_journal)
    finally:
        _, cancelled = await run_to_completion(ledger_journal.aclose())
        _raise_if(cancelled)


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunRequest:
    """A run that is about to begin: everything given, read and in range."""

    record: RunRecord
    under: str
    terms: AttemptTerms
    clock: Clock
    stages: tuple[AnyStage, ...]
    tools: Tools
    allow: Collection[str]
    policy: Policy
    engine: Engine
    on_event: OnEvent | None
    gate: Callable[[Call], Call]


def _seconds(duration: Duration) -> float:
    return parse_duration(duration) / NANOS_PER_SECOND


def _run_request(
    composition: Composition,
    value: Json,
    ledger: AsyncLedger,
    under: str,
    budget: AmountLike,
    options: Options,
) -> _RunRequest:
    value = _validated_input(value)
    clock_option = options.get("clock")
    clock = ledger.clock if clock_option is None else check_clock(clock_option)
    run_id = run_id_of(options, clock)
    path = parse_path(f"{parse_path(under)}/run-{run_id}")
    concurrency = concurrency_of(options)
    wait = options.get("wait", DEFAULT_WAIT)
    wait_s = None if wait is None else _seconds(wait)
    timeout_s = _seconds(options.get("timeout", DEFAULT_TIMEOUT))
    now = clock.instant()
    return _RunRequest(
        record=RunRecord(
            run_id=run_id,
            composition_id=composition.id,
            composition=composition,
            input=value,
            budget=path,
            limit=Money(budget),
            started_at=now,
            alive_until=now + LEASE_NS,
        ),
        under=under,
        terms=AttemptTerms(
            run_id=run_id,
            budget=path,
            concurrency=concurrency,
            timeout_s=timeout_s,
            wait_s=wait_s,
            max_repeats=repeats_of(options),
        ),
        clock=clock,
        stages=stages_of(options),
        tools=Tools(options.get("providers") or {}, concurrency, wait_s or 0, timeout_s),
        allow=options.get("allow", ()),
        policy=policy_of(options),
        engine=options.get("engine") or LocalEngine(clock),
        on_event=options.get("on_event"),
        gate=options.get("gate") or ungated,
    )


async def _execute(
    run_request: _RunRequest,
    ledger: AsyncLedger,
    journal: Journal,
    ledger_journal: LedgerJournal | None,
) -> Statement:
    record = run_request.record
    journal_writer = JournalWriter(journal, record.run_id, ledger_journal)
    output: Json = None
    failure: BaseException | None = None
    warnings: tuple[str, ...] = ()
    _, cancelled = await run_to_completion(journal.start(record))
    try:
        # Only now: a run that was written as running gets its end written.
        _raise_if(cancelled)
        prepared = prepare(
            run_request.record.composition,
            library_of(run_request.stages, run_request.tools),
            allow=run_request.allow,
        )
        check_input(record.input, prepared.plan.input)
        payers = await payers_of(run_request.under, ledger)
        warnings = (*prepared.plan.warnings, *warnings_of(payers, record, under=run_request.under))
        refuse_hopeless(prepared.plan, record, payers)
        async with RunLease(journal, record.run_id, run_request.clock):
            output = await _carry_out(run_request, prepared, ledger, journal_writer, warnings)
    except BaseException as error:  # noqa: BLE001 - raised again, once its statement is written
        failure = error
    ending = _close(run_request, ledger, journal_writer, journal, output, failure, warnings)
    # A run that is cancelled twice still gets its statement written before its loop ends.
    statement, cancelled = await run_to_completion(ending)
    if failure is not None:
        raise failure
    _raise_if(cancelled)
    return statement


async def _carry_out(
    run_request: _RunRequest,
    prepared: Prepared,
    ledger: AsyncLedger,
    journal_writer: JournalWriter,
    warnings: tuple[str, ...],
) -> Json:
    record, terms = run_request.record, run_request.terms
    await ledger.set_budget(
        terms.budget,
        limits=[f"{record.limit} usd total"],
        kind="run",
        actor="earmark run",
        reason=f"run {record.run_id}",
    )
    if run_request.on_event is not None:
        run_request.on_event(
            RunStarted(
                run_id=record.run_id,
                composition_id=record.composition_id,
                budget=record.budget,
                limit=record.limit,
                plan=prepared.plan,
                warnings=warnings,
            )
        )
    attempts = StageAttempts(
        prepared,
        terms,
        ledger=ledger,
        guard=Guard(ledger, policy=run_request.policy, clock=run_request.clock),
        tools=run_request.tools,
        journal_writer=journal_writer,
        clock=run_request.clock,
        gate=run_request.gate,
        on_event=run_request.on_event,
    )
    execution = Execution(
        run_id=record.run_id, root=run_request.record.composition.root, input=record.input
    )
    try:
        # Outputs of one pure stage may stand in it several times.
        return validated_json(await run_request.engine.execute(execution, attempts))
    finally:
        attempts.close()


async def _close(
    run_request: _RunRequest,
    ledger: AsyncLedger,
    journal_writer: JournalWriter,
    journal: Journal,
    output: Json,
    failure: BaseException | None,
    warnings: tuple[str, ...],
) -> Statement:
    """Write the statement of a run that is over.

    It is raised what ended the run; where that was nothing, what kept its end from being written.
    Either carries the statement as `statement`, written or not.
    """
    record = run_request.record
    troubles: list[Exception] = []
    warnings = (*warnings, *await _closed(run_request.tools))
    try:
        spent, held = await totals(ledger, record.budget)
    except EarmarkError as error:
        troubles.append(error)
        spent = total(line.settled for line in journal_writer.lines)
        held = total(line.held for line in journal_writer.lines)
        warnings = (*warnings, "the ledger could not be read: the totals are those of the lines")
    statement = Statement(
        run_id=record.run_id,
        composition_id=record.composition_id,
        budget=record.budget,
        limit=record.limit,
        status=status_of(failure),
        output=output,
        error=error_json(failure),
        lines=journal_writer.lines,
        spent=spent,
        held=held,
        unaccounted=unaccounted(record.run_id, spent, held, journal_writer.lines),
        started_at=record.started_at,
        ended_at=run_request.clock.instant(),
        warnings=warnings,
    )
    try:
        await journal.finish(statement)
        if run_request.on_event is not None:
            run_request.on_event(RunEnded(statement=statement))
    except Exception as error:  # noqa: BLE001 - raised below, unless the run failed before
        troubles.append(error)
    carry(statement, failure, troubles)
    return statement


async def _closed(tools: Tools) -> tuple[str, ...]:
    try:
        await tools.aclose()
    except Exception as error:  # noqa: BLE001 - connections that do not close change no fact
        return (f"its connections could not be closed: {type(error).__name__}",)
    return ()


def _raise_if(cancelled: asyncio.CancelledError | None) -> None:
    if cancelled is not None:
        raise cancelled


def _validated_input(value: Json) -> Json:
    try:
        return validated_json(value)
    except ValueError as error:
        raise InvalidConfig(place="input", detail=f"it is not JSON: {error}") from None
