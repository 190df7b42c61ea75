"""Each table has one owner, which alone reads and writes it: others ask the owner."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from earmark.stores.upkeep import TABLES

PACKAGE = Path(__file__).parents[1] / "src" / "earmark"
#: The module or the folder whose statements may name a table.
OWNERS = {
    "task": "board/",
    "task_need": "board/",
    "task_label": "board/",
    "task_attempt": "board/",
    "task_event": "board/",
    "run": "runs/journal_tables.py",
    "run_line": "runs/journal_tables.py",
    "quilt_patches": "quilt/quilt.py",
    "quilt_history": "quilt/quilt.py",
    "nudge": "nudges/nudges.py",
    "nudge_delivery": "nudges/nudges.py",
    "nudge_mark": "nudges/collect.py",
    "agent": "workspace/agents.py",
    "token": "workspace/tokens.py",
    "token_secret": "workspace/tokens.py",
    "request": "service/idempotency.py",
    "session_budget": "gateway/session_budgets.py",
    "kept_id": "gateway/kept_ids.py",
}
#: Tables that are not listed above belong to the books.
BOOKS = "stores/"
#: Where a statement names a table; the words around it are of no other language in these files.
NAMED = re.compile(r"\b(?:FROM|INTO|UPDATE|JOIN|TABLE)\s+(?:\{\}|\{s(?:chema)?\}\.)?\"?([a-z_]+)")
WITH_SCHEMA = re.compile(r"\{s(?:chema)?\}\.([a-z_]+)")
#: Tables and sequences beside those that a copy holds.
OTHERS = {"tree", "entry_seq", "account_id", "copied", "alert_by_amount", "migration"}


def statements(tree: ast.Module) -> Iterator[str]:
    """Yield the texts of a module, with `{}` for what a formatted one holds."""
    for node in ast.walk(tree):
        match node:
            case ast.JoinedStr():
                yield "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "{}"
                    for part in node.values
                )
            case ast.Constant(value=str(text)):
                yield text
            case _:
                pass


def tables_named(file: Path) -> set[str]:
    """Return the tables that the statements of a module name."""
    known = TABLES.keys() | OTHERS
    texts = list(statements(ast.parse(file.read_text(encoding="utf-8"))))
    found = {name for text in texts for name in NAMED.findall(text)} & known
    return found | {name for text in texts for name in WITH_SCHEMA.findall(text)}


def test_a_table_is_named_by_its_owner_alone() -> None:
    """No statement names a table of another module; every owner names its own."""
    named = {
        (table, file.relative_to(PACKAGE).as_posix())
        for file in PACKAGE.rglob("*.py")
        for table in tables_named(file)
    }
    strange = {
        (table, file) for table, file in named if not file.startswith(OWNERS.get(table, BOOKS))
    }
    assert strange == set()
    assert {table for table, _ in named} >= TABLES.keys(), "tables whose statements are not found"
