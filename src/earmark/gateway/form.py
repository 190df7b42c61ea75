"""A request's body that is a form with one file, read to be bounded; it passes as it is. Pure.

Only what all servers read alike is taken: no text before or after the parts, no boundary but
theirs, no header of a part but two, no name twice.
"""

import re
from typing import Any, Final

from earmark.apis.openai_transcriptions import wav_seconds
from earmark.gateway.denied import Denied

_TYPE: Final = re.compile(
    r'multipart/form-data; ?boundary=("?)([0-9A-Za-z_.+-]{1,70})\1', re.IGNORECASE
)
_DISPOSITION: Final = re.compile(
    r'form-data; name="([A-Za-z0-9_]+)(\[\])?"(?:; filename="([^"\\]*)")?', re.IGNORECASE
)
_CONTENT_TYPE: Final = re.compile(r'[A-Za-z0-9/+._-]+(; ?charset="?utf-8"?)?', re.IGNORECASE)
_CRLF: Final = b"\r\n"
_FILE: Final = "file"
_WAV: Final = ".wav"


def form_body(content_type: str, data: bytes) -> dict[str, Any]:
    """Return the fields of a form: texts, lists of them where a name ends in `[]`, and its file.

    Raises:
        Denied: It is no form, or servers might read it in different ways.
    """
    found: dict[str, Any] = {}
    lists: dict[str, list[str]] = {}
    for part in _parts(content_type, data):
        head, end, value = part.partition(_CRLF + _CRLF)
        name, is_list, filename = _disposition(head if end else b"")
        if (filename is not None) != (name == _FILE):
            raise _refusal("its one file is named 'file'")
        if is_list:
            lists.setdefault(name, []).append(_text(value))
        elif name in found:
            raise _refusal(f"it names '{name}' twice")
        else:
            found[name] = _text(value) if filename is None else _lasting(filename, value)
    if found.keys() & lists.keys():
        raise _refusal("it names a field and a list of it")
    if _FILE not in found:
        raise _refusal("it has no file")
    return {**found, **lists}


def _parts(content_type: str, data: bytes) -> list[bytes]:
    """Return each part, its head included."""
    boundary = _TYPE.fullmatch(content_type.strip())
    if boundary is None:
        raise _refusal("its content-type is no 'multipart/form-data; boundary=…'")
    delimiter = b"--" + boundary[2].encode()
    before, *parts = (_CRLF + data).split(_CRLF + delimiter)
    last = parts.pop() if parts else b""
    is_clean = not before and last in {b"--", b"--" + _CRLF}
    if not is_clean or data.count(delimiter) != len(parts) + 1:
        raise _refusal("its boundary stands elsewhere than between its parts")
    if not all(part.startswith(_CRLF) for part in parts):
        raise _refusal("its boundary stands elsewhere than between its parts")
    return [part.removeprefix(_CRLF) for part in parts]


def _disposition(head: bytes) -> tuple[str, bool, str | None]:
    """Return the name of a part, whether it is one of a list, and the name of its file."""
    headers: dict[str, str] = {}
    for line in _text(head).split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() in headers or "\n" in line or "\r" in line:
            raise _refusal("a part has a header twice, or a line that does not end")
        headers[name.lower()] = value.strip(" ")
    found = _DISPOSITION.fullmatch(headers.pop("content-disposition", ""))
    is_known = _CONTENT_TYPE.fullmatch(headers.pop("content-type", "text/plain")) is not None
    if found is None or headers or not is_known:
        raise _refusal("a part has a header that is not read here")
    return found[1], found[2] is not None, found[3]


def _lasting(filename: str, data: bytes) -> list[dict[str, int]]:
    """Return how long a file lasts, as its API's table reads it.

    By another name than a WAV file's, a server may read it as what that name says.
    """
    seconds = wav_seconds(data) if filename.lower().endswith(_WAV) else None
    return [{}] if seconds is None else [{"seconds": seconds}]


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _refusal("a field is no text in UTF-8") from None


def _refusal(why: str) -> Denied:
    return Denied(400, "invalid_form", f"the body is no form that can be read: {why}")
