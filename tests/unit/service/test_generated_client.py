"""A client that a generator makes of the OpenAPI document does the main job against a service."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from support.last_resort import LAST_RESORT_S
from support.served import Served

PACKAGE = "generated_earmark_client"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service in a process of its own."""
    folder = tmp_path_factory.mktemp("served")
    with Served(f"sqlite:///{folder}/books.db", folder) as running:
        yield running


@pytest.fixture(scope="module")
def generated(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The client's package, importable by this name."""
    folder = tmp_path_factory.mktemp("generated")
    document, config = folder / "openapi.json", folder / "config.json"
    document.write_bytes(served.ask("get", "/openapi.json").content)
    config.write_text('{"post_hooks": []}')
    made = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"),
            *("--path", str(document), "--config", str(config), "--fail-on-warning"),
            *("--output-path", str(folder / PACKAGE)),
        ],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=LAST_RESORT_S,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert "arning" not in made.stdout + made.stderr
    sys.path.insert(0, str(folder))
    yield PACKAGE
    sys.path.remove(str(folder))
    for name in [each for each in sys.modules if each.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def client(generated: str, served: Served) -> Iterator[Any]:
    """The generated client, with the token."""
    made = import_module(generated).AuthenticatedClient(base_url=served.url, token=served.token)
    with made as opened:
        yield opened


def operation(generated: str, name: str) -> Any:
    """Return the function of an operation, whatever its tag is."""
    (found,) = (Path(str(import_module(generated).__file__)).parent / "api").rglob(f"{name}.py")
    return import_module(f"{generated}.api.{found.parent.name}.{name}").sync


def test_it_adds_a_task_and_reads_it(generated: str, client: Any) -> None:
    """With its work told apart by its kind, and without."""
    models = import_module(f"{generated}.models")
    work = models.ModelWorkDraft(kind="model", prompt="Why?", max_tokens=100)
    draft = models.TaskDraft(title="[A-1] think", work=work, labels=["odd"])
    task = operation(generated, "add_task")(client=client, body=draft, idempotency_key="one")
    assert (task.status.value, task.priority.value, task.series) == ("pending", "P2", "A-1")
    assert (task.work.prompt, task.work.max_tokens, task.due_at) == ("Why?", 100, None)
    shown = operation(generated, "get_task")(client=client, task_id=task.id)
    assert (shown.id, shown.labels, shown.cost.settled) == (task.id, ["odd"], "0")
    assert [each.move for each in shown.history] == ["added"]
    assert shown.created_at.tzinfo is not None
    plain = operation(generated, "add_task")(client=client, body=models.TaskDraft(title="x"))
    given_up = operation(generated, "cancel_task")(
        client=client, task_id=plain.id, body=models.NoteBody(note="no")
    )
    assert given_up.status.value == "cancelled"


def test_it_reserves_settles_and_reads_the_books(generated: str, client: Any) -> None:
    """Exact amounts all the way; a refusal is a problem with its code."""
    models = import_module(f"{generated}.models")
    reserve, settle = operation(generated, "reserve"), operation(generated, "settle")
    body = models.ReserveBody(budget="acme", amount="1.5", key="call/1", deadline="10min")
    held = reserve(client=client, body=body)
    assert (held.state.value, held.amount, held.repeated) == ("open", "1.5", False)
    assert reserve(client=client, body=body).repeated is True
    settle(client=client, key=held.key, body=models.SettleBody(amount="0.045864"))
    read = operation(generated, "get_reservation")(client=client, key="call/1")
    assert (read.state.value, read.settled, read.overrun) == ("settled", "0.045864", "0")
    budget = operation(generated, "get_budget")(client=client, path="acme")
    assert [(each.limit, each.settled) for each in budget.balances] == [("1000", "0.045864")]
    assert (budget.paused, budget.below) == (None, [])
    too_much = models.ReserveBody(budget="acme", amount="1001")
    assert reserve(client=client, body=too_much).code == "budget_exceeded"
