"""What a heartbeat works with, beside its settings and its workspace."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from earmark.admission.call import Provider
from earmark.admission.policy import Policy, Strict
from earmark.nudges.courier import Courier
from earmark.runs.prepare import AnyStage

#: Beyond every `max_tokens`: a task waits for its whole answer and is not cut short at the cap.
_WHOLE_TOKENS: Final = 1 << 40
WHOLE_ANSWER: Final = Strict(floor=_WHOLE_TOKENS, smallest=_WHOLE_TOKENS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Everything live that comes from the configuration; closed by whoever made it."""

    providers: Mapping[str, Provider]
    """By the name before the slash of a model."""
    stages: Sequence[AnyStage] = ()
    """What compositions may refer to."""
    allow: Collection[str] = ()
    """Effects that may go without a price."""
    transports: Mapping[str, str] = field(default_factory=dict[str, str])
    """How each provider is reached, as results name it; its name where nothing is said."""
    policy: Policy = WHOLE_ANSWER
    courier: Courier | None = None
    """Delivers nudges; None leaves that to another process."""
    channels: Sequence[str] = ()
    """That carry the nudges this heartbeat raises."""
    folder: Path = Path()
    """Where the files that the settings name are looked for."""
