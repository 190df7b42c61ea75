"""Whether a composition fits together before anything of it runs: its stages, types and prices.

Every problem is found and told with its place; one refusal carries them all. Outputs are known from
the leaves up, inputs are then pushed from the root down the way the runner will pass them.
"""

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from earmark.composition.ast import Composition
from earmark.composition.catalogue import (
    UNPRICED,
    Catalogue,
    Quote,
    Signature,
    parse_allowed,
    price,
)
from earmark.composition.document import shown
from earmark.composition.effects import FALLIBLE, NETWORK, CostEffect, EffectName, EffectSet
from earmark.composition.flow import Shape, child_inputs, shape_of, stage_input
from earmark.composition.nodes import (
    Branch,
    Const,
    Fanout,
    Let,
    Merge,
    Node,
    RemoteStage,
    Sequential,
    Stage,
    children,
    fold,
)
from earmark.composition.subtype import fits_all, mismatch, validate
from earmark.composition.types import ANY, BOOL, NType
from earmark.composition.unify import Bindings, has_variables
from earmark.errors import CheckFailed, NotFound

#: How many problems of one composition are told.
MAX_PROBLEMS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """One place in a composition where a stage runs, with what it was resolved to."""

    signature: Signature
    quote: Quote | None
    """What one attempt costs; None where it has no price, which a check refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A composition that may run."""

    input: NType
    output: NType
    effects: tuple[EffectName, ...]
    """Every effect of its stages, sorted."""
    warnings: tuple[str, ...]
    occurrences: "dict[str, Occurrence]"
    """What each `Stage` and `RemoteStage` was resolved to, by its path."""


def check(
    composition: Composition, catalogue: Catalogue, *, allow: Collection[str] = ()
) -> Checked:
    """Return what the composition takes and gives, if its stages, types and prices are in order.

    Args:
        composition: What to check.
        catalogue: Where its stages are looked up.
        allow: Effects (`llm`, `network`, `unknown`) that may go without a price; none by default.

    Raises:
        CheckFailed: With every problem and its place, at most fifty.
        InvalidConfig: A name in *allow* that is no effect.
    """
    state = _CheckState(catalogue, parse_allowed(allow))
    shape = fold(("", composition.root), partial(_open, state))
    output = _push_inputs(state, composition.root)
    if state.problems:
        raise CheckFailed(problems=_problem_messages(state))
    # Looked up once for each set of effects, however often its stage occurs.
    sets = {id(o.signature.effects): o.signature.effects for o in state.occurrences.values()}
    every = (effects.names for effects in sets.values())
    return Checked(
        input=shape.input or ANY,
        output=output,
        effects=tuple(sorted(frozenset[EffectName]().union(*every))),
        warnings=tuple(dict.fromkeys(state.warnings)),
        occurrences=state.occurrences,
    )


def check_input(value: object, type_: NType) -> None:
    """Refuse a run's input that is not of the composition's type.

    Raises:
        CheckFailed: With each problem and its place in the input.
    """
    problems = validate(value, type_)
    if problems:
        raise CheckFailed(problems=tuple(f"input {problem}" for problem in problems))


@dataclass(slots=True)
class _CheckState:
    catalogue: Catalogue
    allow: frozenset[EffectName]
    problems: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    warnings: list[str] = field(default_factory=list[str])
    occurrences: dict[str, Occurrence] = field(default_factory=dict[str, Occurrence])
    shapes: dict[str, Shape] = field(default_factory=dict[str, Shape])
    """What each node takes and gives where nothing is known of its input."""
    unfit: set[str] = field(default_factory=set[str])
    """Nodes whose parts want inputs that no one value can be."""
    visit_order: dict[str, int] = field(default_factory=dict[str, int])

    def refuse(self, path: str, problem: str) -> None:
        self.problems.append((path, problem))


_PathNode = tuple[str, Node]


def _open(
    state: _CheckState, item: _PathNode
) -> tuple[list[_PathNode], Callable[[Sequence[Shape]], Shape]]:
    path, node = item
    state.visit_order[path] = len(state.visit_order)
    match node:
        case Stage():
            _resolve(state, path, node)
        case RemoteStage():
            _admit(state, path, _remote_signature(node))
        case _:
            pass
    kids = [(path + label, child) for label, child in children(node)]
    return kids, partial(_close, state, path, node)


def _close(state: _CheckState, path: str, node: Node, kids: Sequence[Shape]) -> Shape:
    occurrence = state.occurrences.get(path)
    shape = shape_of(node, occurrence.signature if occurrence else None, kids)
    if shape.input is None:
        state.unfit.add(path)
        shape = Shape(ANY, shape.output, shape.depth)
    state.shapes[path] = shape
    return shape


def _resolve(state: _CheckState, path: str, node: Stage) -> None:
    try:
        signature = state.catalogue.get(node.id, pinning=node.pinning, config=node.config)
    except NotFound as error:
        state.refuse(path, str(error))
        return
    if signature is None:
        state.refuse(path, f"no stage {shown(node.id)}")
        return
    state.warnings.extend(f"at {path or '/'}: {note}" for note in signature.notes)
    _admit(state, path, signature)
    for problem in stage_input(signature.input, node.config).problems:
        state.refuse(path, problem)


def _admit(state: _CheckState, path: str, signature: Signature) -> None:
    quote = price(signature.effects, signature.quote, state.allow)
    state.occurrences[path] = Occurrence(signature=signature, quote=quote)
    if quote is None:
        risky = sorted((signature.effects.names & UNPRICED) - state.allow)
        names = " and ".join(risky)
        state.refuse(
            path,
            f"stage {shown(signature.name)} has no price for its effect {names}:"
            " declare a Cost, or allow the effect by name",
        )


def _remote_signature(node: RemoteStage) -> Signature:
    cost = () if node.cost is None else (CostEffect(node.cost),)
    return Signature(
        id=node.url,
        name=_without_secrets(node.url),
        kind="remote",
        input=node.input,
        output=node.output,
        effects=EffectSet((FALLIBLE, NETWORK, *cost)),
    )


def _without_secrets(url: str) -> str:
    # user:password@ and a query may both hold a key.
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


_Visit = Generator[tuple[str, Node, NType], NType, NType]


def _push_inputs(state: _CheckState, root: Node) -> NType:
    """Hand each node what it will be given, from the root on; return what the root gives.

    What a stage with type variables gives depends on what it is given, so each part is visited
    after the parts its input comes from. The visits under way are a list, not a recursion.
    """
    visits, answer = [_visit(state, "", root, ANY)], None
    while True:
        try:
            part = next(visits[-1]) if answer is None else visits[-1].send(answer)
        except StopIteration as done:
            answer = done.value
            visits.pop()
            if not visits:
                return answer
        else:
            visits.append(_visit(state, *part))
            answer = None


def _visit(state: _CheckState, path: str, node: Node, input_type: NType) -> _Visit:
    # With a known input, the parts it does not fit say so themselves.
    if path in state.unfit and fits_all(input_type):
        state.refuse(path, "no input can fit all of its parts")
    kids = children(node)
    if not kids:
        return _leaf_output(state, path, node, input_type)
    shapes = [state.shapes[path + label] for label, _ in kids]
    outputs = [shape.output for shape in shapes]
    inputs = child_inputs(node, input_type, outputs)
    # Here begin the parts whose input is what others gave.
    fed = 1 if isinstance(node, Fanout) else len(kids) - 1
    for i, (label, child) in enumerate(kids):
        if isinstance(node, Sequential):
            inputs[i] = outputs[i - 1] if i else input_type
        elif i == fed and isinstance(node, Fanout | Merge | Let):
            inputs = child_inputs(node, input_type, outputs)
        if isinstance(child, Stage | RemoteStage):
            # No visit of its own: it has no parts.
            outputs[i] = _leaf_output(state, path + label, child, inputs[i])
        else:
            outputs[i] = yield path + label, child, inputs[i]
    if isinstance(node, Branch):
        _check_predicate(state, path, node, outputs[0])
    if all(output is shape.output for output, shape in zip(outputs, shapes, strict=True)):
        return state.shapes[path].output
    resolved = [
        replace(shape, output=output) for shape, output in zip(shapes, outputs, strict=True)
    ]
    return shape_of(node, None, resolved).output


def _leaf_output(state: _CheckState, path: str, node: Node, input_type: NType) -> NType:
    """Return what a stage or a constant gives; refuse what does not fit the stage."""
    output = state.shapes[path].output
    occurrence = state.occurrences.get(path)
    if occurrence is None:
        return output
    config = node.config if isinstance(node, Stage) else None
    declared = stage_input(occurrence.signature.input, config).type
    if reason := mismatch(input_type, declared):
        state.refuse(path, f"takes {declared}, but is given {input_type}: {reason}")
        return output
    if not has_variables(declared):
        return output
    bindings = Bindings()
    bindings.bind(declared, input_type)
    for problem in bindings.problems:
        state.refuse(path, f"takes {declared}, but is given {input_type}: {problem}")
    return bindings.apply(output) if has_variables(output) else output


def _check_predicate(state: _CheckState, path: str, node: Branch, output: NType) -> None:
    predicate = node.predicate
    if isinstance(predicate, Const) and not isinstance(predicate.value, bool):
        state.refuse(
            f"{path}/predicate", f"a predicate is true or false, not {shown(predicate.value)}"
        )
    elif reason := mismatch(output, BOOL):
        state.refuse(f"{path}/predicate", f"a predicate gives a Bool: {reason}")


def _problem_messages(state: _CheckState) -> tuple[str, ...]:
    ordered = sorted(state.problems, key=lambda problem: state.visit_order[problem[0]])
    resolved = [f"at {path or '/'}: {problem}" for path, problem in ordered[:MAX_PROBLEMS]]
    more = len(ordered) - MAX_PROBLEMS
    return (*resolved, f"and {more:,} more") if more > 0 else tuple(resolved)
