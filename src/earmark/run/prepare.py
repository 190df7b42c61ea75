"""From a composition and the stages at hand to a checked plan, before anything runs or costs."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from earmark.composition.ast import Composition
from earmark.composition.catalogue import Quote
from earmark.composition.check import Checked, Occurrence, check
from earmark.composition.effects import FALLIBLE, NETWORK, Cost, EffectSet
from earmark.composition.nodes import Node, RemoteStage, Stage, children
from earmark.composition.parse import parse_composition
from earmark.composition.plan import Plan, plan
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
        return None if isinstance(stage, Declared) else stage.quote(tools)

    return StageLibrary(stages, quoting=quote)


def prepare(composition: Composition, library: Library, *, allow: Collection[str] = ()) -> Prepared:
    """Return the plan of *composition* and what each of its places runs.

    Raises:
        CheckFailed: Its stages, types, effects or prices are not in order, or a stage is only known
            and cannot be run here.
        InvalidConfig: A name in *allow* that is no effect.
    """
    checked = check(composition, library, allow=allow)
    leaves = _leaves(composition.root, checked, {stage.spec.stage_id: stage for stage in library})
    return Prepared(plan=plan(composition, library, allow=allow), leaves=leaves)


def _leaves(root: Node, checked: Checked, stages: Mapping[str, AnyStage]) -> dict[str, Leaf]:
    leaves: dict[str, Leaf] = {}
    problems: list[str] = []
    waiting: list[tuple[str, Node]] = [("", root)]
    while waiting:
        path, node = waiting.pop()
        match node:
            case Stage():
                occurrence = checked.occurrences[path]
                stage = stages[occurrence.signature.id]
                if isinstance(stage, Declared):
                    name = occurrence.signature.name
                    problems.append(f"at {path or '/'}: stage '{name}' is known, but cannot be run")
                else:
                    leaves[path] = _leaf(path, stage, occurrence, node.config)
            case RemoteStage():
                occurrence = checked.occurrences[path]
                leaves[path] = _leaf(path, _remote(node, occurrence), occurrence, None)
            case _:
                waiting.extend((path + label, child) for label, child in children(node))
    if problems:
        raise CheckFailed(problems=tuple(problems))
    return leaves


def _leaf(
    path: str, kind: StageKind, occurrence: Occurrence, config: Mapping[str, Any] | None
) -> Leaf:
    signature = occurrence.signature
    return Leaf(
        path=path,
        kind=kind,
        name=signature.name,
        stage_id=kind.spec.stage_id,
        config=config,
        wanted=signature.input,
        pure=signature.effects.is_pure,
        free=kind.free,
    )


def _remote(node: RemoteStage, occurrence: Occurrence) -> StageKind:
    # Loads an HTTP client, which a run without remote stages need not pay for.
    from earmark.stage.kinds.remote import RemoteKind  # noqa: PLC0415

    priced = () if node.cost is None else (Cost(node.cost),)
    spec = StageSpec(
        name=occurrence.signature.name,
        kind="remote",
        input=node.input,
        output=node.output,
        effects=EffectSet((FALLIBLE, NETWORK, *priced)),
        implementation_hash=node.url,
    )
    return RemoteKind(spec=spec, url=node.url)
