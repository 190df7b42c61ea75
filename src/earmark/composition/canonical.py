"""The canonical form of a composition, its JSON, and its identity.

The rules are those of the Noether composition format: nested sequences are one, a sequence of one
is that one, a retry of at most one attempt is its stage, retries nested with equal delays multiply,
a `Let` that binds nothing is its body. Two graphs with one canonical form have one identity.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, assert_never

import rfc8785

from earmark.composition.nodes import (
    Branch,
    Const,
    Fanout,
    Let,
    Merge,
    Node,
    Parallel,
    RemoteStage,
    Retry,
    Sequential,
    Stage,
    children,
    fold,
    with_children,
)
from earmark.composition.types import type_json
from earmark.money import NANOS_PER_USD, Money

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_FRACTION = re.compile(r"[0-9][.eE]|NaN|Infinity")
_MOST_ATTEMPTS = (1 << 32) - 1  # the format counts attempts in 32 bits and saturates
_NANOS_PER_CENT = NANOS_PER_USD // 100


def canonicalise(node: Node) -> Node:
    """Return the canonical form; doing it again changes nothing."""
    return fold(node, lambda item: (_kids(item), partial(_rewrite, item)))


def composition_id(root: Node) -> str:
    """Return the SHA-256, in hex, of the RFC 8785 form of the canonical root."""
    return hashlib.sha256(_canonical_text(node_json(canonicalise(root)))).hexdigest()


def node_json(node: Node) -> dict[str, Any]:
    """Return the node as the format writes it; fields that say nothing are left out."""
    return fold(node, _open_json)


def cost_json(cost: Money) -> dict[str, Any]:
    """Return an amount as `{"cents": 5}`, or as `{"usd": "0.0005"}` where it is no whole cent."""
    cents, rest = divmod(cost.in_nanos, _NANOS_PER_CENT)
    return {"usd": str(cost)} if rest else {"cents": cents}


def _canonical_text(form: dict[str, Any]) -> bytes:
    """Return the RFC 8785 form, by the standard library's C encoder where it writes the same.

    The two differ in numbers with a fraction or an exponent, and in the order of names with
    characters beyond the basic plane; there the slower one decides.
    """
    text = json.dumps(form, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    # Most graphs have nothing that looks like one, and the strings need not be taken out to see it.
    suspect = _FRACTION.search(text) and _FRACTION.search(_STRING.sub("", text))
    return rfc8785.dumps(form) if suspect or not text.isascii() else text.encode()


def _kids(node: Node) -> list[Node]:
    return [child for _, child in children(node)]


def _rewrite(node: Node, kids: Sequence[Node]) -> Node:
    match node:
        case Sequential():
            return _one_sequence(kids)
        case Retry():
            return _one_retry(node, kids[0])
        case Let(bindings) if not bindings:
            return kids[0]
        case _:
            return with_children(node, kids)


def _one_sequence(kids: Sequence[Node]) -> Node:
    flat: list[Node] = []
    for kid in kids:
        flat.extend(kid.stages if isinstance(kid, Sequential) else (kid,))
    return flat[0] if len(flat) == 1 else Sequential(tuple(flat))


def _one_retry(node: Retry, stage: Node) -> Node:
    if node.max_attempts <= 1:
        return stage
    if isinstance(stage, Retry) and stage.delay_ms == node.delay_ms:
        attempts = min(stage.max_attempts * node.max_attempts, _MOST_ATTEMPTS)
        return Retry(stage.stage, attempts, delay_ms=node.delay_ms)
    return Retry(stage, node.max_attempts, delay_ms=node.delay_ms)


def _open_json(
    node: Node,
) -> tuple[list[Node], Callable[[Sequence[dict[str, Any]]], dict[str, Any]]]:
    return _kids(node), partial(_close_json, node)


def _close_json(  # noqa: C901, PLR0912 - one case an operator
    node: Node, kids: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    form: dict[str, Any] = {"op": type(node).__name__}
    match node:
        case Stage():
            form["id"] = node.id
            if node.pinning != "signature":
                form["pinning"] = node.pinning
            if node.config is not None:
                form["config"] = dict(node.config)
        case RemoteStage():
            form |= {"url": node.url}
            form |= {"input": type_json(node.input), "output": type_json(node.output)}
            if node.cost is not None:
                form["cost"] = cost_json(node.cost)
        case Const(value):
            form["value"] = value
        case Sequential():
            form["stages"] = list(kids)
        case Parallel(branches):
            form["branches"] = dict(zip(branches, kids, strict=True))
        case Branch():
            form |= {"predicate": kids[0], "if_true": kids[1], "if_false": kids[2]}
        case Fanout():
            form |= {"source": kids[0], "targets": list(kids[1:])}
        case Merge():
            form |= {"sources": list(kids[:-1]), "target": kids[-1]}
        case Retry():
            form |= {"stage": kids[0], "max_attempts": node.max_attempts}
            form["delay_ms"] = node.delay_ms
        case Let(bindings):
            form |= {"bindings": dict(zip(bindings, kids[:-1], strict=True)), "body": kids[-1]}
        case _:
            assert_never(node)
    return form
