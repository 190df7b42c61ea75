"""OpenAI's Transcriptions API, for models that are billed by the seconds of sound they hear.

Its requests are forms. As a body, the file of one is a list of the seconds that it lasts at most,
`[{"seconds": 12}]`, and `[{}]` where that is not known.
"""

import struct
from collections.abc import Mapping
from typing import Any, Final

from earmark.apis.options import TEXT, RequestTable, allowed_values, block, kinds, refused, texts
from earmark.pricing.json_values import items, mapping
from earmark.pricing.rates import unpriced

#: WAV's formats that have as many bytes for each second: whole numbers, and floats.
_PCM: Final = frozenset({1, 3})
_BITS: Final = frozenset({8, 16, 24, 32, 64})
_FORMAT: Final = struct.Struct("<HHIIHH")
_CHUNK: Final = struct.Struct("<4sI")
#: The length of what was written as a stream: nobody knew it then.
_STREAMED: Final = frozenset({0, 0xFFFF_FFFF})


def wav_seconds(data: bytes) -> int | None:
    """Return the seconds that a WAV file of PCM lasts at most; `None` for any other file.

    All of its bytes count as sound, or the length that its header says, whichever is more, at the
    lower of the two rates that its header has for a second.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    at, slowest = 12, 0
    while at + _CHUNK.size <= len(data):
        name, size = _CHUNK.unpack_from(data, at)
        at += _CHUNK.size
        if name == b"fmt ":
            slowest = 0 if slowest else _bytes_a_second(data[at : at + size])
            if not slowest:
                return None
        if name == b"data":
            length = max(len(data), 0 if size in _STREAMED else size)
            return -(-length // slowest) if slowest else None
        at += size + size % 2
    return None


def _bytes_a_second(form: bytes) -> int:
    if len(form) < _FORMAT.size:
        return 0
    kind, channels, rate, stated, _, bits = _FORMAT.unpack_from(form)
    if kind not in _PCM or bits not in _BITS:
        return 0
    return min(stated, rate * channels * bits // 8)


def _seconds(body: Mapping[str, Any]) -> Mapping[str, int]:
    """Return the seconds of the file, which are seconds of input."""
    files = [mapping(each).get("seconds") for each in items(body["file"])]
    found = [each for each in files if isinstance(each, int) and each > 0]
    if not found or len(found) < len(files):
        raise unpriced(
            "file: how long it lasts is not known: send a WAV file of PCM by a name in .wav"
        )
    return dict.fromkeys(("audio_seconds", "input_audio_seconds"), sum(found))


#: Source: OpenAI API reference, "Create transcription", "Pricing" (`whisper-1`, `gpt-transcribe`:
#: by time) and the types of the `openai` SDK 3.57, 2026-11.
REQUEST: Final = RequestTable(
    messages="file",
    output_limits=(),
    billed_units=_seconds,
    options={
        **texts("model", "file", "language", "languages", "keywords", "prompt", "response_format"),
        **texts("temperature", "include", "timestamp_granularities", "known_speaker_names"),
        "chunking_strategy": kinds(
            {"server_vad": block("prefix_padding_ms", "silence_duration_ms", "threshold")},
            others=TEXT,
        ),
        "known_speaker_references": refused("it is sound that nothing measures: leave it out"),
        "stream": allowed_values("false"),
    },
)
