"""An API is known in every respect, or it is written here why not."""

import json
from typing import Final

import pytest

from earmark.apis.api import APIS
from earmark.apis.dialects import DIALECTS
from earmark.apis.refusals import refusal
from earmark.apis.streams import open_stream
from earmark.errors import BudgetExceeded, InvalidUsage, Reason
from support.split_replies import DIALECTS as SPLIT

#: What an API lacks on purpose.
LACKS: Final[dict[str, frozenset[str]]] = {
    # Its replies have no stream, and nobody is asked for them by a stage.
    "openai-embeddings": frozenset({"stream", "dialect", "split"}),
    "openai-images": frozenset({"stream", "dialect", "split"}),
    "openai-speech": frozenset({"stream", "dialect", "split"}),
    "openai-transcriptions": frozenset({"stream", "dialect", "split"}),
    "openai-moderations": frozenset({"stream", "dialect", "split"}),
    # It answers a number, and costs nothing.
    "anthropic-count-tokens": frozenset({"stream", "dialect", "split"}),
    # Its usage is read; requests are refused by name until they are bounded.
    "bedrock-converse": frozenset({"request", "stream", "dialect", "split"}),
}


def _streams(api: str) -> bool:
    try:
        open_stream(api)
    except InvalidUsage:
        return False
    return True


@pytest.mark.parametrize("api", APIS)
def test_an_api_is_complete_or_lacks_what_it_is_known_to_lack(api: str) -> None:
    """Request table, stream, dialect and the tests' split replies: each is there, or is listed."""
    has = {
        "request": APIS[api].request is not None,
        "stream": _streams(api),
        "dialect": api in DIALECTS,
        "split": api in SPLIT,
    }
    assert {what for what, there in has.items() if not there} == LACKS.get(api, frozenset())


@pytest.mark.parametrize("api", APIS)
def test_a_refusal_of_every_api_says_its_sentence(api: str) -> None:
    """In whatever shape: status 402, and the words of the error."""
    paused = BudgetExceeded(reason=Reason.PAUSED, budget="acme")
    answer = refusal(api, paused)
    assert answer.status == 402
    assert json.dumps(str(paused))[1:-1] in json.dumps(answer.body)


def test_the_registries_know_the_same_names() -> None:
    """No dialect and no split reply is of an API that nobody registered."""
    assert DIALECTS.keys() | SPLIT.keys() <= APIS.keys()
