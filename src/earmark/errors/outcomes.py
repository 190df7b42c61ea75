"""The one table of how errors leave the program."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an error leaves the program: a process's exit code, an HTTP status."""

    exit_code: int
    http_status: int


#: Exit codes: 1 bad input, 2 refused, 3 a stage failed. 402 is final for the SDKs' retry loops.
OUTCOMES: dict[str, Outcome] = {
    "error": Outcome(1, 500),
    "input_error": Outcome(1, 400),
    "invalid_amount": Outcome(1, 400),
    "float_amount": Outcome(1, 400),
    "invalid_duration": Outcome(1, 400),
    "invalid_limit": Outcome(1, 400),
    "invalid_path": Outcome(1, 400),
    "invalid_key": Outcome(1, 400),
    "invalid_usage": Outcome(1, 400),
    "invalid_composition": Outcome(1, 400),
    "invalid_stage": Outcome(1, 400),
    "invalid_config": Outcome(1, 400),
    "invalid_file": Outcome(1, 400),
    "invalid_patch": Outcome(1, 400),
    "invalid_nudge": Outcome(1, 400),
    "invalid_task": Outcome(1, 400),
    "refusal": Outcome(2, 402),
    "budget_exceeded": Outcome(2, 402),
    "no_budget": Outcome(2, 402),
    "key_reused": Outcome(2, 422),
    "run_id_reused": Outcome(2, 409),
    "reservation_closed": Outcome(2, 409),
    "too_many_repeats": Outcome(2, 422),
    "check_failed": Outcome(2, 422),
    "version_conflict": Outcome(2, 409),
    "task_moved": Outcome(2, 409),
    "task_refused": Outcome(2, 409),
    "token_refused": Outcome(2, 409),
    "agent_busy": Outcome(2, 409),
    "config_not_allowed": Outcome(2, 409),
    "not_found": Outcome(1, 404),
    "call_failed": Outcome(3, 502),
    "stage_failed": Outcome(3, 502),
    "store_error": Outcome(1, 503),
    "store_unavailable": Outcome(1, 503),
    "clock_stepped": Outcome(1, 503),
    "store_closed": Outcome(1, 503),
    "store_corrupt": Outcome(1, 503),
    "schema_mismatch": Outcome(1, 503),
    "unknown_field": Outcome(1, 503),
    "unknown_unit": Outcome(1, 503),
}
