"""The admission policies on a real trace: `benchmarks.admission`, judged by its targets."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from benchmarks.admission import WHERE
from benchmarks.figure import Figure, at_least, at_most
from benchmarks.settings import Settings, tell
from benchmarks.worker import ROOT

AREA: Final = "admission"
#: Looked for beside the checkout when no trace is given.
USUAL: Final = ROOT / "../shared/data/AzureLLMInferenceTrace_code.csv"
JUDGED: Final = ("strict", "elastic")


def measure(settings: Settings) -> list[Figure]:
    """Return the figures of the judged policies, or where to get a trace."""
    trace = settings.trace or (USUAL if USUAL.exists() else None)
    if trace is None:
        tell(f"admission: not measured; {WHERE}")
        detail = "not measured: no trace; `python -m benchmarks.admission` says where to get one"
        return [Figure(area=AREA, what="policies on a trace", samples=(), detail=detail)]
    tell("admission: policies on a trace")
    said = json.loads(_simulated(trace))
    return [figure for row in said["policies"] for figure in figures(row)]


def figures(row: dict[str, Any]) -> list[Figure]:
    """Return the three figures of one policy, from its row of `benchmarks.admission --json`."""
    policy = row["policy"]

    def figure(what: str, value: float, target: Any, detail: str) -> Figure:  # noqa: ANN401
        return Figure(
            area=AREA, what=f"{policy}: {what}", samples=(value,), target=target, detail=detail
        )

    overspent, waited = row["overspent_usd"], f"wait p99 {row['wait_p99_s']:.1f} s"
    return [
        figure("USD overspent", float(overspent), at_most(0), "sum of all deals"),
        figure("share of the limits used", row["used"], at_least(0.98), waited),
        figure("false refusals", row["false_refusals"], at_most(0.01), f"cut {row['cut']:.2%}"),
    ]


def _simulated(trace: Path) -> str:
    command = [sys.executable, "-m", "benchmarks.admission", "--json", "--trace", str(trace)]
    answer = subprocess.run(
        [*command, "--policies", *JUDGED], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    return answer.stdout
