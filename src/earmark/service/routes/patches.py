"""The quilt's patches: list and look, write from the version that was read."""

import re
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Query, Response

from earmark.quilt.quilt import Patch
from earmark.service import bodies
from earmark.service.answers import answer, answers
from earmark.service.auth import ReadCaller, SpendCaller, allowed
from earmark.service.context import ServiceDep
from earmark.service.idempotency import IdempotentRoute
from earmark.service.paging import USUAL, Cursor, LimitParam, after_texts, page, page_of
from earmark.service.problems import ProblemError
from earmark.service.routes.params import NAME, NameParam, OptionalQuery
from earmark.workspace.resources.agents import PATCH

router = APIRouter(route_class=IdempotentRoute, tags=["patches"])

PatchTypeParam = Annotated[str, Path(pattern=NAME, max_length=100)]
Prefix = Annotated[str, Query(max_length=500, description="Only names that begin so.")]
IfMatch = Annotated[str | None, Header(description="The ETag of the version that has to stand.")]
IfNoneMatch = Annotated[str | None, Header(description="`*`: only where none stands.")]

#: What heartbeats obey, and restore a day's spend from. Under any other type the kill switch can
#: be thrown by whoever may spend; whoever threw it or an admin takes it back.
STEERING: Final = frozenset({"control", "budget"})

_TAG: Final = re.compile(r'"([0-9]{1,15})"')


@router.get("/patches", **answers(PATCH, page=True))
def list_patches(
    service: ServiceDep,
    _: ReadCaller,
    *,
    type: OptionalQuery = None,  # noqa: A002 - the patch's own word
    prefix: Prefix = "",
    limit: LimitParam = USUAL,
    cursor: Cursor = None,
) -> Response:
    """List patches by type and name."""
    after = after_texts(cursor, 2)
    found = service.workspace.quilt.find(type, _plain_text(prefix), (after[0], after[1]), limit + 1)
    return page(found, limit, PATCH.encode, lambda each: [each.type, each.name])


@router.get("/patches/{type}/{name:path}", **answers(PATCH))
def get_patch(
    service: ServiceDep,
    _: ReadCaller,
    type: PatchTypeParam,  # noqa: A002 - the patch's own word
    name: NameParam,
) -> Response:
    """Show a patch as it stands; its ETag is its version."""
    found = service.workspace.quilt.get(type, name)
    return _patch(found)


@router.get("/patch-versions/{type}/{name:path}", **answers(PATCH, page=True))
def list_patch_versions(
    service: ServiceDep,
    _: ReadCaller,
    type: PatchTypeParam,  # noqa: A002 - the patch's own word
    name: NameParam,
    limit: LimitParam = USUAL,
) -> Response:
    """List the versions of a patch, the newest first."""
    found = service.workspace.quilt.history(type, name, limit)
    return page_of([PATCH.encode(each) for each in found])


@router.put("/patches/{type}/{name:path}", **answers(PATCH))
def put_patch(
    service: ServiceDep,
    caller: SpendCaller,
    type: PatchTypeParam,  # noqa: A002 - the patch's own word
    name: NameParam,
    body: bodies.PatchBody,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Write the next version of a patch; 409 where another stands than was expected.

    Patches of the types `control` and `budget` steer heartbeats: they take the scope `admin`.
    """
    if type in STEERING:
        allowed(caller, "admin")
    expected = _expected(body.expected, if_match, if_none_match)
    written = service.workspace.quilt.put(
        type, name, body.data, author=caller.name, expected=expected
    )
    return _patch(written)


def _patch(patch: Patch) -> Response:
    return answer(PATCH, patch, headers={"ETag": f'"{patch.version}"'})


def _expected(stated: int | None, if_match: str | None, if_none_match: str | None) -> int | None:
    """Return the version that has to stand: from the body, or from the headers."""
    versions = [] if stated is None else [stated]
    if if_none_match is not None:
        if if_none_match != "*":
            raise ProblemError(400, "input_error", "If-None-Match is '*', or it is not there")
        versions.append(0)
    if if_match is not None:
        tag = _TAG.fullmatch(if_match)
        if tag is None:
            raise ProblemError(
                400, "input_error", 'If-Match is the ETag of one version, such as "3"'
            )
        versions.append(int(tag[1]))
    if len(set(versions)) > 1:
        raise ProblemError(400, "input_error", "the body and the headers expect different versions")
    return versions[0] if versions else None


def _plain_text(text: str) -> str:
    if not text.isprintable():
        raise ProblemError(400, "input_error", "a prefix has no control characters")
    return text
