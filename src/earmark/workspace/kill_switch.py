"""The kill switch of an agent: a patch of the quilt that says whether it may act by itself."""

import re
from collections.abc import Mapping
from typing import Any, Final

#: Under which of these a patch says whether the agent may act by itself.
_SAYS: Final = ("enabled", "value", "autonomous")


def kill_switch_name(agent: str) -> str:
    """Return the name of the patch that stops *agent*: `cloud_lu_autonomous`."""
    return f"{snake_case(agent)}_autonomous"


def snake_case(name: str) -> str:
    """Return *name* in small letters, joined by `_`."""
    return re.sub(r"\W+", "_", name.lower()).strip("_")


def is_enabled(data: Mapping[str, Any], switch: str) -> bool:
    """Return whether a patch named *switch* lets its agent act; in doubt it does not."""
    values = [data[name] for name in (*_SAYS, switch) if name in data]
    # Neither true nor false, or nothing: whoever wrote it meant to say something. Closed in doubt.
    return bool(values) and all(each is True for each in values)
