"""Moments on the command line, and what help says of them."""

from earmark.workspace.time_expressions import ago, ahead, still_ahead

__all__ = ["AGO", "AHEAD", "WHEN", "ago", "ahead", "still_ahead"]

WHEN = "WHEN"
#: What help says of an option that takes one.
AHEAD = "2h, 3d … from now, or a moment such as 2026-12-01 or 2026-12-01T09:30+01:00."
AGO = "2h, 3d … ago, or a moment such as 2026-12-01 or 2026-12-01T09:30+01:00."
