"""The Embeddings API, of OpenAI and of servers compatible with it: input alone, no output tokens.

Its replies count in the words of Chat Completions.
"""

from typing import Final

from earmark.apis.options import TOKENS, RequestTable, refused, texts

#: Source: OpenAI API reference, "Create embeddings", and the types of the `openai` SDK 3.57; for
#: compatible servers the references of Mistral, Voyage and Jina, 2026-11.
REQUEST: Final = RequestTable(
    messages="input",
    output_limits=(),
    has_template=False,
    options={
        **texts("model", "dimensions", "encoding_format", "user", "metadata"),
        **texts("input_type", "truncation", "truncate", "task", "normalized", "embedding_type"),
        **texts("output_dimension", "output_dtype", "late_chunking"),
        # Tokens as numbers count exactly, texts by their bytes, anything else needs a bound.
        "input": TOKENS,
        "models": refused("another model may answer, at another price: name one model"),
        "provider": refused("it routes to a host with a price of its own: leave it out"),
    },
)
