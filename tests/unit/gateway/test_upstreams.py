"""Where requests go, asked again and again: the place is kept, and the key is the one of now."""

from earmark.config.settings import Settings
from earmark.gateway.endpoints import find_endpoint
from earmark.gateway.upstreams import Upstreams


def test_a_key_that_changes_is_sent_with_the_next_request() -> None:
    """A place that was found before is not one with the key of before."""
    keys = ["sk-first"]
    upstreams = Upstreams(Settings(), lambda _, __: keys[-1])
    endpoint = find_endpoint("POST", "/v1/chat/completions", "", {})
    first = upstreams.find(endpoint, "gpt-4o")
    assert upstreams.find(endpoint, "gpt-4o") is first
    keys.append("sk-second")
    second = upstreams.find(endpoint, "gpt-4o")
    assert (first.headers["authorization"], second.headers["authorization"]) == (
        "Bearer sk-first",
        "Bearer sk-second",
    )


def test_each_model_path_and_query_has_a_place_of_its_own() -> None:
    """What was found for another request is not its answer; a name of any length has one."""
    upstreams = Upstreams(Settings(), lambda _, __: "sk")
    chat = find_endpoint("POST", "/v1/chat/completions", "", {})
    plain = find_endpoint("POST", "/v1/messages", "", {})
    beta = find_endpoint("POST", "/v1/messages", "beta=true", {})
    urls = [upstreams.find(each, "claude-x").url for each in (plain, beta)]
    assert urls[1] == f"{urls[0]}?beta=true"
    long = "m" * 100_000
    assert [upstreams.find(chat, name).model for name in ("a", "b", long, long)] == [
        "a", "b", long, long,
    ]  # fmt: skip
