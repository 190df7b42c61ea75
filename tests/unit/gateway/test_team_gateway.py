"""A team's gateway, as `earmark exec --gateway` asks it."""

import pytest

from earmark.errors import InvalidConfig
from earmark.gateway.team_gateway import TeamGateway
from support.upstream_stub import Answer, UpstreamStub


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"null", b'{"object": "earmark.statement"}', b"<html>"]
)
def test_what_answers_as_no_gateway_does_is_none(body: bytes) -> None:
    """Another server may answer any path with success."""
    with UpstreamStub() as stub:
        stub.answer(Answer(body=body))
        with pytest.raises(InvalidConfig, match=stub.url):
            TeamGateway(stub.url, "emk_nobodys")
