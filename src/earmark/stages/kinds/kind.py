"""The port of stage kinds: an input becomes one call, which the guard then makes."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from earmark.admission.call import Call, Provider
from earmark.composition.catalogue import Quote
from earmark.stages.kinds.jsontext import Json, mended
from earmark.stages.stage import StageSpec

if TYPE_CHECKING:
    from httpx2 import AsyncClient

#: What a stage may leave in its error: the end of its stderr, or of a remote's answer.
TAIL_CHARS = 2000


class StageKind(Protocol):
    """A stage that can be run: who it is, and how an input becomes a call."""

    @property
    def spec(self) -> StageSpec:
        """Its identity, types, effects and declared price."""
        ...

    @property
    def timeout_s(self) -> float | None:
        """Seconds an attempt may take; `None` takes the run's own."""
        ...

    @property
    def free(self) -> bool:
        """Whether an attempt cannot cost anything, so that the ledger need not be asked."""
        ...

    def quote(self, tools: "Tools") -> Quote | None:
        """Return what one attempt can cost; None leaves that to the declared cost.

        Raises:
            NotFound: The stage needs something that is not among *tools*.
        """
        ...

    def call(self, value: Json, tools: "Tools") -> Call:
        """Return the bounded, not yet sent call for the input *value*; pure, no I/O.

        Raises:
            CallFailed: The input does not fit the stage; nothing was billed.
            BudgetExceeded: With reason `unpriced`.
            NotFound: The stage names a provider that is not configured.
        """
        ...


@dataclass(slots=True)
class Tools:
    """What the stages of one run share; made by the runner, closed when the run ends."""

    providers: Mapping[str, Provider] = field(default_factory=dict[str, Provider])
    concurrency: int = 16
    wait_s: float = 0
    """How long an attempt may wait in line for budget."""
    timeout_s: float = 0
    """How long an attempt may take whose stage names no time of its own."""
    _http: "AsyncClient | None" = None
    _threads: ThreadPoolExecutor | None = None

    def http(self, make: "Callable[[], AsyncClient]") -> "AsyncClient":
        """Return the run's one HTTP client, made by *make* when first asked for."""
        if self._http is None:
            self._http = make()
        return self._http

    def threads(self) -> ThreadPoolExecutor:
        """Return the run's worker threads, one for each stage that may run at once."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.concurrency, thread_name_prefix="earmark-stage")
        return self._threads

    async def aclose(self) -> None:
        """Close the connections; a thread that still works is left to finish by itself."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)
        if self._http is not None:
            await self._http.aclose()


def tail(text: str) -> str:
    """Return the last part of *text*, mended, short enough for an error's sentence."""
    text = mended(text).strip()
    return text if len(text) <= TAIL_CHARS else "…" + text[-TAIL_CHARS:]
