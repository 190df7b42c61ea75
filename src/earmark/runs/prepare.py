"""From a composition and the stages at hand to a checked plan, before anything runs or costs."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from earmark.composition.ast import Composition
from earmark.composition.catalogue import Quote, Signature, price
from earmark.composition.effects import FALLIBLE, NETWORK, CostEffect, EffectSet
from earmark.composition.nodes import Pinning, RemoteStage, Stage
from earmark.composition.parse import parse_composition
from earmark.composition.plan import Plan, plan
from earmark.errors import CheckFailed
from earmark.runs.attempt import Leaf
from earmark.stages.kinds.kind import StageKind, Tools
from earmark.stages.library import Declared, StageLibrary
from earmark.stages.stage import StageSpec

#: A stage that can be run, or one that is only known: enough to plan with.
AnyStage = StageKind | Declared
Library = StageLibrary[AnyStage]
Reference = tuple[str, Pinning]


class Role(Struct, frozen=True, gc=False):
    """What a reference means, wherever in the graph it stands."""

    kind: StageKind
    name: str
    pure: bool
    free: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A composition whose every stage is known, priced and can be run."""

    plan: Plan
    roles: Mapping[Reference, Role]

    def leaf(self, node: Stage | RemoteStage, path: str) -> Leaf:
        """Return what *node*, which stands at *path*, runs."""
        if isinstance(node, Stage):
            role, config = self.roles[node.id, node.pinning], node.config
        else:
            kind = _remote(node)
            role, config = Role(kind, kind.spec.name, pure=False, free=kind.free), None
        spec = role.kind.spec
        return Leaf(
            path=path,
            kind=role.kind,
            name=role.name,
            stage_id=spec.stage_id,
            config=config,
            input_type=spec.input,
            output_type=spec.output,
            pure=role.pure,
            free=role.free,
        )


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


def prepare(composition: Composition, library: Library, *, allow: Collection[str] = ()) -> Prepared:
    """Return the plan of *composition* and what each of its references means.

    Raises:
        CheckFailed: Its stages, types, effects or prices are not in order, or a stage is only known
            and cannot be run here.
        InvalidConfig: A name in *allow* that is no effect.
    """
    catalogue = _Remembered(library)
    planned = plan(composition, catalogue, allow=allow)
    stages = {stage.spec.stage_id: stage for stage in library}
    roles: dict[Reference, Role] = {}
    problems: list[str] = []
    for reference, signature in catalogue.known.items():
        stage = stages[signature.id]
        if isinstance(stage, Declared):
            problems.append(f"stage '{signature.name}' is known, but nothing here can run it")
        else:
            roles[reference] = Role(stage, signature.name, stage.spec.effects.is_pure, stage.free)
    if problems:
        raise CheckFailed(problems=tuple(problems))
    return Prepared(plan=planned, roles=roles)


class _Remembered:
    """A library that looks every reference up once, however often a composition names it."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self.known: dict[Reference, Signature] = {}

    def get(
        self,
        stage_id: str,
        *,
        pinning: Pinning = "signature",
        config: Mapping[str, Any] | None = None,
    ) -> Signature:
        reference = (stage_id, pinning)
        known = self.known.get(reference)
        if known is None:
            known = self._library.get(stage_id, pinning=pinning, config=config)
            self.known[reference] = known
        return known


def _remote(node: RemoteStage) -> StageKind:
    # Loads an HTTP client, which a run without remote stages need not pay for.
    from earmark.stages.kinds.remote import RemoteKind, show_url  # noqa: PLC0415

    priced = () if node.cost is None else (CostEffect(node.cost),)
    spec = StageSpec(
        name=show_url(node.url),
        kind="remote",
        input=node.input,
        output=node.output,
        effects=EffectSet((FALLIBLE, NETWORK, *priced)),
        implementation_hash=node.url,
    )
    return RemoteKind(spec=spec, url=node.url)
