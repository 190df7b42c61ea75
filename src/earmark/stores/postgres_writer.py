"""How the PostgreSQL store decides and writes a batch.

The quick way: decide by the pure rules on what is known of the rows, and let one call of a function
write it. The function locks the trees of the batch and looks whether what the decisions rest on
still holds; if not, nothing is written. Then the thorough way: lock first, read, decide operation
by operation, write. Either way a batch is one transaction.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from psycopg import errors

from earmark.errors import SchemaMismatch
from earmark.ledger.books import Books
from earmark.ledger.values import (
    Accepted,
    Decision,
    Operation,
    Reserve,
    SetLimits,
)
from earmark.stores.postgres_batch import (
    PARAMETERS,
    PARAMETERS_ONE,
    Batch,
    Numbers,
    Tree,
    Written,
    arguments,
    fold,
    keys_of,
    paths_of,
    plain_budgets,
    single,
    tree_of,
    written,
)
from earmark.stores.postgres_clock import AGREES, HostClock
from earmark.stores.postgres_link import Link
from earmark.stores.postgres_rows import PostgresRows, TreeRow
from earmark.stores.postgres_session import SAFE, Connection, FunctionCall, transaction
from earmark.stores.rows import BUDGET_COLUMNS, alert_row, budget_row, joined_row
from earmark.stores.tables import Row, write_also, writes_also
from earmark.stores.tables_postgres import PostgresTableRows

#: Deadlines that pass at one time are presumed in pieces, so that no commit grows without bound.
MOST_PRESUMED: Final = 1000

#: Raised where a row is other than the batch was decided on: by the function, by a key that was
#: used or an account that was made meanwhile, by a hold that was given back already; and where what
#: others added meanwhile makes a number too large, which the rules refuse once they know of it.
_CHANGED: Final = frozenset({"EM001", "23505", "23514", "22003"})

_PUT_BUDGET: Final = (
    f"INSERT INTO {{s}}.budget ({BUDGET_COLUMNS}) VALUES (%s, %s, %s)"
    " ON CONFLICT (path) DO UPDATE SET body = excluded.body, kind = excluded.kind"
)
_ADD_OPERATIONS: Final = (
    'INSERT INTO {s}.operation ("key", content) SELECT * FROM unnest(%s::text[], %s::text[])'
)
_ADD_ALERT: Final = (
    'INSERT INTO {s}.alert (account, threshold, budget, unit, "window", start, "end", "limit",'
    " settled, at, seq) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
)
#: All in one statement: there may be ten thousand of them, and their tree is locked meanwhile.
_JOIN_ACCOUNTS: Final = (
    "UPDATE {s}.reservation r SET accounts = j.accounts, parts = j.parts"
    ' FROM unnest(%s::text[], %s::text[], %s::text[]) AS j (accounts, parts, "key")'
    ' WHERE r."key" = j."key"'
)
_MOVE_DEADLINES: Final = (
    "UPDATE {s}.reservation r SET expires = m.expires"
    ' FROM unnest(%s::text[], %s::bigint[]) AS m ("key", expires) WHERE r."key" = m."key"'
)
_SET_END: Final = 'UPDATE {s}.account SET "end" = %s WHERE id = %s'
_SET_ALERTED: Final = "UPDATE {s}.account SET alerted = %s, alerted_of = %s WHERE id = %s"


class Writer:
    """The working set of one process and the connection it writes through; for one thread."""

    def __init__(self, link: Link, schema: str, host: HostClock) -> None:
        self.link = link
        self._host = host
        self._read_at = 0
        """When the batch was asked for, by the clock of this host."""
        self._name = schema
        self._schema = f'"{schema}"'
        holds = AGREES if link.url.unsafe else f"{AGREES} AND {SAFE}"
        self._apply = FunctionCall(f"{self._schema}.apply_2", PARAMETERS, holds)
        self._apply_one = FunctionCall(f"{self._schema}.apply_one_3", PARAMETERS_ONE, holds)
        self._rows = PostgresRows(schema)
        self._books = Books(self._rows)
        self._trees: dict[str, Tree] = {}
        """What is known of trees; the working set has nothing of one that is not among them."""
        self._last = 0
        """No entry that this process knows of has a higher number."""
        self.at = 0
        """No entry that this process knows of is later."""

    def apply(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        """Decide and keep *batch* in one transaction; what is past its deadline goes first."""
        self._rows.connection = self.link.connection
        self._read_at, now = now, max(now, self.at)
        if not batch and not self._rows.due_trees(now):
            return []
        decisions = self._quickly(batch, now) if batch else None
        return self._thoroughly(batch, now) if decisions is None else decisions

    def forget(self) -> None:
        """Empty the working set: it may not be what the server has."""
        self._books.forget()
        self._rows.fetched_nothing()
        self._trees.clear()

    def learn_head(self) -> None:
        """Read how far the books have come, so that time does not go back."""
        self._rows.connection = self.link.connection
        self._last, self.at = self._rows.head()

    # The quick way --------------------------------------------------------------------------------

    def _quickly(self, batch: Sequence[Operation], now: int) -> list[Decision] | None:
        """Return the decisions, or nothing where it takes the thorough way."""
        budgets = plain_budgets(batch, self._books)
        trees = None if budgets is None else self._trees_of(budgets, now)
        if budgets is None or trees is None:
            return None
        decisions, room = self._fold_known(batch, budgets, now)
        changes = self._books.changes
        if changes.alerts or self._used_before(batch, decisions):
            return self._outdated()
        if not changes.entries:
            return decisions if self._unchanged(trees) else self._outdated()
        folded = Batch(
            decisions=decisions,
            room=room,
            changes=changes,
            unwritten=self._books.unwritten,
            now=now,
            until=self._books.holds_until(budgets),
            first=self._last + 1,
            trees=trees,
            begun=writes_also(batch),
        )
        return self._send(batch, folded)

    def _trees_of(self, budgets: set[str], now: int) -> dict[str, Tree] | None:
        """Return what is known of the trees of *budgets*; nothing if there is more to find out."""
        names = sorted(set(map(tree_of, budgets)))
        known = self._trees
        new = [name for name in names if name not in known]
        if new:
            self._learn(self._rows.trees(new))
            if any(name not in known for name in new):
                return None
        for tree in known.values():
            if tree.next_due <= now:
                return None
        return {name: known[name] for name in names}

    def _fold_known(
        self, batch: Sequence[Operation], budgets: set[str], now: int
    ) -> tuple[list[Decision], dict[int, int]]:
        unknown = self._books.unknown(budgets)
        if unknown:
            self._rows.fetch(unknown, (), now)
        self._rows.assume_new([op.key for op in batch if type(op) is Reserve])
        self._books.seq = self._last
        return self._fold(batch, now)

    def _fold(self, batch: Sequence[Operation], now: int) -> tuple[list[Decision], dict[int, int]]:
        found = fold(batch, self._books, now)
        self._rows.fetched_nothing()
        return found

    def _used_before(self, batch: Sequence[Operation], decisions: Sequence[Decision]) -> bool:
        """Return whether a reservation that was refused was opened before: then it is a repeat.

        For those that were accepted, the writing finds out.
        """
        refused = [
            op.key
            for op, decision in zip(batch, decisions, strict=True)
            if type(op) is Reserve and type(decision) is not Accepted
        ]
        return bool(refused and self._rows.budgets_of(refused))

    def _unchanged(self, trees: dict[str, Tree]) -> bool:
        """Return whether nobody else wrote to *trees*: then refusals hold without a write."""
        found = {name: last for name, last, *_ in self._rows.trees(list(trees))}
        return found == {name: tree.exact for name, tree in trees.items()}

    def _outdated(self) -> None:
        """Give up what is known: others wrote, or there is more to write than the quick way can."""
        self.forget()

    def _send(self, batch: Sequence[Operation], folded: Batch) -> list[Decision] | None:
        try:
            # By itself, the call is a transaction of its own: one way to the server and back.
            if folded.begun:
                with transaction(self._connection):
                    answer = self._write_all(batch, folded)
            else:
                answer = self._write_all(batch, folded)
        except errors.DatabaseError as error:
            if error.sqlstate not in _CHANGED:
                raise
            return self._outdated()
        return self._outdated() if answer is None else self._committed(folded, *answer)

    def _write_all(
        self, batch: Sequence[Operation], folded: Batch
    ) -> tuple[Numbers, list[Decision]] | None:
        answer = self._write(folded)
        if answer is None:
            return None
        numbers = Numbers(folded, answer)
        decisions = self._numbered(folded, numbers)
        if folded.begun:
            self._write_also(batch, decisions)
        return numbers, decisions

    # The thorough way -----------------------------------------------------------------------------

    def _thoroughly(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        """Decide *batch* on rows that are locked, operation by operation."""
        names = self._names(batch, now)
        with transaction(self._connection):
            folded = self._fold_locked(batch, names, now)
            decisions = folded.decisions
            numbers = None
            if folded.changes.entries or folded.changes.operations or folded.deadlines:
                answer = self._write(folded)
                assert answer is not None, "what is locked does not change"
                numbers = Numbers(folded, answer)
                decisions = self._numbered(folded, numbers)
                self._write_rare(folded)
            self._write_also(batch, decisions)
        if numbers is not None:
            self._committed(folded, numbers, decisions)
        else:
            self._books.written()
        # A tree that is not there yet was not locked, and nothing would say when others make it.
        missing = [path for path in paths_of(batch) if tree_of(path) not in folded.trees]
        self._books.forget_absent(missing)
        return decisions

    def _names(self, batch: Sequence[Operation], now: int) -> list[str]:
        """Return the trees to lock: those of *batch*, and those in which a deadline has passed."""
        self._learn_deadlines(now)
        names = {name for name, *_ in self._rows.due_trees(now)}
        names.update(map(tree_of, paths_of(batch)))
        names.update(map(tree_of, self._rows.budgets_of(keys_of(batch))))
        for name in {tree_of(op.budget) for op in batch if isinstance(op, SetLimits)}:
            self._rows.add_tree(name)
        return sorted(names)

    def _learn_deadlines(self, now: int) -> None:
        """Read when trees are due that were, as far as is known here; another may have swept them.

        Nothing else of them is taken over: what is known of their sums is as old as it was.
        """
        due = [name for name, tree in self._trees.items() if tree.next_due <= now]
        for name, _, _, next_due in self._rows.trees(due) if due else ():
            self._trees[name].next_due = next_due

    def _fold_locked(self, batch: Sequence[Operation], names: list[str], now: int) -> Batch:
        locked = self._rows.lock_trees(names)
        known = self._trees
        if any(name not in known or known[name].exact != last for name, last, *_ in locked):
            self.forget()
        self._learn(locked)
        now = max(now, self.at)
        self._books.seq = self._last
        self._fetch(batch, now)
        # Others may have made a tree, or opened a reservation, since *names* were found.
        self._rows.check_locked({name for name, *_ in locked}, keys_of(batch))
        deadlines = self._presume_due(locked, now)
        decisions, room = self._fold(batch, now)
        return Batch(
            decisions=decisions,
            room=room,
            changes=self._books.changes,
            unwritten=self._books.unwritten,
            now=now,
            until=now + 1,
            first=self._last + 1,
            trees={name: self._trees[name] for name, *_ in locked},
            deadlines=deadlines,
            locked=True,
        )

    def _fetch(self, batch: Sequence[Operation], now: int) -> None:
        """Read at once what *batch* needs, so that the fold asks for little more."""
        keys = keys_of(batch).union(op.key for op in batch if isinstance(op, Reserve))
        self._rows.fetch(self._books.unknown(paths_of(batch)), keys, now)

    def _presume_due(self, locked: Iterable[TreeRow], now: int) -> dict[str, int]:
        """Presume what is past its deadline; return the next deadline of those trees."""
        deadlines: dict[str, int] = {}
        for name, _, _, next_due in locked:
            if next_due > now:
                continue
            due = self._rows.due(name, now, MOST_PRESUMED)
            self._rows.fetch((), due, now)
            self._books.presume(due, now)
            deadlines[name] = now if len(due) == MOST_PRESUMED else self._rows.next_due(name, now)
        return deadlines

    def _write_rare(self, folded: Batch) -> None:
        changes = folded.changes
        self._many(_PUT_BUDGET, list(map(budget_row, changes.budgets.values())))
        if changes.operations:
            keys, contents = zip(*changes.operations, strict=True)
            self._many(_ADD_OPERATIONS, [(list(keys), list(contents))])
        moved = list({each.key for each in changes.entries if each.expires is not None})
        if moved:
            deadlines = [changes.reservations[key].expires for key in moved]
            self._many(_MOVE_DEADLINES, [(moved, deadlines)])
        if changes.joined:
            rows = [joined_row(changes.reservations[key]) for key in changes.joined]
            self._many(_JOIN_ACCOUNTS, [tuple(map(list, zip(*rows, strict=True)))])
        ends = [
            (account.line.end, number)
            for number, account in changes.accounts.items()
            if account.line.budget in changes.budgets
        ]
        self._many(_SET_END, ends)
        self._many(_ADD_ALERT, [alert_row(alert) for alert in changes.alerts])
        alerted = {alert.account: changes.accounts[alert.account] for alert in changes.alerts}
        self._many(
            _SET_ALERTED,
            [(account.alerted, account.alerted_of, number) for number, account in alerted.items()],
        )

    def _write_also(self, batch: Sequence[Operation], decisions: Sequence[Decision]) -> None:
        write_also(batch, decisions, PostgresTableRows(self._connection, self._name))

    def _many(self, statement: str, values: Sequence[tuple[object, ...]]) -> None:
        for each in values:
            self._connection.execute(statement.replace("{s}", self._schema).encode(), each)

    # Both -----------------------------------------------------------------------------------------

    @property
    def _connection(self) -> Connection:
        """The connection of this batch: one that was lost in it is not replaced before the next."""
        assert self._rows.connection is not None, "a batch begins with a connection"
        return self._rows.connection

    def _learn(self, trees: Collection[TreeRow]) -> None:
        for name, last, at, next_due in trees:
            self._trees[name] = Tree(last, at, next_due)
            self._last, self.at = max(self._last, last), max(self.at, at)

    def _write(self, folded: Batch) -> Written | None:
        if (one := single(folded)) is not None:
            (first,) = self._called(self._apply_one, one, folded)
            if first is not None:
                return Written(int(first), folded.now, exact=True, seqs=None)
        return written(self._called(self._apply, arguments(folded), folded))

    def _called(self, call: FunctionCall, values: list[Any], folded: Batch) -> Row:
        pooled = self.link.pooled
        values = [*values, self._host.reading(self._read_at)]
        connection = self._connection
        try:
            if folded.locked or folded.begun or not pooled:
                return call(connection, values, pooled=pooled)
            # What a pooler gives has no time-outs of ours but those of the transaction.
            with transaction(connection):
                return call(connection, values, pooled=pooled)
        except errors.UndefinedFunction as error:
            # Dropped by a migration that this program would not survive, see `migrations`.
            detail = "a newer program changed its schema meanwhile: use a newer Earmark"
            raise SchemaMismatch(store=self.link.url.name, detail=detail) from error

    def _numbered(self, folded: Batch, numbers: Numbers) -> list[Decision]:
        """Return the decisions, with the numbers of the entries as they were written."""
        if not numbers.changed:
            return folded.decisions
        self._books.renumber(numbers.reservation)
        folded.changes.alerts[:] = map(numbers.alert, folded.changes.alerts)
        return list(map(numbers.decision, folded.decisions))

    def _committed(
        self, folded: Batch, numbers: Numbers, decisions: list[Decision]
    ) -> list[Decision]:
        """Take note of what is now on the disk; return *decisions*."""
        entries, answer = folded.changes.entries, numbers.written
        for entry in entries:
            tree = self._trees[tree_of(entry.budget)]
            tree.at = answer.now
            if answer.exact:
                tree.exact = numbers.number(entry.seq)
        self._note_deadlines(folded, answer.now)
        if entries:
            self.at = max(self.at, answer.now)
            self._last = max(self._last, answer.last(len(entries)))
        self._books.written()
        return decisions

    def _note_deadlines(self, folded: Batch, now: int) -> None:
        for name, due in folded.deadlines.items():
            self._trees[name].next_due = due
        for row in folded.changes.reservations.values():
            if row.state == "open":
                tree = self._trees[tree_of(row.budget)]
                tree.next_due = min(tree.next_due, now + row.expires - row.opened)
