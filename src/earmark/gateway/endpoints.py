"""Which requests the gateway takes, and where each goes at its provider. Pure.

What is not listed is refused with its path: nobody knows what it costs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote

from earmark.apis.openai_moderations import DEFAULT_MODEL
from earmark.gateway.denied import Denied
from earmark.gateway.headers import AT_MOST

#: `held`: a hold is opened for it; `unlisted`: nobody knows what it costs, and it says that itself;
#: `free`, `models`, `stored`: nothing is billed; the others are answered here.
EndpointKind = Literal[
    "held",
    "unlisted",
    "free",
    "models",
    "stored",
    "hello",
    "balance",
    "statement",
    "metrics",
]

#: Beside a service all paths that begin so are the gateway's, whether taken or refused.
_MOUNTED: Final = (
    *("/v1/chat", "/v1/messages", "/v1/responses", "/v1/embeddings", "/v1/moderations"),
    *("/v1/images", "/v1/audio", "/v1/models"),
    *("/v1/earmark", "/v1beta", "/api/hello"),
)
#: Of an unknown path, as a message shows it.
_SHOWN: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A request that is taken."""

    api: str
    """Whose form it has, its errors too: a name of `earmark.apis.api.APIS`."""
    kind: EndpointKind
    path: str = ""
    """Where it goes below a provider's address; `{model}` stands for the model."""
    model: str = ""
    """The model, where the URL names it."""
    default_model: str = ""
    """The model of a body that names none, at the API's maker; empty if it has to name one."""
    is_form: bool = False
    """Whether its body is a form."""
    stream: bool = False
    """Whether the URL asks for a stream."""
    is_array: bool = False
    """Whether that stream is one JSON array, as no events were asked for."""
    query: str = ""
    """What is passed on of the query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    endpoint: Endpoint
    queries: frozenset[str] | None = frozenset()
    """The names its query may have; `None` for any that is no credential."""


def _route(api: str, kind: EndpointKind, path: str = "", *queries: str) -> _Route:
    endpoint = Endpoint(api=api, kind=kind, path=path)
    return _Route(endpoint=endpoint, queries=frozenset(queries))


_MODERATIONS: Final = _Route(
    endpoint=Endpoint(
        api="openai-moderations", kind="held", path="/moderations", default_model=DEFAULT_MODEL
    )
)
_TRANSCRIPTIONS: Final = _Route(
    endpoint=Endpoint(
        api="openai-transcriptions", kind="held", path="/audio/transcriptions", is_form=True
    )
)
_POSTS: Final[Mapping[str, _Route]] = {
    "/v1/chat/completions": _route("openai", "held", "/chat/completions"),
    "/v1/embeddings": _route("openai-embeddings", "held", "/embeddings"),
    "/v1/moderations": _MODERATIONS,
    "/v1/images/generations": _route("openai-images", "held", "/images/generations"),
    "/v1/audio/speech": _route("openai-speech", "held", "/audio/speech"),
    "/v1/audio/transcriptions": _TRANSCRIPTIONS,
    "/v1/responses": _route("openai-responses", "held", "/responses"),
    "/v1/responses/input_tokens": _route("openai-responses", "free", "/responses/input_tokens"),
    "/v1/messages": _route("anthropic", "held", "/v1/messages", "beta"),
    "/v1/messages/count_tokens": _route("anthropic", "free", "/v1/messages/count_tokens", "beta"),
}
#: Why the gateway's bare address is not answered: no request of a model's was refused.
NO_PAGE: Final = "no_page"
_HELLO: Final = "/api/hello"
_ANSWERED_HERE: Final[Mapping[str, _Route]] = {
    _HELLO: _route("anthropic", "hello"),
    "/v1/earmark/balance": _route("openai", "balance"),
    "/v1/earmark/statement": _route("openai", "statement", "", "after"),
    # Where it is mounted in a service, that is at the service's own path.
    "/metrics": _route("openai", "metrics"),
}
#: What comes after `models/NAME:` at Google's API, whether it is free, and its query.
_GEMINI: Final[Mapping[str, tuple[EndpointKind, bool, frozenset[str]]]] = {
    "generateContent": ("held", False, frozenset()),
    "streamGenerateContent": ("held", True, frozenset({"alt"})),
    "countTokens": ("free", False, frozenset()),
}
#: What its streams are asked for as; a JSON array where nothing says so.
_FORMS: Final = frozenset({"sse", "json"})
_GEMINI_VERSIONS: Final = ("v1", "v1beta")
#: The list of models: the same path at three makers, told apart by the client's headers.
_MODELS: Final[Mapping[str, str]] = {
    "openai": "/models",
    "anthropic": "/v1/models",
    "gemini": "/v1beta/models",
}
_RESPONSE: Final = re.compile(r"/v1/responses/([^/]+)(/cancel)?")
_OF_RESPONSES: Final = frozenset({"include", "include[]"})
_READS_MODELS: Final = re.compile(r"/v1(?:beta)?/models(?:/(.+))?")
#: A path that may be passed on by its own bound: words alone, as ids have digits or capitals.
_WORDS: Final = re.compile(r"/v1(?:beta)?((?:/[a-z][a-z_-]*){1,3})")
#: By these words of a path, things are kept at the provider, which may be another token's, are done
#: later, or give access: each in singular, as a whole part of the path or one of its words.
_KEPT: Final = frozenset(
    {"agent", "assistant", "async", "batch", "cache", "chatkit", "collection", "container"}
    | {"conversation", "corpora", "corpus", "dataset", "deferred", "deployment", "document"}
    | {"earmark", "eval", "file", "finetune", "finetuning", "grader", "index", "indices"}
    | {"interaction", "job", "knowledge", "library", "memory", "model", "operation"}
    | {"organization", "prediction"}
    | {"project", "queue", "realtime", "response", "schedule", "session", "skill", "store", "task"}
    | {"thread", "tuning", "upload", "vectorstore", "video", "voice", "webhook", "workflow"}
    | {"account", "apikey", "auth", "authtoken", "certificate", "credential", "invite", "key"}
    | {"permission", "secret", "serviceaccount", "token", "user"}
)
_NO_NAME: Final = frozenset({"", ".", ".."})
#: Queries that carry a credential, at Google and elsewhere: logs and referrers show them.
_CREDENTIALS: Final = frozenset({"key", "api_key", "access_token", "token"})


def api_of_client(path: str, headers: Mapping[str, str]) -> str:
    """Return the API whose errors a client understands, by its path and its headers."""
    if path.startswith(("/v1/messages", "/api/")) or "anthropic-version" in headers:
        return "anthropic"
    is_gemini = path.startswith(("/v1beta/", "/v1/models/")) or "x-goog-api-key" in headers
    if path.startswith("/v1/responses"):
        return "openai-responses"
    return "gemini" if is_gemini else "openai"


def is_mounted_path(raw_path: str) -> bool:
    """Return whether a path, as it was sent, is the gateway's where it is mounted in a service."""
    return any(raw_path == each or raw_path.startswith(f"{each}/") for each in _MOUNTED)


def find_endpoint(method: str, raw_path: str, query: str, headers: Mapping[str, str]) -> Endpoint:
    """Return what a request asks for.

    Args:
        method: In capitals.
        raw_path: The path as it was sent, percent-encoded.
        query: What follows the question mark.
        headers: By their names in lower case.

    Raises:
        Denied: It is no request that is taken, or its query holds what may not be there.
    """
    names = {name.lower() for name, _ in parse_qsl(query, keep_blank_values=True)}
    if names & _CREDENTIALS:
        words = "a token in the URL is not taken, as logs would show it: send it in a header"
        raise Denied(400, "token_in_url", words)
    row = _find(method, raw_path, headers)
    if row.queries is not None and names - row.queries:
        unknown = min(names - row.queries)[:_SHOWN]
        raise Denied(
            400, "unpriced", f"the query '{unknown}' is not known at this path: leave it out"
        )
    forms = [value for name, value in parse_qsl(query, keep_blank_values=True) if name == "alt"]
    if row.endpoint.stream and not _FORMS.issuperset(forms):
        words = "a stream of this API is taken as events or as a JSON array: ?alt=sse or ?alt=json"
        raise Denied(400, "unpriced", words)
    if not query and not row.endpoint.stream:
        return row.endpoint
    is_array = row.endpoint.stream and "sse" not in forms
    return replace(row.endpoint, query=query, is_array=is_array)


def _find(method: str, raw_path: str, headers: Mapping[str, str]) -> _Route:
    if method == "POST":
        known = _POSTS.get(raw_path) or _gemini(raw_path) or _unlisted(raw_path, headers)
    elif method == "GET":
        known = _ANSWERED_HERE.get(raw_path) or _models(raw_path, headers)
    else:
        known = _ANSWERED_HERE.get(raw_path) if (method, raw_path) == ("HEAD", _HELLO) else None
    known = known or _stored_response(method, raw_path)
    if known is not None:
        return known
    if method == "GET" and raw_path == "/v1/responses":
        # The websocket that Codex tries first: at a 426 it goes on over HTTP at once.
        words = "no websockets here: post to this path"
        raise Denied(426, "no_websocket", words, headers={"upgrade": "HTTP/1.1"})
    if raw_path == "/" and method in {"GET", "HEAD"}:
        # As clients ask whether there is anybody: nothing was refused that they wanted to spend.
        raise Denied(404, NO_PAGE, f"there is no page here: a health check asks at {_HELLO}")
    raise Denied(
        404,
        "unpriced",
        f"{method[:_SHOWN]} {raw_path[:_SHOWN]} is not passed on: nobody knows what it costs",
    )


def _gemini(raw_path: str) -> _Route | None:
    version, _, rest = raw_path.removeprefix("/").partition("/models/")
    name, _, verb = rest.rpartition(":")
    known = _GEMINI.get(verb)
    if version not in _GEMINI_VERSIONS or known is None or not name:
        return None
    kind, stream, queries = known
    endpoint = Endpoint(
        api="gemini",
        kind=kind,
        path=f"/{version}/models/{{model}}:{verb}",
        model=unquote(name),
        stream=stream,
    )
    return _Route(endpoint=endpoint, queries=queries)


def _stored_response(method: str, raw_path: str) -> _Route | None:
    """Return what reads, removes or cancels a response that its provider keeps."""
    found = _RESPONSE.fullmatch(raw_path)
    if found is None or method not in ({"POST"} if found[2] else {"GET", "DELETE"}):
        return None
    path = f"/responses/{{model}}{found[2] or ''}"
    endpoint = Endpoint(api="openai-responses", kind="stored", path=path, model=unquote(found[1]))
    return _Route(endpoint=endpoint, queries=_OF_RESPONSES)


def _unlisted(raw_path: str, headers: Mapping[str, str]) -> _Route | None:
    """Return what is not listed and brings a bound of its own, which not every token may."""
    found = _WORDS.fullmatch(raw_path)
    if AT_MOST not in headers or found is None or any(map(_names_kept, found[1].split("/"))):
        return None
    api = api_of_client(raw_path, headers)
    return _route(api, "unlisted", found[1] if api.startswith("openai") else raw_path)


def _names_kept(part: str) -> bool:
    """Return whether a *part* of a path, or a word of it, in singular or plural, is a kept one."""
    words = part.replace("-", "_").split("_")
    return any(
        not _KEPT.isdisjoint({word, word.removesuffix("s"), word.removesuffix("es")})
        or f"{word.removesuffix('ies')}y" in _KEPT
        for word in (*words, "".join(words))
    )


def _models(raw_path: str, headers: Mapping[str, str]) -> _Route | None:
    """Return what reads the models of a maker, or one of them."""
    found = _READS_MODELS.fullmatch(raw_path)
    if found is None:
        return None
    api, model = _lists_models(raw_path, headers), unquote(found[1] or "")
    if found[1] is not None and not _NO_NAME.isdisjoint(model.split("/")):
        return None  # another path, once somebody resolves it
    path = _MODELS[api] + ("/{model}" if model else "")
    return _Route(endpoint=Endpoint(api=api, kind="models", path=path, model=model), queries=None)


def _lists_models(raw_path: str, headers: Mapping[str, str]) -> str:
    if raw_path.startswith("/v1beta") or "x-goog-api-key" in headers:
        return "gemini"
    return "anthropic" if "anthropic-version" in headers else "openai"
