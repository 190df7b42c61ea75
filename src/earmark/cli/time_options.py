"""What help says of options that take a time."""

from typing import Final

WHEN: Final = "WHEN"
AHEAD: Final = "2h, 3d … from now, or a moment such as 2026-12-01 or 2026-12-01T09:30+01:00."
AGO: Final = "2h, 3d … ago, or a moment such as 2026-12-01 or 2026-12-01T09:30+01:00."
