"""Records the requests that real clients send, without any network but the machine's own.

    unshare -n sh -c 'ip link set lo up; exec env PYTHONPATH=tests \
        python tests/support/record_requests.py claude-code --programs FOLDER'

Each client is started in an empty environment with a home folder of its own, against a server that
answers every model API briefly; what it sends goes to `tests/fixtures/requests`, one file a
request. README there says how the clients are installed.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, cast

from support.api_replies import reply_to
from support.last_resort import LAST_RESORT_S, until
from support.recorded_clients import CLIENTS, Client

FIXTURES: Final = Path(__file__).parents[1] / "fixtures" / "requests"
#: Headers of the connection, not of the request.
_HOP_BY_HOP: Final = frozenset({"host", "content-length", "connection", "transfer-encoding"})
_SECRET_HEADERS: Final = frozenset(
    {"authorization", "x-api-key", "x-goog-api-key", "cookie", "sec-websocket-key"}
)
#: What tells one run, machine or account from another, and what stands in its place.
_IDENTIFIERS: Final = (
    (re.compile(r"(?<![0-9a-f])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-f])"),
     "00000000-0000-4000-8000-000000000000"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "0" * 64),
    (re.compile(r"\bsk-[\w-]+"), "redacted"),
)  # fmt: skip


#: Prose, as opposed to names, identifiers and what a price may depend on.
_PROSE: Final = re.compile(r"(?s)(?=.* ).{41,}")
#: Words of the length of their index, that stand in the place of the clients' own.
_WORDS: Final = (
    *("", "a", "of", "the", "text", "words", "letter", "meaning", "language", "paragraph"),
    *("expression", "composition", "conversation"),
)


@dataclass(slots=True)
class Recording:
    """What one client sent, in order."""

    client: Client
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    called: bool = False

    def models_asked(self) -> int:
        """Return how many requests asked a model."""
        return sum(request["method"] == "POST" for request in self.requests)


def main() -> None:
    """Record the clients that are named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clients", nargs="*", help=f"which: {', '.join(CLIENTS)} (default all)")
    parser.add_argument("--programs", type=Path, required=True, help="where they are installed")
    parser.add_argument("--out", type=Path, default=FIXTURES)
    args = parser.parse_args()
    for name in args.clients or CLIENTS:
        client = CLIENTS[name]
        with tempfile.TemporaryDirectory() as work:
            version, requests = record(client, args.programs.resolve(), Path(work))
        for old in args.out.glob(f"{name}-[0-9]*.json"):
            old.unlink()
        for number, request in enumerate(requests, 1):
            if client.kept and number not in client.kept:
                continue
            file = args.out / f"{name}-{version}-{number}.json"
            recorded = {"client": name, "version": version, **request}
            file.write_text(json.dumps(recorded, indent=1, ensure_ascii=False) + "\n", "utf-8")
            size = len(json.dumps(request["body"]))
            sys.stdout.write(f"{file.name}: {request['method']} {request['path']} {size}\n")


def record(client: Client, programs: Path, work: Path) -> tuple[str, list[dict[str, Any]]]:
    """Return the client's version and its requests, redacted; *work* is an empty folder."""
    home, project = work / "home", work / "project"
    for folder in (home, project):
        folder.mkdir()
    recording = Recording(client)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(recording))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"

    def filled(text: str) -> str:
        return text.replace("$URL", url).replace("$PROJECT", str(project))

    for name, text in client.files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(filled(text), encoding="utf-8")
    environment = {
        "HOME": str(home),
        "PATH": f"{programs / 'node/node_modules/.bin'}:/usr/bin:/bin",
        "LLM_USER_PATH": str(home / "llm"),
        "TERM": "xterm",
        "LANG": "C.UTF-8",
        "USER": "dev",
        **{name: filled(value) for name, value in client.environment.items()},
    }
    program = str(programs / client.program)
    version = subprocess.run(
        [program, *client.version], env=environment, capture_output=True, text=True, check=True
    )
    _run([program, *map(filled, client.arguments)], environment, project, recording)
    server.shutdown()
    places = {str(project): "/srv/project", str(home): "/srv/home", url: "http://localhost"}
    places |= {socket.gethostname(): "machine", os.uname().release: "6.1.0"}
    found = re.search(r"\d+(?:\.\d+)+", version.stdout)
    return found.group() if found else "0", [_redacted(each, places) for each in recording.requests]


def _run(
    command: list[str], environment: Mapping[str, str], project: Path, recording: Recording
) -> None:
    """Run a client to its end, or at a terminal until it has asked often enough."""
    ends_after = recording.client.ends_after
    terminal, inside = os.openpty() if ends_after else (-1, subprocess.DEVNULL)
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=project,
        stdin=inside,
        stdout=inside if ends_after else sys.stderr,
        stderr=inside if ends_after else sys.stderr,
        start_new_session=True,
    )
    if ends_after:
        threading.Thread(target=_drain, args=(terminal,), daemon=True).start()
        until(lambda: recording.models_asked() >= ends_after or process.poll() is not None)
        process.terminate()
    process.wait(LAST_RESORT_S)


def _drain(terminal: int) -> None:
    """Read what a client draws, so that it is never held up by a full terminal."""
    try:
        while os.read(terminal, 65_536):
            pass
    except OSError:
        return


def _redacted(request: dict[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
    """Return *request* without keys and without what tells machine, account or session."""
    text = json.dumps(request, ensure_ascii=False)
    for here, elsewhere in sorted(places.items(), key=lambda each: -len(each[0])):
        text = text.replace(here, elsewhere)
    for pattern, constant in _IDENTIFIERS:
        text = pattern.sub(constant, text)
    found: dict[str, Any] = json.loads(text)
    for name in found["headers"].keys() & _SECRET_HEADERS:
        found["headers"][name] = "redacted"
    return found | {"body": without_prose(found["body"])}


def without_prose(value: Any) -> Any:
    """Return *value* with each word of its longer texts replaced by another of the same length.

    A client's prompts are its maker's; what a bound depends on, their size in bytes, stays.
    """
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {name: without_prose(inner) for name, inner in fields.items()}
    if isinstance(value, list):
        return [without_prose(inner) for inner in cast("list[Any]", value)]
    if isinstance(value, str) and _PROSE.fullmatch(value):
        return re.sub(r"[A-Za-z]+", lambda word: _word_of(len(word.group())), value)
    return value


def _word_of(length: int) -> str:
    return _WORDS[length] if length < len(_WORDS) else "x" * length


def _handler(recording: Recording) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"recording": recording})


class _Handler(BaseHTTPRequestHandler):
    recording: Recording
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("content-length", "0")))
        body: dict[str, Any] = json.loads(sent) if sent else {}
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = {
            "recorded": datetime.now(UTC).date().isoformat(),
            "method": self.command,
            "path": self.path,
            "headers": {k: v for k, v in headers.items() if k not in _HOP_BY_HOP},
            "body": body,
        }
        self.recording.requests.append(request)
        call = self.recording.client.call
        if call is None or self.recording.called or call.name not in json.dumps(body):
            call = None
        self.recording.called = self.recording.called or call is not None
        reply = reply_to(self.command, self.path, body, call)
        self.send_response(reply.status)
        self.send_header("content-type", reply.content_type)
        self.send_header("content-length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_HEAD = do_POST  # noqa: N815 - the base's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass


if __name__ == "__main__":
    main()
