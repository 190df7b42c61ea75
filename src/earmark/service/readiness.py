"""Whether the service can work: asked thousands of times, checked twice a second."""

import json
import logging
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from earmark.clock import NANOS_PER_SECOND, Clock, iso
from earmark.errors import ClockStepped, EarmarkError, StoreError, StoreUnavailable
from earmark.ledger.commit_time import entries_ahead
from earmark.service.cached_value import CachedValue
from earmark.service.idempotency import StoredAnswers
from earmark.stores.store_url import store_file
from earmark.stores.tables import Tables
from earmark.workspace.health import health
from earmark.workspace.jsonable import to_jsonable_utf8
from earmark.workspace.tokens import Tokens
from earmark.workspace.workspace import Workspace, open_workspace

#: How old an answer may be, in seconds.
FRESH_S: Final = 0.5
#: How long the store may take before it counts as gone.
PATIENCE_S: Final = 2.0
#: How often it is tried whether the store can be written: a commit makes every other process look.
WRITE_EVERY_S: Final = 5

#: What has to work for the service to be ready.
CHECKS: Final = ("store:read", "store:swept", "store:time", "store:written")

_LOG: Final = logging.getLogger("earmark.service")


@dataclass(frozen=True)
class HealthReport:
    """The result of a check, and its document."""

    ok: bool
    document: dict[str, Any]
    is_public: bool = True
    """Whether it holds nothing about budgets."""

    @cached_property
    def body(self) -> bytes:
        """The document, written once for all who ask."""
        return json.dumps(self.document, allow_nan=False).encode()


class Readiness:
    """Readiness and health of one service; on PostgreSQL by a connection of their own."""

    def __init__(self, workspace: Workspace, clock: Clock, *, agent: str | None = None) -> None:
        """Look at *workspace*'s store; *agent* is whose heartbeat health is about, else any."""
        self._clock = clock
        self._agent = agent
        self._ledger = workspace.ledger
        self._opened = ExitStack()
        self._workspace: Workspace | None = None
        self._wrote_at: int | None = None
        self._file_identity: tuple[int, int] | None = None
        """The file that was first seen: its device and number."""
        self._ready = CachedValue(self._check_store, clock, fresh_s=FRESH_S)
        self._health = CachedValue(self._examine, clock, fresh_s=FRESH_S)

    async def ready(self) -> HealthReport:
        """Return whether the store can be read and written, and is as it should be."""
        return await self._ask(self._ready)

    async def health(self) -> HealthReport:
        """Return how the heartbeat, the budget and the store do."""
        ready = await self.ready()
        if not ready.ok:
            return HealthReport(ok=False, document={**ready.document, "status": "fail"})
        return await self._ask(self._health)

    def close(self) -> None:
        """Let go of the threads and connections."""
        self._ready.close()
        self._health.close()
        self._opened.close()

    async def _ask(self, fresh: CachedValue[HealthReport]) -> HealthReport:
        try:
            return await fresh.get(PATIENCE_S)
        except TimeoutError:
            return self._failed("store_unavailable", f"the store takes over {PATIENCE_S:g} s")
        except ClockStepped as error:
            return self._failed(error.code, error.detail)
        except StoreError as error:
            return self._failed(error.code, "the store cannot be read or written")
        except EarmarkError as error:
            return self._failed(error.code, str(error))

    def _failed(self, code: str, why: str) -> HealthReport:
        check = {"status": "fail", "code": code, "output": why, "time": iso(self._clock.instant())}
        return HealthReport(ok=False, document={"status": "fail", "checks": {"store": [check]}})

    def _check_store(self) -> HealthReport:
        self._check_file_identity()
        tables = self._own().tables
        Tokens(tables, self._clock).count()
        self._ledger.check_clock()
        self._ledger.store.heads()
        if (failed := self._sweep()) is not None:
            return failed
        if ahead := self._ledger.ahead():
            return self._failed("entries_ahead", entries_ahead(ahead))
        self._write_now_and_then(tables)
        now = iso(self._clock.instant())
        checks = {name: [{"status": "pass", "time": now}] for name in CHECKS}
        return HealthReport(ok=True, document={"status": "pass", "checks": checks})

    def _sweep(self) -> HealthReport | None:
        """Presume what is past its deadline; return what is wrong where that fails.

        Every operation does so first: where it fails, all of them do.
        """
        try:
            self._ledger.sweep()
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, the service is not ready
            # Of any kind: what is in the books contradicts itself.
            _LOG.exception("holds past their deadline cannot be presumed spent")
            why = "holds past their deadline cannot be presumed spent: `earmark audit` tells more"
            return self._failed("store_corrupt", why)
        return None

    def _check_file_identity(self) -> None:
        """Refuse a file that is not at its path any more: it can be written, and nobody reads it.

        Raises:
            StoreUnavailable: It was moved, removed or replaced.
        """
        store = self._ledger.store
        file = store_file(store.url)
        if file is None:
            return
        try:
            found = file.stat()
        except OSError as error:
            raise StoreUnavailable(store=store.name, detail=str(error.strerror)) from None
        identity = (found.st_dev, found.st_ino)
        self._file_identity = self._file_identity or identity
        if identity != self._file_identity:
            why = "another file is in its place: start again"
            raise StoreUnavailable(store=store.name, detail=why)

    def _write_now_and_then(self, tables: Tables) -> None:
        now = self._clock.elapsed()
        wrote = self._wrote_at
        if wrote is not None and now - wrote < WRITE_EVERY_S * NANOS_PER_SECOND:
            return
        self._wrote_at = None
        StoredAnswers(tables, self._clock).probe()
        self._wrote_at = now

    def _examine(self) -> HealthReport:
        found = health(self._own(), agent=self._agent, clock=self._clock)
        document: dict[str, Any] = to_jsonable_utf8(found)
        return HealthReport(ok=document["status"] != "fail", document=document, is_public=False)

    def _own(self) -> Workspace:
        # A slow query of another caller must not look like a store that is gone.
        if self._workspace is None:
            self._workspace = self._opened.enter_context(open_workspace(self._ledger))
        return self._workspace
