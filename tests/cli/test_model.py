"""`earmark model`: a real local model behind an address."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx2

from support.last_resort import LAST_RESORT_S


def test_the_local_model_answers_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """It says where it answers, answers there, and ends well when asked to."""
    program = [sys.executable, "-m", "earmark.cli.main", "model", "--port", "0", "--json"]
    with subprocess.Popen(
        program, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as served:
        assert served.stdout is not None
        said = b""
        while not said.endswith(b"}\n"):
            line = served.stdout.readline()
            assert line, said
            said += line
        where = json.loads(said)
        asked = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}
        answer = httpx2.post(
            f"{where['openai_url']}/chat/completions", json=asked, timeout=LAST_RESORT_S
        )
        served.send_signal(signal.SIGTERM)
        assert served.wait(LAST_RESORT_S) == 0
    assert answer.json()["usage"]["completion_tokens"] == 3
