"""The books once more, for pages whose queries take long: nobody else waits for them."""

import threading
from contextlib import ExitStack

from earmark.errors import StoreClosed
from earmark.workspace.workspace import Workspace, open_own_workspace


class OwnReader:
    """A workspace on connections of its own, opened when it is first asked for; any thread may."""

    def __init__(self, workspace: Workspace) -> None:
        """Read the store of *workspace*."""
        self._ledger = workspace.ledger
        self._lock = threading.Lock()
        self._opened = ExitStack()
        self._workspace: Workspace | None = None
        self._is_closed = False

    def workspace(self) -> Workspace:
        """Return the workspace; only for reading.

        Raises:
            StoreUnavailable: The store cannot be opened.
            StoreClosed: The reader was closed.
        """
        with self._lock:
            if self._is_closed:
                raise StoreClosed(store=self._ledger.store.name, detail="closed")
            if self._workspace is None:
                self._workspace = self._opened.enter_context(open_own_workspace(self._ledger))
            return self._workspace

    def close(self) -> None:
        """Let go of the connections, once the query under way has ended."""
        with self._lock:
            self._is_closed = True
            self._opened.close()
