"""OpenAI's Moderations API, whose own models are free at OpenAI; any other one needs a price.

Its replies have no usage: a request with a price is booked at its hold.
"""

from typing import Final

from earmark.apis.options import (
    PROMPT,
    Host,
    RequestTable,
    block,
    content,
    texts,
    uncounted_input,
)

#: The model of a request that names none.
DEFAULT_MODEL: Final = "omni-moderation-latest"

#: Source: OpenAI, "Moderation" ("The moderations endpoint is free to use"), API reference, "Create
#: moderation", and the types of the `openai` SDK 3.57, 2026-11.
REQUEST: Final = RequestTable(
    messages="input",
    output_limits=(),
    has_template=False,
    hosts={"api.openai.com": Host(free_models=("omni-moderation-", "text-moderation-"))},
    options={
        **texts("model"),
        "input": content(
            {
                "text": block(text=PROMPT),
                "image_url": block(image_url=uncounted_input("an image", requires="image")),
            }
        ),
    },
)
