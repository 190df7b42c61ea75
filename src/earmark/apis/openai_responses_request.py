"""What a request to OpenAI's Responses API may hold, and how each part is bounded.

Source of every row: OpenAI API reference, "Create a model response", "Pricing", built-in tools, the
types of the `openai` SDK 3.57, and what Codex 0.171 sends, 2026-11. `max_output_tokens` includes
reasoning; `max_tool_calls` "applies across all built-in tool calls", further ones are ignored.
"""

from dataclasses import replace
from typing import Final

from earmark.apis.openai_chat_request import (
    CACHE_BREAKPOINT,
    CACHE_OPTIONS,
    STORED_PROMPT,
)
from earmark.apis.options import (
    INPUT,
    KEPT,
    PROMPT,
    TEXT,
    TIER,
    UNPUBLISHED,
    CountEndpoint,
    Host,
    Option,
    RequestTable,
    allowed_values,
    block,
    content,
    fields,
    kinds,
    refused,
    server_tool,
    texts,
    uncounted_input,
)

_IMAGE: Final = uncounted_input("an image", requires="image")
_FILE: Final = uncounted_input("a file", may_be="text image")
_IMAGE_ID: Final = replace(_IMAGE, kept=True)
_FILE_ID: Final = replace(_FILE, kept=True)
_CALLER: Final = fields("type", "caller_id")
#: Codex's own note on where a part of its prompt is from.
_NOTE: Final = texts("internal_chat_message_metadata_passthrough")


def _part(*text_fields: str, **rows: Option) -> Option:
    return block(*text_fields, others=INPUT, prompt_cache_breakpoint=CACHE_BREAKPOINT, **rows)


def _item(*text_fields: str, **rows: Option) -> Option:
    """Return an item of the conversation; fields that are not listed need an explicit bound."""
    common = {**texts("id", "type", "status", *text_fields), **_NOTE, "caller": _CALLER}
    return Option(fields={**common, **rows}, others=INPUT)


def _sent(item: Option, *content: str) -> Option:
    """Return *item* as one that may be sent by its `id` alone, without its *content*."""
    return replace(item, holds=content)


_CITATION: Final = kinds(
    {
        "file_citation": block("file_id", "filename", "index"),
        "url_citation": block("title", "url", "start_index", "end_index"),
        "container_file_citation": block(
            "container_id", "file_id", "filename", "start_index", "end_index"
        ),
        "file_path": block("file_id", "index"),
    },
    others=TEXT,
)
_TOKEN: Final = texts("token", "bytes", "logprob")
_PARTS: Final[dict[str, Option]] = {
    "input_text": _part(text=PROMPT),
    "input_image": _part("detail", file_id=_IMAGE_ID, image_url=_IMAGE),
    "input_file": _part("detail", "filename", file_data=_FILE, file_id=_FILE_ID, file_url=_FILE),
    "input_audio": _part(input_audio=uncounted_input("audio", requires="audio")),
    "output_text": _part(
        text=PROMPT,
        annotations=_CITATION,
        logprobs=Option(fields={**_TOKEN, "top_logprobs": Option(fields=_TOKEN)}),
    ),
    "refusal": _part("refusal"),
    # Of a reply that is sent back.
    "reasoning_text": _part(text=PROMPT),
    "summary_text": _part(text=PROMPT),
}
_CONTENT: Final = content(_PARTS, others=INPUT)

_FUNCTION: Final = Option(
    effect="schema",
    fields=texts(
        *("type", "name", "description", "parameters", "output_schema", "strict", "async"),
        *("allowed_callers", "defer_loading"),
    ),
)
_CUSTOM: Final = Option(
    effect="schema",
    fields={
        **texts("type", "name", "description", "allowed_callers", "defer_loading", "async"),
        "format": kinds({"text": block(), "grammar": block("definition", "syntax")}),
    },
)
_LOCATION: Final = fields("type", "city", "country", "region", "timezone")
_CONDITION: Final = block("key", "value")
_RUN_BY_OPENAI: Final = refused("its container is billed by what nothing bounds: leave it out")
_SKILL: Final = fields("name", "description", "path")
_ANOTHER_MODEL: Final = refused("another model answers at a price of its own: leave it out")


def _client_tool(*text_fields: str, **rows: Option) -> Option:
    """Return a tool the caller runs, whose definition the provider writes."""
    fields_ = {**texts("type", "allowed_callers", *text_fields), **rows}
    return Option(effect="input", fields=fields_)


def _built_in(*text_fields: str, unit: str = "", **rows: Option) -> Option:
    row = Option(fields={**texts("type", "allowed_callers", *text_fields), **rows})
    return server_tool(row, unit=unit, maximum="max_tool_calls")


_SEARCH: Final = _built_in(
    *("external_web_access", "search_context_size", "search_content_types"),
    unit="web_searches",
    filters=fields("allowed_domains"),
    user_location=_LOCATION,
)
_TOOLS: Final[dict[str, Option]] = {
    "function": _FUNCTION,
    "custom": _CUSTOM,
    "namespace": block(
        "name", "description", tools=kinds({"function": _FUNCTION, "custom": _CUSTOM})
    ),
    "local_shell": _client_tool(),
    "apply_patch": _client_tool(),
    "computer": _client_tool(),
    "computer_use_preview": _client_tool("display_height", "display_width", "environment"),
    "shell": _client_tool(
        environment=kinds(
            {
                "local": block(skills=_SKILL),
                "container_auto": _RUN_BY_OPENAI,
                "container_reference": _RUN_BY_OPENAI,
            }
        )
    ),
    "web_search": _SEARCH,
    # 25 USD per 1,000 searches with models that do not reason; with the others 10, as `web_search`
    # and as the price list has it. Source: OpenAI, "Pricing", built-in tools, 2026-11.
    "web_search_preview": replace(
        refused("its searches cost more than the price list has: use web_search"),
        billed_unseen=True,
    ),
    "file_search": _built_in(
        "max_num_results",
        unit="storage_searches",
        vector_store_ids=KEPT,
        filters=kinds(
            {
                **dict.fromkeys(("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"), _CONDITION),
                **dict.fromkeys(
                    ("and", "or"), block(filters=Option(fields=texts("key", "type", "value")))
                ),
            }
        ),
        ranking_options=fields(
            *("ranker", "score_threshold"),
            hybrid_search=fields("embedding_weight", "text_weight"),
        ),
    ),
    "code_interpreter": _built_in(
        unit="code_executions",
        container=kinds(
            {
                "auto": block(
                    "memory_limit",
                    file_ids=KEPT,
                    network_policy=kinds(
                        {
                            "disabled": block(),
                            "allowlist": block(
                                "allowed_domains",
                                domain_secrets=fields("domain", "name", "value"),
                            ),
                        }
                    ),
                )
            },
            others=KEPT,
        ),
    ),
    "mcp": _built_in(
        *("server_label", "server_description", "server_url", "connector_id", "authorization"),
        *("headers", "defer_loading", "tunnel_id"),
        allowed_tools=kinds({"": fields("read_only", "tool_names")}, others=TEXT),
        require_approval=kinds(
            {
                "": fields(
                    always=fields("read_only", "tool_names"),
                    never=fields("read_only", "tool_names"),
                )
            },
            others=TEXT,
        ),
    ),
    "tool_search": _built_in("description", "execution", "parameters"),
    "programmatic_tool_calling": _built_in(),
    "image_generation": _ANOTHER_MODEL,
}
_TOOL: Final = kinds(_TOOLS)

_ACTION_FIELDS: Final = (
    *("button", "keys", "path", "scroll_x", "scroll_y", "text", "x", "y"),
    *("command", "commands", "env", "timeout_ms", "user", "working_directory"),
    *("max_output_length", "diff", "pattern", "queries", "query", "url"),
)
_POINT: Final = fields("x", "y")
_MOVE: Final = block(*(name for name in _ACTION_FIELDS if name != "path"), path=_POINT)
_MOVES: Final[dict[str, Option]] = dict.fromkeys(
    (
        *("click", "double_click", "drag", "keypress", "move", "screenshot", "scroll"),
        *("type", "wait"),
    ),
    _MOVE,
)
_CHECK: Final = fields("id", "code", "message")
# The type of a reference is optional (`ItemReferenceParam` of the SDK).
_MESSAGE: Final = _sent(_item("role", "phase", "name", content=_CONTENT), "role", "content")
_FORMAT: Final = kinds(
    {
        "text": block(),
        "json_object": block(),
        "json_schema": block("name", "description", "schema", "strict"),
    }
)
_OUTPUT: Final = _item("call_id", "name", "namespace", "max_output_length", output=_CONTENT)
_TOOL_LIST: Final = _item("role", "call_id", "execution", tools=_TOOL)
_ITEMS: Final[dict[str, Option]] = {
    "": _MESSAGE,
    "message": _MESSAGE,
    # Without its content, the stored one is read ("Item with id 'rs_…' not found. Items are not
    # persisted when `store` is set to false", an error of the API, 2026-07).
    "reasoning": _sent(
        _item("encrypted_content", summary=_CONTENT, content=_CONTENT), "encrypted_content"
    ),
    "function_call": _item("arguments", "call_id", "name", "namespace", "async"),
    "function_call_output": _OUTPUT,
    "custom_tool_call": _item("call_id", "input", "name", "namespace", "async"),
    "custom_tool_call_output": _OUTPUT,
    "additional_tools": _TOOL_LIST,
    "tool_search_call": _item("arguments", "call_id", "execution"),
    "tool_search_output": _TOOL_LIST,
    "configuration_update": _item(reasoning=fields("effort"), text=fields(format=_FORMAT)),
    "compaction": _item("encrypted_content"),
    "compaction_trigger": Option(effect="compaction", fields=texts("type", "id")),
    "item_reference": uncounted_input("an earlier item", kept=True),
    "file_search_call": _item(
        "queries", results=fields("attributes", "file_id", "filename", "score", "text")
    ),
    "web_search_call": _item(
        action=kinds(
            {
                "search": block("query", "queries", sources=block("url")),
                "open_page": block("url"),
                "find_in_page": block("url", "pattern"),
            },
            others=TEXT,
        )
    ),
    "computer_call": _item(
        "call_id",
        pending_safety_checks=_CHECK,
        action=kinds(_MOVES, others=TEXT),
        actions=kinds(_MOVES, others=TEXT),
    ),
    "computer_call_output": _item(
        "call_id",
        acknowledged_safety_checks=_CHECK,
        output=kinds(
            {"computer_screenshot": block(file_id=_IMAGE_ID, image_url=_IMAGE)}, others=INPUT
        ),
    ),
    "code_interpreter_call": _item(
        *("code", "container_id"),
        outputs=kinds({"logs": block("logs"), "image": block(url=_IMAGE)}, others=INPUT),
    ),
    "local_shell_call": _item("call_id", action=block(*_ACTION_FIELDS)),
    "local_shell_call_output": _item("output"),
    "shell_call": _item(
        "call_id",
        action=fields(*_ACTION_FIELDS),
        environment=kinds(
            {"local": block(skills=_SKILL), "container_reference": block("container_id")}
        ),
    ),
    "shell_call_output": _item(
        *("call_id", "max_output_length"),
        output=fields(
            *("stderr", "stdout"),
            outcome=kinds({"timeout": block(), "exit": block("exit_code")}),
        ),
    ),
    "apply_patch_call": _item(
        "call_id",
        operation=kinds(
            dict.fromkeys(("create_file", "delete_file", "update_file"), block("diff", "path"))
        ),
    ),
    "apply_patch_call_output": _item("call_id", "output"),
    "mcp_list_tools": _item(
        *("server_label", "error"),
        tools=fields("name", "description", "input_schema", "annotations"),
    ),
    "mcp_approval_request": _item("arguments", "name", "server_label"),
    "mcp_approval_response": _item("approval_request_id", "approve", "reason"),
    "mcp_call": _item(
        *("arguments", "name", "server_label", "approval_request_id", "output"),
        error=kinds(
            {
                "mcp_protocol_error": block("code", "message"),
                "mcp_tool_execution_error": block("content"),
                "http_error": block("code", "message"),
            },
            others=TEXT,
        ),
    ),
    "image_generation_call": uncounted_input("a generated image", may_be="text image"),
    "program": _item("call_id", "code", "fingerprint"),
    "program_output": _item("call_id", "result"),
}

#: "Returns the exact count the model will receive", also of images, files and tools. What is stored
#: is left out here: it needs a bound of its own, which does not depend on a count. Source:
#: developers.openai.com, "Counting tokens", and `InputTokenCountParams` of the SDK 3.57, 2026-11.
_COUNT_ENDPOINT: Final = CountEndpoint(
    ending="/input_tokens",
    options=frozenset(
        {
            *("model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls"),
            *("text", "reasoning"),
        }
    ),
)

REQUEST: Final = RequestTable(
    messages="input",
    count=_COUNT_ENDPOINT,
    output_limits=("max_output_tokens",),
    tiers=("service_tier",),
    # "If not set, the default behavior is 'auto'": what the project's settings say.
    unset_tiers={"openai": "auto"},
    tool_call_limit="max_tool_calls",
    # Not set, the tier is what the project's settings say.
    hosts={"api.openai.com": Host(defaults={"service_tier": "default"})},
    headers={"openai-beta": texts("responses=experimental")},
    options={
        **texts(
            *("model", "stream", "max_output_tokens", "max_tool_calls"),
            *("temperature", "top_p", "top_logprobs", "parallel_tool_calls", "include"),
            *("truncation", "store", "metadata", "prompt_cache_key", "prompt_cache_retention"),
            *("safety_identifier", "user", "client_metadata"),
        ),
        "service_tier": TIER,
        "instructions": PROMPT,
        "input": content(_ITEMS, others=INPUT),
        "tools": kinds(_TOOLS, is_list=True),
        "tool_choice": kinds(
            {
                "function": block("name"),
                "custom": block("name"),
                "mcp": block("name", "server_label"),
                "allowed_tools": block("mode", "tools"),
                **dict.fromkeys(
                    (
                        *("file_search", "web_search", "web_search_preview", "computer"),
                        *("computer_use_preview", "computer_use", "image_generation"),
                        *("code_interpreter", "programmatic_tool_calling", "apply_patch", "shell"),
                    ),
                    block(),
                ),
            },
            others=TEXT,
        ),
        "text": Option(effect="schema", fields={"verbosity": TEXT, "format": _FORMAT}),
        # `pro` samples more than once; its price is that of the tokens it reports.
        "reasoning": fields(
            *("effort", "summary", "generate_summary", "context"),
            mode=allowed_values("standard"),
        ),
        "stream_options": fields("include_obfuscation"),
        "prompt_cache_options": CACHE_OPTIONS,
        "access_programs": fields("cyber"),
        # How images of the input are packed: never into more than they are.
        "image": fields("context_compression"),
        "context_management": Option(
            effect="compaction",
            fields={"type": allowed_values("compaction"), "compact_threshold": TEXT},
        ),
        "previous_response_id": uncounted_input("an earlier response", kept=True),
        "conversation": uncounted_input("a stored conversation", kept=True),
        "prompt": STORED_PROMPT,
        "background": refused("its answer comes after the call, and is billed then: leave it out"),
        "background_options": refused("its answer comes after the call: leave it out"),
        "moderation": UNPUBLISHED,
    },
)
