"""What a request to Anthropic's Messages API may hold, and how each part is bounded.

Source of every row: Claude API reference, "Create a message", "Beta headers", the guides of the
tools, and the types of the `anthropic` SDK 2.14, 2026-11. `max_tokens` includes thinking.
"""

from dataclasses import replace
from typing import Final

from earmark.apis.anthropic_messages_tools import CACHE, TOOLS
from earmark.apis.options import (
    INPUT,
    PROMPT,
    SCHEMA,
    TEXT,
    THINKING,
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
    texts,
    uncounted_input,
)

_CALLER: Final = fields("type", "tool_id")
_ANOTHER_PRICE: Final = refused("it changes who bills what, at a price no list has: leave it out")
_IMAGE: Final = uncounted_input("an image", requires="image", kept=True)
_CONTAINER: Final = uncounted_input("a container", kept=True)
_SKILLS: Final = refused("they run code, in rounds that nothing bounds: send their text")
_DOCUMENT: Final = uncounted_input("a document", may_be="text image", kept=True)


def _cached(*text_fields: str, **rows: Option) -> Option:
    """Return a block that may be cached; fields that are not listed need an explicit bound."""
    return block(*text_fields, others=INPUT, cache_control=CACHE, **rows)


_CITATIONS: Final = kinds(
    {
        "char_location": block(
            "cited_text", "document_index", "document_title", "start_char_index", "end_char_index"
        ),
        "page_location": block(
            "cited_text", "document_index", "document_title", "start_page_number", "end_page_number"
        ),
        "content_block_location": block(
            "cited_text", "document_index", "document_title", "start_block_index", "end_block_index"
        ),
        "web_search_result_location": block("cited_text", "encrypted_index", "title", "url"),
        "search_result_location": block(
            *("cited_text", "search_result_index", "source", "title"),
            *("start_block_index", "end_block_index"),
        ),
    },
    others=TEXT,
)
_TEXT_BLOCK: Final = _cached(text=PROMPT, citations=_CITATIONS)
_IMAGE_BLOCK: Final = _cached(source=_IMAGE, transformations=fields("oversized_image"))
_DOCUMENT_BLOCK: Final = _cached(
    "title",
    "context",
    citations=fields("enabled"),
    source=kinds(
        {
            "text": block("data", "media_type"),
            "content": block(content=content({"text": _TEXT_BLOCK, "image": _IMAGE_BLOCK})),
            "base64": _DOCUMENT,
            "url": _DOCUMENT,
            "file": _DOCUMENT,
        },
        others=_DOCUMENT,
    ),
)
_SEARCH_RESULT: Final = _cached(
    "source", "title", content=content({"text": _TEXT_BLOCK}), citations=fields("enabled")
)
_TOOL_REFERENCE: Final = _cached("tool_name")
_BROWSER_STATE: Final = _cached(
    tabs=fields("tab_id", "title", "url", "active"),
    state_changes=kinds(
        {
            "tab_opened": block("tab_id"),
            "download_started": block("download_id", "url"),
            "download_completed": block("download_id", "url", "path", "size_bytes"),
            "download_failed": block("download_id", "url", "error"),
        }
    ),
)
_ERROR: Final = block("error_code", "error_message")
_FILE_RESULT: Final = fields("file_id", "type")

_TOOL: Final = kinds(TOOLS)
_CHANGED_TOOL: Final = kinds(
    {
        "tool_reference": block("name"),
        "mcp_tool_reference": block("name", "server_name"),
        "mcp_toolset_reference": block("server_name"),
        "tool_definition": block(definition=_TOOL),
    }
)
_TOOL_CHANGES: Final = {
    "tool_addition": _cached(tool=_CHANGED_TOOL),
    "tool_removal": _cached(tool=_CHANGED_TOOL),
}

_SHELL_RESULT: Final = block(
    "stdout", "stderr", "return_code", "encrypted_stdout", content=_FILE_RESULT
)
_BLOCKS: Final[dict[str, Option]] = {
    "text": _TEXT_BLOCK,
    "image": _IMAGE_BLOCK,
    "document": _DOCUMENT_BLOCK,
    "search_result": _SEARCH_RESULT,
    "thinking": block("thinking", "signature", others=INPUT),
    "redacted_thinking": block("data", others=INPUT),
    "tool_use": _cached("id", "name", "input", "toolset_name", caller=_CALLER),
    "tool_result": _cached(
        *("tool_use_id", "is_error", "toolset_name"),
        content=content(
            {
                "text": _TEXT_BLOCK,
                "image": _IMAGE_BLOCK,
                "document": _DOCUMENT_BLOCK,
                "search_result": _SEARCH_RESULT,
                "tool_reference": _TOOL_REFERENCE,
                "browser_state": _BROWSER_STATE,
            },
            others=INPUT,
        ),
    ),
    "server_tool_use": _cached("id", "name", "input", caller=_CALLER),
    "web_search_tool_result": _cached(
        "tool_use_id",
        caller=_CALLER,
        content=kinds(
            {
                "web_search_result": block("encrypted_content", "title", "url", "page_age"),
                "web_search_tool_result_error": _ERROR,
            },
            others=INPUT,
        ),
    ),
    "web_fetch_tool_result": _cached(
        "tool_use_id",
        caller=_CALLER,
        content=kinds(
            {
                "web_fetch_result": block(
                    "url", "retrieved_at", content=kinds({"document": _DOCUMENT_BLOCK})
                ),
                "web_fetch_tool_result_error": _ERROR,
            },
            others=INPUT,
        ),
    ),
    "advisor_tool_result": _cached(
        "tool_use_id",
        content=kinds(
            {
                "advisor_result": block("text", "stop_reason"),
                "advisor_redacted_result": block("encrypted_content", "stop_reason"),
                "advisor_tool_result_error": _ERROR,
            },
            others=INPUT,
        ),
    ),
    "code_execution_tool_result": _cached(
        "tool_use_id",
        content=kinds(
            {
                "code_execution_result": _SHELL_RESULT,
                "encrypted_code_execution_result": _SHELL_RESULT,
                "code_execution_tool_result_error": _ERROR,
            },
            others=INPUT,
        ),
    ),
    "bash_code_execution_tool_result": _cached(
        "tool_use_id",
        content=kinds(
            {
                "bash_code_execution_result": _SHELL_RESULT,
                "bash_code_execution_tool_result_error": _ERROR,
            },
            others=INPUT,
        ),
    ),
    "text_editor_code_execution_tool_result": _cached(
        "tool_use_id",
        content=kinds(
            {
                "text_editor_code_execution_view_result": block(
                    "content", "file_type", "num_lines", "start_line", "total_lines"
                ),
                "text_editor_code_execution_create_result": block("is_file_update"),
                "text_editor_code_execution_str_replace_result": block(
                    "lines", "new_lines", "new_start", "old_lines", "old_start"
                ),
                "text_editor_code_execution_tool_result_error": _ERROR,
            },
            others=INPUT,
        ),
    ),
    "tool_search_tool_result": _cached(
        "tool_use_id",
        content=kinds(
            {
                "tool_search_tool_search_result": block(
                    tool_references=kinds({"tool_reference": _TOOL_REFERENCE})
                ),
                "tool_search_tool_result_error": _ERROR,
            },
            others=INPUT,
        ),
    ),
    "mcp_tool_use": _cached("id", "name", "input", "server_name"),
    "mcp_tool_result": _cached(
        "tool_use_id", "is_error", content=content({"text": _TEXT_BLOCK}, others=INPUT)
    ),
    "mcp_tool_listing": block(
        "mcp_server_name", tools=fields("name", "description", "input_schema")
    ),
    "container_upload": _cached(file_id=uncounted_input("a file", kept=True)),
    "compaction": _cached(
        "content", "encrypted_content", "signature", tool_changes=kinds(_TOOL_CHANGES)
    ),
    "fallback": block("trigger", **{"from": fields("model"), "to": fields("model")}),
    **_TOOL_CHANGES,
}
_EFFORT: Final = fields("effort")
_THOUGHTS: Final = fields("prefix_mismatch_behavior")
_COUNT: Final = block("value")

_OTHER_API: Final = refused("it belongs to another API than Messages: leave it out")
_BETAS: Final[dict[str, Option]] = {
    **texts(
        # What they add to a request stands in a row of its own above, or costs nothing.
        *("computer-use-2024-10-22", "computer-use-2025-01-24", "computer-use-2025-11-24"),
        *("output-128k-2025-02-19", "output-300k-2026-03-24", "context-1m-2025-08-07"),
        *("mcp-client-2025-04-04", "mcp-client-2025-11-20", "mcp-client-2026-09-15"),
        *("mcp-tunnels-2026-06-22", "dev-full-thinking-2025-05-14"),
        *("interleaved-thinking-2025-05-14", "code-execution-2025-05-22"),
        *("context-management-2025-06-27", "model-context-window-exceeded-2025-08-26"),
        *("fast-mode-2026-02-01", "user-profiles-2026-03-24", "user-profiles-2026-08-18"),
        *("user-profiles-2026-09-04", "advisor-tool-2026-03-01"),
        *("thinking-token-count-2026-05-13", "server-side-fallback-2026-06-01"),
        *("server-side-fallback-2026-07-01", "fallback-credit-2026-06-01"),
        *("fallback-credit-2026-07-01", "agent-memory-2026-07-22"),
        *("mid-conversation-tool-changes-2026-07-01", "compact-2026-01-12"),
        *("compact-2026-09-04", "structured-outputs-2025-11-13", "task-budgets-2026-03-13"),
        *("thinking-display-updates-2026-08-18", "mid-conversation-output-config-2026-07-01"),
        *("thinking-binding-controls-2026-08-01", "inline-tools-2026-09-15"),
        *("mid-conversation-system-clear-at-2026-08-21", "message-threads-2026-08-12"),
        *("prompt-caching-2024-07-31", "pdfs-2024-09-25", "token-counting-2024-11-01"),
        *("token-efficient-tools-2025-02-19", "files-api-2025-04-14"),
        *("extended-cache-ttl-2025-04-11", "skills-2025-10-02", "cache-diagnosis-2026-04-07"),
        # Sent by Claude Code 2.1.332 and earlier ones: they name the client, open the fields
        # `output_config`, `tools[].defer_loading` and `safeguards`, or alter how thinking is shown.
        *("claude-code-20250219", "oauth-2025-04-20", "effort-2025-11-24"),
        *("fine-grained-tool-streaming-2025-05-14", "advanced-tool-use-2025-11-20"),
        *("tool-search-tool-2025-10-19", "prompt-caching-scope-2026-01-05"),
        *("redact-thinking-2026-02-12", "per-turn-control-2026-07-01", "afk-mode-2026-01-31"),
        *("dangerous-tool-use-2026-09-03", "tool-examples-2025-10-29"),
        # Messages of the role `system` after the first turn: input as any other message is, "only
        # the new message is processed as fresh input". Source: platform.claude.com,
        # "Mid-conversation system messages", 2026-11. Claude Code sends it.
        "mid-conversation-system-2026-04-07",
    ),
    **dict.fromkeys(
        (
            *("managed-agents-2026-04-01", "dreaming-2026-04-21", "message-batches-2024-09-24"),
            *("ce-plugins-2026-09-01", "spend-limit-reads-2026-09-26", "webhooks-2026-10-07"),
            *("telemetry-destinations-2026-08-11", "admin-user-sign-out-2026-10-08"),
            *("analytics-usage-cost-2026-08-24", "experimental-claude-tag-2026-10-21"),
            *("ce-user-management-2026-07-13", "ce-claude-code-managed-settings-2026-10-06"),
            *("efs-2026-10-01", "google-managed-data-controls-2026-09-01"),
        ),
        _OTHER_API,
    ),
    "user-profiles-billing-2026-10-01": _ANOTHER_PRICE,
}

#: "Count tokens" is free; what is billed "might differ by a small amount" from its answer. It takes
#: no server tools, no MCP servers and no image or document by URL; a compaction is ignored,
#: and edits of the context are left out here, so that what they clear is counted. Source:
#: platform.claude.com, "Token counting", and `MessageCountTokensParams` of the SDK 2.14, 2026-11.
_COUNT_ENDPOINT: Final = CountEndpoint(
    ending="/count_tokens",
    options=frozenset(
        {"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config"}
    ),
)

REQUEST: Final = RequestTable(
    messages="messages",
    count=_COUNT_ENDPOINT,
    output_limits=("max_tokens",),
    # "Set to `0` to populate the prompt cache without generating a response."
    min_output=0,
    # "Must be ≥1024 and less than `max_tokens`" (`ThinkingConfigEnabledParam` of the SDK). With
    # interleaved thinking it may be more, and no source says that `max_tokens` then bounds it.
    thinking_budget="thinking.budget_tokens",
    tiers=("service_tier", "speed"),
    outputs=frozenset({"text"}),
    # Not set, it is `auto`, which may use a priority capacity the account has bought.
    hosts={"api.anthropic.com": Host(defaults={"service_tier": "standard_only"})},
    headers={"anthropic-beta": _BETAS},
    options={
        **texts(
            *("model", "stream", "max_tokens"),
            *("stop_sequences", "temperature", "top_k", "top_p", "user_profile_id"),
        ),
        "service_tier": TIER,
        "speed": TIER,
        "cache_control": CACHE,
        # Source: Claude API, "Data residency", 2026-11: the only ones there are.
        "inference_geo": allowed_values("us", "global"),
        "metadata": fields("user_id"),
        "system": content({"text": _TEXT_BLOCK}, others=INPUT),
        "messages": Option(
            fields={
                **texts("role", "id", "type", "clear_at"),
                "content": content(_BLOCKS, others=INPUT),
                "cache_control": CACHE,
                # The effort from there on: it is spent within `max_tokens`.
                "output_config": _EFFORT,
            },
            others=INPUT,
            holds=("role", "content"),
            is_list=True,
        ),
        "tools": kinds(TOOLS, is_list=True),
        "tool_choice": block("name", "disable_parallel_tool_use"),
        "thinking": block("display", block_binding=_THOUGHTS, budget_tokens=THINKING),
        "output_config": Option(
            effect="schema",
            fields={
                "effort": TEXT,
                "format": block("schema"),
                "task_budget": block("total", "remaining"),
            },
        ),
        "output_format": SCHEMA,
        "response_format": SCHEMA,
        # Edits that clear only shorten the input; a compaction is a sampling of its own.
        "context_management": fields(
            edits=kinds(
                {
                    "clear_tool_uses": block(
                        *("clear_tool_inputs", "exclude_tools"),
                        clear_at_least=_COUNT,
                        keep=_COUNT,
                        trigger=_COUNT,
                    ),
                    "clear_thinking": block(
                        keep=kinds({"thinking_turns": _COUNT, "all": _COUNT}, others=TEXT)
                    ),
                    "compact": Option(
                        effect="compaction",
                        fields={
                            **texts("type", "instructions", "pause_after_compaction"),
                            "trigger": _COUNT,
                        },
                    ),
                }
            )
        ),
        "compaction": Option(effect="compaction", fields=texts("type", "instructions")),
        # The server reviews tool calls as part of the request, without a charge. Source:
        # code.claude.com/docs, "Auto mode classifier request charges", 2026-10.
        "safeguards": kinds({"dangerous_tool_use": block("classifier_context")}, is_list=True),
        "container": kinds({"": fields(id=_CONTAINER, skills=_SKILLS)}, others=_CONTAINER),
        "thread": uncounted_input("a stored thread", kept=True),
        "mcp_servers": uncounted_input("MCP servers", loops=True),
        "file_ids": uncounted_input("files", kept=True),
        "skills": _SKILLS,
        "documents": uncounted_input("documents"),
        "fallbacks": refused("another model may answer, at another price: name one model"),
        "billing_policy": _ANOTHER_PRICE,
        "fallback_credit_token": _ANOTHER_PRICE,
        "workspace_id": _ANOTHER_PRICE,
        "diagnostics": UNPUBLISHED,
        "betas": refused("a beta is a header, anthropic-beta, not an option"),
    },
)

#: "Count tokens": free, and with no answer. Source: Claude API, "Token counting", 2026-11.
COUNT_TOKENS: Final = replace(REQUEST, output_limits=(), hosts={}, is_free=True, count=None)
