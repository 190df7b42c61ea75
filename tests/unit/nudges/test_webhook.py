"""The webhook: a signed CloudEvent, posted to a real server."""

import asyncio
import base64
import logging
import threading
from datetime import timedelta
from email.utils import format_datetime

import pytest

from earmark.nudges.channels.channel import DeliveryFailed, carry
from earmark.nudges.channels.webhook import WebhookChannel, sign, webhook_id
from earmark.nudges.nudge import Nudge
from earmark.testing import ManualClock
from support.webhook_receiver import SECRET, Receiver


def send(channel: WebhookChannel, nudge: Nudge) -> None:
    """Send *nudge* within the channel's time limit."""
    asyncio.run(carry(channel, nudge))


def failure(channel: WebhookChannel, nudge: Nudge) -> DeliveryFailed:
    """Send *nudge* and return why it did not get through."""
    with pytest.raises(DeliveryFailed) as failed:
        send(channel, nudge)
    return failed.value


@pytest.fixture
def channel(receiver: Receiver, clock: ManualClock) -> WebhookChannel:
    """A channel to the receiver that shares its secret."""
    return WebhookChannel("hook", receiver.url, SECRET, clock=clock)


def test_an_event_is_a_cloudevent(
    channel: WebhookChannel, receiver: Receiver, nudge: Nudge
) -> None:
    """What is posted is one CloudEvents 1.0 event in JSON, with the nudge's id and data."""
    send(channel, nudge)
    (post,) = receiver.posts
    assert post.headers["content-type"] == "application/cloudevents+json"
    assert post.event == {
        "specversion": "1.0",
        "id": nudge.id,
        "source": "/earmark/nudges",
        "type": "earmark.nudge.threshold",
        "time": "2026-11-22T12:00:00Z",
        "subject": "acme.eu",
        "datacontenttype": "application/json",
        "data": {
            "id": nudge.id,
            "kind": "threshold",
            "budget": "acme.eu",
            "recipient": "AG Lu",
            "title": nudge.title,
            "created_at": "2026-11-22T12:00:00Z",
            **nudge.data,
        },
    }


def test_an_event_is_signed(
    channel: WebhookChannel, receiver: Receiver, nudge: Nudge, clock: ManualClock
) -> None:
    """The signature covers id, time and body; a repeat has the same id and body at a new time."""
    send(channel, nudge)
    clock.advance(timedelta(minutes=1))
    send(channel, nudge)
    first, second = receiver.posts
    assert first.signed
    assert second.signed
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert "." not in first.headers["webhook-id"]
    times = [int(post.headers["webhook-timestamp"]) for post in receiver.posts]
    assert times == [clock.instant() // 10**9 - 60, clock.instant() // 10**9]


def test_another_secret_is_another_signature(
    receiver: Receiver, nudge: Nudge, clock: ManualClock
) -> None:
    """Who has another secret, or none, cannot sign for this one."""
    send(WebhookChannel("hook", receiver.url, b"another secret", clock=clock), nudge)
    send(WebhookChannel("hook", receiver.url, None, clock=clock), nudge)
    assert [post.signed for post in receiver.posts] == [False, False]
    assert "webhook-signature" not in receiver.posts[1].headers


def test_the_signature_is_that_of_the_standard() -> None:
    """The published example of Standard Webhooks is signed as published."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    found = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_ids_in_headers_stay_apart() -> None:
    """An id in a header is ASCII without a full stop, and two ids never become one."""
    ids = ["a.b/1", "a%2Eb/1", "a b", "ü", "a\u2028b", "~_-:"]
    found = [webhook_id(each) for each in ids]
    assert len(set(found)) == len(ids)
    assert all(each.isascii() and each.isprintable() and "." not in each for each in found)
    assert webhook_id("c8/usd/day/17/800000") == "c8/usd/day/17/800000"


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_accepts(
    channel: WebhookChannel, receiver: Receiver, nudge: Nudge, status: int
) -> None:
    """Every answer from 200 to 299 is a delivery."""
    receiver.answers = [(status, {})]
    send(channel, nudge)
    assert len(receiver.posts) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(
    channel: WebhookChannel, receiver: Receiver, nudge: Nudge, status: int
) -> None:
    """An answer that points elsewhere is a failure: the event goes nowhere else."""
    receiver.answers = [(status, {"location": "/elsewhere"})]
    assert failure(channel, nudge).detail == f"HTTP {status}"
    assert [post.path for post in receiver.posts] == ["/hooks/T0KEN"]


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429, 500])
def test_only_gone_is_final(
    channel: WebhookChannel, receiver: Receiver, nudge: Nudge, status: int
) -> None:
    """410 asks for no more; every other refusal is tried again."""
    receiver.answers = [(status, {})]
    found = failure(channel, nudge)
    assert (found.detail, found.final) == (f"HTTP {status}", status == 410)


def test_retry_after_is_read_in_both_forms(
    channel: WebhookChannel, receiver: Receiver, nudge: Nudge, clock: ManualClock
) -> None:
    """Seconds and dates are understood; what is neither asks for nothing."""
    later = format_datetime(clock.now + timedelta(minutes=10), usegmt=True)
    earlier = format_datetime(clock.now - timedelta(minutes=10), usegmt=True)
    asked = ["120", later, earlier, "soon", "-5", "9" * 30]
    receiver.answers = [(503, {"retry-after": each}) for each in asked]
    found = [failure(channel, nudge).retry_after_s for _ in asked]
    assert found == [120.0, 600.0, 0.0, None, None, 999_999_999.0]


def test_nobody_there_is_a_failure(nudge: Nudge) -> None:
    """A refused connection says so, without the address."""
    with Receiver() as gone:
        channel = WebhookChannel("hook", gone.url)
    assert failure(channel, nudge).detail == "cannot connect"


def test_no_answer_in_time_is_a_failure(receiver: Receiver, nudge: Nudge) -> None:
    """A receiver that takes the event and says nothing is given its time, and no more."""
    receiver.holds = threading.Event()
    found = failure(WebhookChannel("hook", receiver.url, timeout_s=2), nudge)
    assert found.detail in {"no answer within 2 s", "no whole answer (ReadTimeout)"}
    assert len(receiver.posts) == 1


def test_an_address_is_in_no_log(
    channel: WebhookChannel, receiver: Receiver, nudge: Nudge, caplog: pytest.LogCaptureFixture
) -> None:
    """The address of a webhook may be a secret by itself: no log, error or repr has it."""
    caplog.set_level(logging.DEBUG)
    receiver.answers = [(500, {})]
    found = failure(channel, nudge)
    send(channel, nudge)
    assert "T0KEN" not in caplog.text + str(found) + repr(found) + repr(channel)
    assert SECRET.hex() not in repr(vars(found))
