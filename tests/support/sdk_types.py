"""Walks the parameter types of an SDK along a request table, and names what the table lacks."""

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

from typing_extensions import is_typeddict

from earmark.apis.options import Option, row_of_kind


def gaps(params: type, options: dict[str, Option]) -> list[str]:
    """Return the path of each parameter, content part and tool of *params* without a row."""
    return sorted(set(_gaps(params, Option(fields=options), "", set())))


def _gaps(params: type, row: Option, place: str, seen: set[tuple[type, int]]) -> Iterator[str]:
    if (params, id(row)) in seen:
        return
    seen.add((params, id(row)))
    for name, hint in get_type_hints(params).items():
        inner = (row.fields or {}).get(name)
        path = f"{place}.{name}" if place else name
        if inner is None:
            yield path
        else:
            yield from _inside(hint, inner, path, seen)


def _inside(hint: Any, row: Option, path: str, seen: set[tuple[type, int]]) -> Iterator[str]:
    """Yield what a value of the type *hint* may hold that its row does not list."""
    if _ends_here(row) or _has_free_keys(hint):
        return
    for each in _objects(hint):
        if row.kinds is not None:
            kinds = literals(get_type_hints(each).get("type")) or [""]
            for kind in kinds:
                found = row_of_kind(row.kinds, {**get_type_hints(each), "type": kind})
                if found is None:
                    yield f"{path}[{kind or each.__name__}]"
                elif not _ends_here(found) and found.fields is None:
                    yield f"{path}[{kind}] ({each.__name__} is read as text)"
                elif not _ends_here(found):
                    yield from _gaps(each, found, f"{path}[{kind}]", seen)
        elif row.fields is None:
            yield f"{path} ({each.__name__} is read as text)"
        else:
            yield from _gaps(each, row, path, seen)


def _has_free_keys(hint: Any) -> bool:
    """Whether a value may be an object of any keys, such as a JSON schema."""
    if is_typeddict(hint):
        return False
    return get_origin(hint) is dict or any(_has_free_keys(each) for each in get_args(hint))


def _ends_here(row: Option) -> bool:
    """Whether nothing inside is looked at: all of it is refused, or needs an explicit bound."""
    return row.effect == "refused" or (
        row.effect == "input" and row.fields is None and row.kinds is None
    )


def literals(hint: Any) -> list[str]:
    """Return the values of a literal, however it is wrapped."""
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint)]
    return [each for inner in get_args(hint) for each in literals(inner)]


def _objects(hint: Any) -> Iterator[type]:
    """Yield the objects a value of the type *hint* can be, in a list or not."""
    if is_typeddict(hint):
        yield hint
        return
    for inner in get_args(hint):
        yield from _objects(inner)
