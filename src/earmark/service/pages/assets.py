"""The pages' own files: a style sheet, a script and an icon, read once and named by content."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from earmark.errors import NotFound

FOLDER: Final = Path(__file__).parent
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
#: A file's address holds its digest, so that a browser may keep it for a year.
_FOR_EVER: Final = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is sent."""

    body: bytes
    media_type: str
    digest: str


@cache
def assets() -> dict[str, Asset]:
    """Return the files by name."""
    return {path.name: _asset(path) for path in sorted((FOLDER / "static").iterdir())}


def address(name: str) -> str:
    """Return where a page finds the file *name*."""
    return f"/static/{name}?v={assets()[name].digest}"


@router.get("/static/{name}")
def static(name: str, request: Request) -> Response:
    """Send a file; only those that stood there at the start exist."""
    found = assets().get(name)
    if found is None:
        raise NotFound(kind="file", name=name)
    named = request.query_params.get("v") == found.digest
    headers = {"cache-control": _FOR_EVER if named else "no-cache", "etag": f'"{found.digest}"'}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(found.body, media_type=found.media_type, headers=headers)


def _asset(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(body, _TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:12])
