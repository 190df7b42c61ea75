"""What the durable journals keep in a row: the columns, and the records they become."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from earmark.composition.parse import parse_composition
from earmark.money import Money
from earmark.runs.journal import RunRecord
from earmark.runs.statement import RunStatus, Statement
from earmark.runs.statement_line import StatementLine
from earmark.stages.kinds.jsontext import Json

RUN_COLUMNS: Final = (
    "run_id, composition_id, composition, input, budget, limit_usd, started_at, status,"
    " alive_until, statement"
)
LINE_COLUMNS: Final = "run_id, number, line"
#: Made once: `json.dumps` makes one for each text.
_JSON: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def run_row(run: RunRecord) -> tuple[Any, ...]:
    """Return the row of a run that begins."""
    return (
        run.run_id,
        run.composition_id,
        run.composition.to_json(indent=None),
        dump(run.input),
        run.budget,
        str(run.limit),
        run.started_at,
        str(run.status),
        run.alive_until,
        None,
    )


def run_record(row: Sequence[Any], lines: Iterable[Sequence[Any]] = ()) -> RunRecord:
    """Return the run of a row, with the lines of others."""
    run_id, composition_id, composition, value, budget, limit, started_at, status, alive, text = row
    statement = None if text is None else Statement.from_json(json.loads(text))
    written = tuple(StatementLine.from_json(json.loads(line)) for (line,) in lines)
    return RunRecord(
        run_id=run_id,
        composition_id=composition_id,
        composition=parse_composition(composition),
        input=json.loads(value),
        budget=budget,
        limit=Money(limit),
        started_at=started_at,
        status=RunStatus(status),
        alive_until=alive,
        statement=statement,
        lines=written if statement is None else statement.lines,
    )


def line_rows(run_id: str, lines: Sequence[StatementLine]) -> list[tuple[str, int, str]]:
    """Return the rows of a run's lines."""
    return [(run_id, line.number, dump(line.to_json())) for line in lines]


def dump(value: Json) -> str:
    """Return *value* as JSON text."""
    return _JSON.encode(value)
