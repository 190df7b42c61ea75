"""Both providers against a real model on this machine: real tokens, exact money."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from earmark.admission.call import ModelRequest, Provider, Reply
from earmark.clock import SystemClock
from earmark.errors import CallFailed, InvalidConfig
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.provider import SpokenApi, open_provider
from earmark.provider.local import LocalModel, LocalSettings
from support.calls import ask, grant, send
from support.last_resort import LAST_RESORT_S

#: Prices in nano-dollars a token: 100 in, 10 cached, 400 out.
BOOK = PriceBook(
    {
        "local/smollm2-135m": {
            "input_mtok": "0.10",
            "output_mtok": "0.40",
            "cache_read_mtok": "0.01",
        }
    }
)
APIS: tuple[SpokenApi, ...] = ("openai", "openai-responses", "anthropic")
#: Makes the model write to its maximum, so that a test knows how much that is.
ON_AND_ON = {"ignore_eos": True, "temperature": 0, "seed": 1}


def opened(api: SpokenApi, model: LocalModel) -> Provider:
    """Open a provider on the local model."""
    url = model.anthropic_url if api == "anthropic" else model.openai_url
    return open_provider(
        "local",
        api=api,
        book=BOOK,
        clock=SystemClock(),
        base_url=url,
        # llama.cpp's own, on its Messages API too: what is sampled, bounded by `max_tokens`.
        allowed_options=frozenset(ON_AND_ON),
    )


def write(text: str, **more: object) -> ModelRequest:
    """Ask the local model to write on and on."""
    return ask("local/smollm2-135m", text, **{"options": ON_AND_ON, **more})


def exact_cost(reply: Reply) -> Money:
    """Price a reply by hand."""
    assert reply.usage is not None
    cached = reply.usage.get("cache_read_tokens")
    plain = reply.usage.get("input_tokens") - cached
    return Money.nanos(100 * plain + 10 * cached + 400 * reply.usage.get("output_tokens"))


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_real_reply_has_exactly_the_granted_tokens_and_an_exact_cost(
    local_model: LocalModel,
    api: SpokenApi,
    stream: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """The real server keeps to the granted maximum, and its usage is priced to the nano-dollar."""
    seen: list[int] = []

    async def produced(tokens: int) -> None:
        seen.append(tokens)

    request = write(f"Tell me about {api} {stream}.", max_tokens=500, stream=stream)
    provider = opened(api, local_model)
    call = provider.call(request)
    reply = send(provider, request, grant(12, produced=produced))
    assert reply.usage is not None
    assert reply.usage.get("output_tokens") == 12
    assert reply.finish in {"length", "max_tokens", "max_output_tokens", "completed"}
    assert reply.model == "smollm2-135m"
    assert reply.value
    assert reply.cost == exact_cost(reply)
    assert reply.cost is not None
    assert Money() < reply.cost <= call.bound.cost(12)
    if stream:
        assert seen == sorted(seen)
        assert seen[-1] == 12


@pytest.mark.parametrize("api", APIS)
def test_a_prompt_read_from_the_cache_costs_its_own_price(
    local_model: LocalModel, api: SpokenApi
) -> None:
    """Asked twice, the real server reads the prompt from its cache, and the bill shows it."""
    request = write(f"Say the same thing twice, {api}.", max_tokens=4)
    first = send(opened(api, local_model), request)
    again = send(opened(api, local_model), request)
    assert first.usage is not None
    assert again.usage is not None
    assert again.usage.get("cache_read_tokens") > first.usage.get("cache_read_tokens")
    assert again.usage.get("input_tokens") == first.usage.get("input_tokens")
    assert again.cost == exact_cost(again)


def test_the_input_bound_holds_for_real_tokens(local_model: LocalModel) -> None:
    """Whatever is sent, the real tokenizer and template make no more tokens than was bounded."""
    wide = "\N{FULLWIDTH LATIN SMALL LETTER F}\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}"
    texts = ["hi", "x" * 50, wide * 5, "🎉" * 10, '{"a": [1, 2, 3]}' * 3, "\n\t " * 10]
    for text in texts:
        provider = opened("openai", local_model)
        request = write(text, max_tokens=1)
        bound = provider.call(request).bound.tokens(1)
        reply = send(provider, request)
        assert reply.usage is not None
        assert bound is not None
        assert reply.usage.tokens <= bound, text


def test_concurrent_streams_are_each_counted_exactly(local_model: LocalModel) -> None:
    """Eight streams at once, each to its own maximum: eight exact bills."""

    async def all_at_once() -> list[Reply]:
        provider = opened("openai", local_model)
        calls = [
            provider.call(write(f"Count to {n}.", stream=True)).send(grant(n)) for n in range(3, 11)
        ]
        replies = await asyncio.gather(*calls)
        await provider.aclose()
        return replies

    replies = asyncio.run(all_at_once())
    assert [reply.usage and reply.usage.get("output_tokens") for reply in replies] == [
        *range(3, 11)
    ]
    assert [reply.cost for reply in replies] == [exact_cost(reply) for reply in replies]


def test_a_real_server_counts_one_choice_of_two(local_model: LocalModel) -> None:
    """llama.cpp reports the output of one choice only, so two choices have no known cost."""
    reply = send(opened("openai", local_model), write("Choose.", max_tokens=16, choices=2))
    assert len(reply.value) == 2
    assert reply.usage is not None
    assert reply.usage.get("output_tokens") == 16, "the fault is mended: believe this server"
    assert reply.cost is None


def test_an_input_longer_than_the_window_is_rejected_unbilled(local_model: LocalModel) -> None:
    """The real server rejects what it cannot read before any work."""
    for api in APIS:
        with pytest.raises(CallFailed) as raised:
            send(opened(api, local_model), write("word " * 9_000, max_tokens=1))
        assert raised.value.billed == "no"
        assert raised.value.status == 400


def test_stopping_a_stream_frees_the_model(local_model: LocalModel) -> None:
    """A refused stream is closed, and the model goes on with the next call."""

    class StopError(Exception):
        pass

    async def stop(tokens: int) -> None:
        if tokens >= 3:
            raise StopError

    with pytest.raises(StopError):
        send(
            opened("openai", local_model),
            write("Go on and on.", stream=True, max_tokens=1500),
            grant(1500, produced=stop),
        )
    assert send(opened("openai", local_model), write("Next.", max_tokens=2)).cost is not None


@pytest.fixture
def own_model() -> Iterator[LocalModel]:
    """A local model that a test may kill."""
    model = LocalModel(LocalSettings(n_parallel=1, n_ctx=1024))
    model.start()
    yield model
    model.stop()


def test_killing_the_server_in_the_middle_of_a_call_leaves_its_cost_unknown(
    own_model: LocalModel,
) -> None:
    """SIGKILL while the model writes: the call fails, and nobody knows what it cost."""
    pid = own_model.pid
    assert pid is not None

    async def kill(tokens: int) -> None:
        if tokens >= 30:
            os.kill(pid, signal.SIGKILL)

    request = write("Go on.", stream=True, max_tokens=900)
    with pytest.raises(CallFailed) as raised:
        send(opened("openai", own_model), request, grant(900, produced=kill))
    assert raised.value.billed == "unknown"
    # Its connections may close before it stops listening; this waits for its end.
    own_model.stop()
    with pytest.raises(CallFailed) as raised:
        send(opened("openai", own_model), request)
    assert raised.value.billed == "no", "now nobody is listening"


def test_the_server_ends_with_the_process_that_started_it() -> None:
    """However its owner dies, no model server is left behind."""
    script = (
        "import os, sys\n"
        "from earmark.provider.local import LocalModel\n"
        "model = LocalModel()\n"
        "model.start()\n"
        "print(model.openai_url, flush=True)\n"
        "sys.stdin.read()\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with owner:
        assert owner.stdout is not None
        host, port = owner.stdout.readline().decode().split("//")[1].split("/")[0].split(":")
        with socket.create_connection((host, int(port))) as watch:
            owner.kill()
            watch.settimeout(LAST_RESORT_S)
            assert watch.recv(1) == b"", "the server's end closes its connections"


def test_a_server_that_cannot_start_says_why(local_model: LocalModel) -> None:
    """A port that is taken is one clear failure, not a wait."""
    taken = int(local_model.anthropic_url.rpartition(":")[2])
    model = LocalModel(LocalSettings(port=taken))
    with pytest.raises(InvalidConfig, match="another program listens there"):
        model.start()
    assert model.pid is None


def test_a_missing_package_says_how_to_install_it() -> None:
    """Without the model's packages the error is the command that installs them."""
    # A Python in which the package cannot be found: None stands for "not there".
    program = (
        "import sys; sys.modules['xllamacpp'] = None\n"
        "from earmark.provider.local import check_installed\n"
        "check_installed()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)  # noqa: PLW1510
    assert done.returncode == 1
    assert "no package 'xllamacpp': pip install 'earmark[demo]'" in done.stderr
