"""What a task asks of a model, and what it says of the answer: pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from earmark.admission.call import ModelRequest, Reply
from earmark.admission.charge import Charge
from earmark.board.task import ModelWork, Task
from earmark.config.settings import ProviderSettings, Settings
from earmark.pricing.usage import Usage

#: As results name the way to a model.
Transport = Literal["anthropic_api", "openai_api", "openai_compatible", "gemini_api"]

_MILLISECOND: Final = 1_000_000
#: Why a reply ended, where it ended too soon.
_CUT_OFF: Final = frozenset({"length", "max_tokens", "max_output_tokens", "MAX_TOKENS"})


def request_of(task: Task, work: ModelWork, model: str, *, within_s: float = 0) -> ModelRequest:
    """Return what is asked of *model*: the prompt, or else the title and the description."""
    prompt = work.prompt or f"{task.title}\n\n{task.description}".strip()
    system = [{"role": "system", "content": work.system}] if work.system else []
    return ModelRequest(
        model=model,
        messages=[*system, {"role": "user", "content": prompt}],
        max_tokens=work.max_tokens,
        within_s=within_s,
    )


def transports_of(settings: Settings) -> Mapping[str, Transport]:
    """Return how each configured provider is reached, by its name; also the APIs' makers."""
    found: dict[str, Transport] = {
        "anthropic": "anthropic_api",
        "openai": "openai_api",
        "google": "gemini_api",
    }
    found.update((name, _transport(each)) for name, each in settings.providers.items())
    return found


def _transport(provider: ProviderSettings) -> Transport:
    if provider.api == "anthropic":
        return "anthropic_api"
    if provider.api == "gemini":
        return "gemini_api"
    return "openai_api" if provider.base_url is None else "openai_compatible"


def model_result(model: str, transport: str, reply: Reply, charge: Charge) -> dict[str, Any]:
    """Return the result of a model's answer, in the shape that siblings read."""
    usage = reply.usage or Usage()
    return {
        "cost": tokens_of([usage]),
        "model": reply.model or bare(model),
        "status": "success",
        "transport": transport,
        "latency_ms": charge.duration_ns // _MILLISECOND,
        "response_text": as_text(reply.value),
        **({"finish": reply.finish} if reply.finish in _CUT_OFF else {}),
        **({"note": charge.note} if charge.note else {}),
    }


def failed_result(model: str, transport: str, charge: Charge | None) -> dict[str, Any]:
    """Return the result of an attempt that came to nothing, with what it cost all the same."""
    usage = (charge.usage if charge else None) or Usage()
    return {
        "cost": tokens_of([usage]),
        "model": bare(model),
        "status": "error",
        "transport": transport,
        "latency_ms": charge.duration_ns // _MILLISECOND if charge else 0,
        "response_text": "",
    }


def tokens_of(usages: Sequence[Usage]) -> Mapping[str, int]:
    """Return the tokens of a result; what they cost is the ledger's to say, and may change."""
    return {
        kind: sum(each.get(kind) for each in usages) for kind in ("input_tokens", "output_tokens")
    }


def as_text(value: Any) -> str:  # noqa: ANN401 - text, or the provider's blocks
    """Return an answer as one text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def bare(model: str) -> str:
    """Return a model's name without its provider's."""
    return model.partition("/")[2] or model
