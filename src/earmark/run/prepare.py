"""From a composition and the stages at hand to a checked plan, before anything runs or costs."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from earmark.composition.ast import Composition
from earmark.composition.catalogue import Quote, Signature, price
from earmark.composition.effects import FALLIBLE, NETWORK, Cost, EffectSet
from earmark.composition.nodes import Node, Pinning, RemoteStage, Stage, children
from earmark.composition.parse import parse_composition
from earmark.composition.plan import Line, Plan, plan
from earmark.errors import CheckFailed
from earmark.run.attempt import Leaf
from earmark.stage.kinds.kind import StageKind, Tools
from earmark.stage.library import Declared, StageLibrary
from earmark.stage.stage import StageSpec

#: A stage that can be run, or one that is only known: enough to plan with.
AnyStage = StageKind | Declared
Library = StageLibrary[AnyStage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A composition whose every stage is known, priced and can be run."""

    plan: Plan
    leaves: Mapping[str, Leaf]
    """What each `Stage` and `RemoteStage` means, by its path."""


def read_graph(graph: Composition | str | bytes) -> Composition:
    """Return the composition itself, or the one that a text describes."""
    return graph if isinstance(graph, Composition) else parse_composition(graph)


def library_of(stages: Iterable[AnyStage], tools: Tools) -> Library:
    """Return the library of *stages*, which quotes model stages by the providers among *tools*."""

    def quote(stage: AnyStage, config: Mapping[str, Any] | None) -> Quote | None:
        del config  # lies over the input; what a stage asks for is its own
        own = None if isinstance(stage, Declared) else stage.quote(tools)
        return own or price(stage.spec.effects, None)

    return StageLibrary(stages, quoting=quote)


class _Remembered:
    """A library that looks every reference up once, however often a composition names it."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._known: dict[tuple[str, Pinning], Signature] = {}

    def get(
        self,
        stage_id: str,
        *,
        pinning: Pinning = "signature",
        config: Mapping[str, Any] | None = None,
    ) -> Signature:
        reference = (stage_id, pinning)
        known = self._known.get(reference)
        if known is None:
            known = self._library.get(stage_id, pinning=pinning, config=config)
            self._known[reference] = known
        return known


def prepare(composition: Composition, library: Library, *, allow: Collection[str] = ()) -> Prepared:
    """Return the plan of *composition* and what each of its places runs.

    Raises:
        CheckFailed: Its stages, types, effects or prices are not in order, or a stage is only known
            and cannot be run here.
        InvalidConfig: A name in *allow* that is no effect.
    """
    planned = plan(composition, _Remembered(library), allow=allow)
    lines = {line.path: line for line in planned.lines}
    return Prepared(plan=planned, leaves=_leaves(composition.root, lines, library))


class _Role(Struct, frozen=True):
    """What is the same wherever a stage stands; looked up once."""

    kind: StageKind
    pure: bool
    free: bool


def _leaves(root: Node, lines: Mapping[str, Line], library: Library) -> dict[str, Leaf]:
    roles = {stage.spec.stage_id: _role(stage) for stage in library}
    leaves: dict[str, Leaf] = {}
    waiting: list[tuple[str, Node]] = [("", root)]
    problems: list[str] = []
    while waiting:
        path, node = waiting.pop()
        match node:
            case Stage():
                line = lines[path]
                role = roles[line.stage_id]
                if role is None:
                    problems.append(f"at {path or '/'}: stage '{line.stage}' is not to be run here")
                else:
                    leaves[path] = _leaf(line, role, node.config)
            case RemoteStage():
                role = _role(_remote(node, lines[path].stage))
                assert role is not None
                leaves[path] = _leaf(lines[path], role, None)
            case _:
                waiting.extend((path + label, child) for label, child in children(node))
    if problems:
        raise CheckFailed(problems=tuple(problems))
    return leaves


def _role(stage: AnyStage) -> _Role | None:
    if isinstance(stage, Declared):
        return None
    return _Role(stage, stage.spec.effects.is_pure, stage.free)


def _leaf(line: Line, role: _Role, config: Mapping[str, Any] | None) -> Leaf:
    spec = role.kind.spec
    return Leaf(
        path=line.path,
        kind=role.kind,
        name=line.stage,
        stage_id=spec.stage_id,
        config=config,
        wanted=spec.input,
        pure=role.pure,
        free=role.free,
    )


def _remote(node: RemoteStage, name: str) -> StageKind:
    # Loads an HTTP client, which a run without remote stages need not pay for.
    from earmark.stage.kinds.remote import RemoteKind  # noqa: PLC0415

    priced = () if node.cost is None else (Cost(node.cost),)
    spec = StageSpec(
        name=name,
        kind="remote",
        input=node.input,
        output=node.output,
        effects=EffectSet((FALLIBLE, NETWORK, *priced)),
        implementation_hash=node.url,
    )
    return RemoteKind(spec=spec, url=node.url)
