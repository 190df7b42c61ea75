"""Prompt templates: `{field}` is filled from the input, `{{` and `}}` are literal braces."""

import re
from dataclasses import dataclass
from typing import Any, cast

from earmark.errors import CallFailed, InvalidConfig
from earmark.stages.kinds.jsontext import Json, write_json

#: The name by which a template means its whole input.
WHOLE_INPUT = "input"

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_FIELD = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*")


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: text and field names in turn."""

    text: str
    pieces: tuple[tuple[str, str], ...]
    """Literal text and the field that follows it; the last field is empty."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The top-level input fields it needs, each once, in order of appearance."""
        return tuple(dict.fromkeys(name.split(".")[0] for _, name in self.pieces if name))

    def fill(self, value: Json) -> str:
        """Return the text with every field filled from *value*.

        An input that is no object fills the only field of a template with one field, and `{input}`
        anywhere. Text is put in as it is, every other value as JSON.

        Raises:
            CallFailed: A field is missing; nothing was billed.
        """
        return "".join(
            literal + (_show(self._find(name, value)) if name else "")
            for literal, name in self.pieces
        )

    def _find(self, name: str, value: Json) -> Json:
        first, *rest = name.split(".")
        if not isinstance(value, dict):
            if not rest and (first == WHOLE_INPUT or len(self.fields) == 1):
                return value
            raise _missing(name, "the input is no object")
        fields = cast("dict[str, Any]", value)
        if first == WHOLE_INPUT and first not in fields and not rest:
            return fields
        current: Json = fields
        for part in (first, *rest):
            if not isinstance(current, dict) or part not in current:
                have = ", ".join(sorted(fields)) or "no fields"
                raise _missing(name, f"it has {have}")
            current = cast("dict[str, Any]", current)[part]
        return current


def parse_template(text: str, place: str = "prompt") -> Template:
    """Return the template written in *text*.

    Raises:
        InvalidConfig: A brace stands alone, or a placeholder is no field name; *place* says where.
    """
    pieces: list[tuple[str, str]] = []
    literal, at = "", 0
    for match in _PIECE.finditer(text):
        literal += text[at : match.start()]
        at = match.end()
        if match[0] in {"{{", "}}"}:
            literal += match[0][0]
            continue
        pieces.append((literal, _field(match, place)))
        literal = ""
    return Template(text, (*pieces, (literal + text[at:], "")))


def _field(match: re.Match[str], place: str) -> str:
    name = match[1]
    if name is None:
        detail = (
            f"a lone {match[0]!r} at character {match.start()}: write it twice for a literal brace"
        )
        raise InvalidConfig(place=place, detail=detail)
    if _FIELD.fullmatch(name) is None:
        detail = f"{{{name}}} is no field name: double the braces for literal ones"
        raise InvalidConfig(place=place, detail=detail)
    return name


def _show(value: Json) -> str:
    return value if isinstance(value, str) else write_json(value)


def _missing(name: str, have: str) -> CallFailed:
    return CallFailed(detail=f"the prompt needs {{{name}}} in its input; {have}", billed="no")
