"""What a session of PostgreSQL is set to is said in one module, for every connection."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

STORES = Path(__file__).parents[3] / "src" / "earmark" / "stores"
OWNER = "postgres_session.py"
#: Statements that set something for a session or a transaction; an UPDATE has its SET elsewhere.
SETS = re.compile(r"(?:^|;)\s*SET\s|\bSET (?:LOCAL|SESSION)\b|\bset_config\(|\bRESET\b|\bPREPARE\b")
#: What the driver is asked to do with a connection or a statement of it.
OF_DRIVER = {"prepare_threshold", "autocommit", "isolation_level", "read_only"}


def settings_in(source: str) -> Iterator[str]:
    """Yield what *source* sets: texts of SQL, and names that the driver knows."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=str(text)) if SETS.search(text):
                yield text
            case ast.keyword(arg=str(name)) | ast.Attribute(attr=name) if name in OF_DRIVER:
                yield name
            case ast.Attribute(attr="connect", value=ast.Name(id="psycopg")):
                yield "psycopg.connect"


def test_one_module_says_what_a_session_is_set_to() -> None:
    """No other module of the stores sets anything, or opens a connection of its own."""
    found = {
        file.name: sorted(settings)
        for file in sorted(STORES.glob("*postgres*.py"))
        if (settings := set(settings_in(file.read_text(encoding="utf-8"))))
    }
    assert found.keys() == {OWNER}
    assert {"psycopg.connect", "prepare_threshold", "autocommit"} <= set(found[OWNER])


def test_what_sets_is_noticed() -> None:
    """Statements and arguments of the driver are found; an UPDATE is none of them."""
    sets = [
        'run("SET LOCAL lock_timeout = 0")',
        'run(f"BEGIN; SET {name} = 1")',
        "run(\"SELECT set_config('work_mem', '1MB', false)\")",
        "connection.prepare_threshold = None",
        "psycopg.connect(url)",
    ]
    assert [source for source in sets if not list(settings_in(source))] == []
    assert list(settings_in('run("UPDATE account SET held = 0")')) == []
