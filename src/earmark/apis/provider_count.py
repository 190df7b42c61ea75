"""What a provider's own count of a request bounds: the request for it, its answer, its margin.

A count is the provider's word, not a promise: what Anthropic bills "might differ by a small amount"
from it. So a margin is added, and the bound by bytes stays the most there can be. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from earmark.apis.api import request_table
from earmark.apis.content_reader import camel_case
from earmark.apis.count_margin import MILLION, parse_margin
from earmark.apis.dialects import DIALECTS
from earmark.apis.options import CountEndpoint, RequestTable
from earmark.apis.output_limit import check_whole_number
from earmark.apis.requests import copy_body, request_model
from earmark.errors import InvalidUsage
from earmark.errors.inputs import wrong_argument

#: The least that is added: what two messages' templates take. Of a short request they are more than
#: a share.
LEAST_MARGIN_TOKENS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class CountRequest:
    """What to send to have the input of a request counted: costs nothing, and answers a number."""

    path: str
    """What is added to a base URL: `/v1/messages/count_tokens`."""
    body: Mapping[str, Any] = field(repr=False)
    _answer: str = field(repr=False)

    def tokens(self, reply: Mapping[str, Any]) -> int:
        """Return the count that *reply*, the decoded answer, holds.

        Raises:
            InvalidUsage: It holds none; that of a prompt is 1 at least.
        """
        counted: object = reply.get(self._answer)
        return check_whole_number(self._answer, counted, minimum=1)


def count_request(body: Mapping[str, Any], *, api: str, model: str | None = None) -> CountRequest:
    """Return what to send to have *body* counted, for `bound(…, counted_input_tokens=…)`.

    It holds those options of *body* that the endpoint reads; what the others hold is bounded as it
    is without a count.

    Args:
        body: The decoded request.
        api: `anthropic`, `openai-responses` or `gemini`.
        model: The model, where the URL names it and not the body, as Gemini's does.

    Raises:
        InvalidUsage: It is no request, or no endpoint is known that counts those of *api*.
    """
    table = request_table(api)
    endpoint = count_endpoint(api)
    if not isinstance(body, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        raise wrong_argument("the request", body, "the decoded JSON object")
    named = request_model(body, model, provider="")
    if not named.isprintable():
        raise wrong_argument("the model", named, "its name, which is printable text")
    counted = {name: value for name, value in copy_body(body).items() if _is_counted(name, table)}
    if endpoint.wrapped_in:
        counted = {endpoint.wrapped_in: {**counted, "model": f"models/{named}"}}
    path = endpoint.path(DIALECTS[api].path).replace("{model}", quote(named, safe=""))
    return CountRequest(path=path, body=counted, _answer=endpoint.answer)


def count_endpoint(api: str) -> CountEndpoint:
    """Return where the requests of *api* are counted.

    Raises:
        InvalidUsage: No such endpoint is known; says what bounds them else.
    """
    endpoint = request_table(api).count
    if endpoint is None:
        raise InvalidUsage(
            detail=f"no endpoint is known that counts requests to API '{api}': they are bounded by"
            " their bytes, exactly counted here with earmark[tokenizers] where the model's"
            " tokenizer is known, and no longer than the context_window you give"
        )
    return endpoint


def without_counted(options: Mapping[str, Any], table: RequestTable) -> dict[str, Any]:
    """Return the options in *options* that a count of the request does not hold."""
    return {name: value for name, value in options.items() if not _is_counted(name, table)}


def add_margin(count: int, margin: int) -> int:
    """Return the most tokens that what was counted as *count* is billed as, rounded up.

    Args:
        count: As the provider counted it.
        margin: In parts per million; 0 takes the count for exact.

    Raises:
        InvalidUsage: The count is no whole number above 0.
    """
    check_whole_number("counted_input_tokens", count, minimum=1)
    if margin == 0:
        return count
    return count + max(-(-count * margin // MILLION), LEAST_MARGIN_TOKENS)


def max_counted_tokens(count: int | None, margin: str) -> int | None:
    """Return *count* with its *margin*, for `bound_request`; `None` for no count."""
    parts = parse_margin(margin)
    return None if count is None else add_margin(count, parts)


def _is_counted(name: str, table: RequestTable) -> bool:
    assert table.count is not None, "the table has an endpoint"
    return (camel_case(name) if table.camel_case else name) in table.count.options
