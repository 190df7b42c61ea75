"""Public fakes for tests of programs that use Earmark: real objects, no patching."""

from earmark.testing.clock import ManualClock

__all__ = ["ManualClock"]
