"""The quilt's patches: list and look, write from the version that was read."""

import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Response

from earmark.service import models
from earmark.service.auth import ReadCaller, SpendCaller, allowed
from earmark.service.context import ServiceDep
from earmark.service.idempotency import IdempotentRoute
from earmark.service.paging import USUAL, Cursor, LimitParam, after_texts, page
from earmark.service.problems import ProblemError
from earmark.service.routes.params import NAME, NameParam, OptionalQuery
from earmark.workspace.jsonable import to_jsonable_utf8
from earmark.workspace.resource_json import patch_json

router = APIRouter(route_class=IdempotentRoute, tags=["patches"])

PatchTypeParam = Annotated[str, Path(pattern=NAME, max_length=100)]
Prefix = Annotated[str, Query(max_length=500, description="Only names that begin so.")]
IfMatch = Annotated[str | None, Header(description="The ETag of the version that has to stand.")]
IfNoneMatch = Annotated[str | None, Header(description="`*`: only where none stands.")]

#: What heartbeats obey, and restore a day's spend from. Under any other type the kill switch can
#: be thrown by whoever may spend; whoever threw it or an admin takes it back.
STEERING: Final = frozenset({"control", "budget"})

_TAG: Final = re.compile(r'"([0-9]{1,15})"')


@router.get("/patches", response_model=models.Page[models.Patch])
def list_patches(
    service: ServiceDep,
    _: ReadCaller,
    *,
    type: OptionalQuery = None,  # noqa: A002 - the patch's own word
    prefix: Prefix = "",
    limit: LimitParam = USUAL,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List patches by type and name."""
    after = after_texts(cursor, 2)
    found = service.workspace.quilt.find(type, _plain_text(prefix), (after[0], after[1]), limit + 1)
    return page(found, limit, patch_json, lambda each: [each.type, each.name])


@router.get("/patches/{type}/{name:path}", response_model=models.Patch)
def get_one(
    service: ServiceDep,
    _: ReadCaller,
    type: PatchTypeParam,  # noqa: A002 - the patch's own word
    name: NameParam,
    response: Response,
) -> dict[str, Any]:
    """Show a patch as it stands; its ETag is its version."""
    found = service.workspace.quilt.get(type, name)
    response.headers["ETag"] = f'"{found.version}"'
    return to_jsonable_utf8(patch_json(found))


@router.get("/patch-versions/{type}/{name:path}", response_model=models.Page[models.Patch])
def history(
    service: ServiceDep,
    _: ReadCaller,
    type: PatchTypeParam,  # noqa: A002 - the patch's own word
    name: NameParam,
    limit: LimitParam = USUAL,
) -> dict[str, Any]:
    """List the versions of a patch, the newest first."""
    found = service.workspace.quilt.history(type, name, limit)
    return {"items": to_jsonable_utf8([patch_json(each) for each in found]), "next": None}


@router.put("/patches/{type}/{name:path}", response_model=models.Patch)
def put(
    service: ServiceDep,
    caller: SpendCaller,
    type: PatchTypeParam,  # noqa: A002 - the patch's own word
    name: NameParam,
    body: models.PatchBody,
    response: Response,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> dict[str, Any]:
    """Write the next version of a patch; 409 where another stands than was expected.

    Patches of the types `control` and `budget` steer heartbeats: they take the scope `admin`.
    """
    if type in STEERING:
        allowed(caller, "admin")
    expected = _expected(body.expected, if_match, if_none_match)
    written = service.workspace.quilt.put(
        type, name, body.data, author=caller.name, expected=expected
    )
    response.headers["ETag"] = f'"{written.version}"'
    return to_jsonable_utf8(patch_json(written))


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
