"""Public fakes for tests of programs that use Earmark: real objects, no patching."""

from earmark.testing.clock import ManualClock
from earmark.testing.scripted import (
    Answer,
    Failure,
    HalfStream,
    Scripted,
    ScriptedProvider,
    Unmetered,
)

__all__ = [
    "Answer",
    "Failure",
    "HalfStream",
    "ManualClock",
    "Scripted",
    "ScriptedProvider",
    "Unmetered",
]
