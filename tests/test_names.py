"""Names: what nothing uses is not there, and a class or an alias means one thing in the package."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from earmark.budget.fields import PLAIN_FIELDS

PACKAGE = Path(__file__).parents[1] / "src" / "earmark"
#: A longer text is prose, which names things without using them.
LONGEST_TEXT = 200


@cache
def modules() -> dict[str, ast.Module]:
    """Return every module of the package, parsed, by its path below the package."""
    return {
        file.relative_to(PACKAGE).as_posix(): ast.parse(file.read_text(encoding="utf-8"))
        for file in sorted(PACKAGE.rglob("*.py"))
    }


# What nothing uses --------------------------------------------------------------------------------

#: Used by others than this package.
USED_ELSEWHERE = {
    "UNPRICED_BLOCKS": "with the free ones, the whole of what an SDK knows",
    "UNPRICED_ITEMS": "with the free ones, the whole of what an SDK knows",
    "closing_events": "asked by whoever cuts a stream",
    "emit": "called by logging",
    "format_commands": "called by Click",
    "unbounded": "asked of a plan by programs",
    "BYTES": "a type of the graph's language",
    "VNODE": "a type of the graph's language",
    "model_config": "read by pydantic",
    "pipe_data_received": "called by asyncio",
    "pipe_connection_lost": "called by asyncio",
    "process_exited": "called by asyncio",
    "set_lifecycle": "called by programs with a library of their own",
    "sleepers": "asked by tests of programs",
}


def defined(tree: ast.Module) -> Iterator[str]:
    """Yield the functions, methods, classes and variables of a module that nobody registers."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef():
                yield node.name
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                said = [ast.unparse(each) for each in node.decorator_list]
                # Any other decorator may register what it is put on.
                if all(each in {"property", "classmethod", "staticmethod"} for each in said):
                    yield node.name
            case ast.Name(ctx=ast.Store()):
                yield node.id
            case _:
                pass


def used(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module reads, also those in short texts; an import uses nothing."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(ctx=ast.Load()):
                yield node.id
            case ast.Attribute():
                yield node.attr
            case ast.Constant(value=str(text)) if len(text) < LONGEST_TEXT:
                yield from re.findall(r"\w+", text)
            case _:
                pass


def test_every_name_is_used() -> None:
    """Whatever the package defines, it uses; what others use of it is listed with its reason."""
    read = {name for tree in modules().values() for name in used(tree)}
    for page in PACKAGE.rglob("*.html"):
        read |= set(re.findall(r"\w+", page.read_text(encoding="utf-8")))
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for path, tree in modules().items():
        for name in defined(tree):
            homes[name].append(path)
    # What reads the fields of a budget walks their declaration, and names none.
    declared = {field.name for field in PLAIN_FIELDS}
    own = {name for name in homes if not name.startswith("__") and name != "_"} - declared
    assert {name: homes[name] for name in own - read - USED_ELSEWHERE.keys()} == {}
    assert USED_ELSEWHERE.keys() - own == set(), "listed, and gone"


# What means two things ----------------------------------------------------------------------------

_EACH = "one for each database"
#: Names of classes and aliases that more than one module defines, and why. It only gets shorter.
SHARED = {
    "Uncommitted": _EACH,
}


def classes_and_aliases(tree: ast.Module) -> Iterator[str]:
    """Yield the names of a module's classes and aliases, without a leading underscore."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name):
                yield name.lstrip("_")
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                bare = name.lstrip("_")
                # A type variable is one letter, a constant has only capitals.
                if bare[:1].isupper() and not bare.isupper():
                    yield bare
            case _:
                pass


def test_a_class_means_one_thing() -> None:
    """No class or alias has the name of another module's, but those that are listed."""
    homes: defaultdict[str, set[str]] = defaultdict(set)
    for path, tree in modules().items():
        for name in classes_and_aliases(tree):
            homes[name].add(path)
    shared = {name: sorted(paths) for name, paths in homes.items() if len(paths) > 1}
    assert {name: shared[name] for name in shared.keys() - SHARED} == {}
    assert SHARED.keys() - shared.keys() == set(), "listed, and no longer shared: take it out"
