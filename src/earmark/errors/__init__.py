"""Every error Earmark raises, and the one table of their exit codes and HTTP statuses.

    EarmarkError
    ├─ InputError (ValueError)          the caller's fault; asking again changes nothing
    │  ├─ InvalidAmount                 not an amount of money or units
    │  │  └─ FloatAmount (TypeError)    a float is never money
    │  ├─ InvalidDuration · InvalidLimit · InvalidPath · InvalidKey · InvalidUsage
    │  ├─ InvalidComposition            with the place inside the graph
    │  ├─ InvalidStage                  with the place inside the stage's definition
    │  ├─ InvalidConfig                 with the file and the setting
    │  ├─ InvalidTask                   something of a task that cannot be on the board
    │  ├─ InvalidPatch                  with the place inside the patch
    │  ├─ InvalidNudge                  something of a nudge that cannot be told
    │  └─ InvalidFile                   not a file that can be read
    ├─ Refusal                          a decided no; nothing was changed
    │  ├─ BudgetExceeded                the amount does not fit: why, where, by how much
    │  ├─ NoBudget                      no limit anywhere on the path
    │  ├─ KeyReused                     a key came back with other content
    │  │  └─ RunIdReused                a run was asked for under an earlier run's id
    │  ├─ ReservationClosed             the reservation is no longer open
    │  ├─ TaskMoved                     somebody else moved the task on meanwhile
    │  ├─ TaskRefused                   the task's state does not allow the move
    │  ├─ VersionConflict               somebody else changed it first: the version that stands
    │  ├─ TokenRefused                  the token has ended, or was rotated meanwhile
    │  ├─ AgentBusy                     another heartbeat runs under that name
    │  ├─ ConfigNotAllowed              a configuration file that was found, and never allowed
    │  ├─ TooManyRepeats                the retries of a run wanted more attempts than it may make
    │  └─ CheckFailed                   a composition's types, effects or prices are refused
    ├─ NotFound                         no such thing by that name
    ├─ CallFailed                       one call failed; says what is known of its cost
    ├─ StageFailed                      a stage of a run failed for good
    └─ StoreError                       the books could not be read or written
       ├─ StoreUnavailable              the outcome may be unknown: call again with the same key
       │  └─ ClockStepped               the clock was set while the store was open
       ├─ StoreClosed                   the ledger was closed
       ├─ StoreCorrupt                  the file is not a healthy store
       ├─ SchemaMismatch                tables newer or older than this program
       ├─ UnknownField                  a budget with a field of a newer program
       └─ UnknownUnit                   a limit or a count of a unit of a newer program

Each class has typed fields, a stable `code`, and one sentence: what was refused, the numbers, what
to do next. A message never holds a provider's key, a password or a prompt.
"""

from earmark.errors.base import EarmarkError
from earmark.errors.failures import (
    CallFailed,
    ClockStepped,
    NotFound,
    SchemaMismatch,
    StageFailed,
    StoreClosed,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
    UnknownField,
    UnknownUnit,
)
from earmark.errors.inputs import (
    FloatAmount,
    InputError,
    InvalidAmount,
    InvalidComposition,
    InvalidConfig,
    InvalidDuration,
    InvalidFile,
    InvalidKey,
    InvalidLimit,
    InvalidNudge,
    InvalidPatch,
    InvalidPath,
    InvalidStage,
    InvalidTask,
    InvalidUsage,
)
from earmark.errors.outcomes import OUTCOMES, Outcome
from earmark.errors.refusals import (
    AgentBusy,
    BudgetExceeded,
    CheckFailed,
    ConfigNotAllowed,
    KeyReused,
    NoBudget,
    Reason,
    Refusal,
    ReservationClosed,
    RunIdReused,
    TaskMoved,
    TaskRefused,
    TokenRefused,
    TooManyRepeats,
    VersionConflict,
)

__all__ = [
    "OUTCOMES",
    "AgentBusy",
    "BudgetExceeded",
    "CallFailed",
    "CheckFailed",
    "ClockStepped",
    "ConfigNotAllowed",
    "EarmarkError",
    "FloatAmount",
    "InputError",
    "InvalidAmount",
    "InvalidComposition",
    "InvalidConfig",
    "InvalidDuration",
    "InvalidFile",
    "InvalidKey",
    "InvalidLimit",
    "InvalidNudge",
    "InvalidPatch",
    "InvalidPath",
    "InvalidStage",
    "InvalidTask",
    "InvalidUsage",
    "KeyReused",
    "NoBudget",
    "NotFound",
    "Outcome",
    "Reason",
    "Refusal",
    "ReservationClosed",
    "RunIdReused",
    "SchemaMismatch",
    "StageFailed",
    "StoreClosed",
    "StoreCorrupt",
    "StoreError",
    "StoreUnavailable",
    "TaskMoved",
    "TaskRefused",
    "TokenRefused",
    "TooManyRepeats",
    "UnknownField",
    "UnknownUnit",
    "VersionConflict",
]
