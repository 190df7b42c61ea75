"""The tools a request to Anthropic's Messages API may hold, and how each is bounded.

Source: Claude API, the guides of the tools, and the types of the `anthropic` SDK 2.14, 2026-11.
"""

from typing import Final

from earmark.apis.options import (
    TEXT,
    Option,
    allowed_values,
    block,
    fields,
    kinds,
    refused,
    server_tool,
    texts,
)

CACHE: Final = Option(effect="cache", fields={"type": TEXT, "ttl": allowed_values("5m", "1h")})

#: Tools the caller runs, whose definition the provider writes: it cannot be counted here.
_SWITCH: Final = fields("enabled", "defer_loading")
_ACTIONS: Final[dict[str, Option]] = dict.fromkeys(
    (
        *("close_tab", "cursor_position", "double_click", "file_upload", "find", "form_input"),
        *("get_page_text", "hold_key", "hover", "javascript_exec", "key", "left_click"),
        *("left_click_drag", "left_mouse_down", "left_mouse_up", "list_tabs", "middle_click"),
        *("mouse_move", "navigate", "new_tab", "read_console", "read_network", "read_page"),
        *("right_click", "screenshot", "scroll", "scroll_to", "switch_tab", "triple_click"),
        *("type", "wait", "zoom"),
    ),
    _SWITCH,
)


def _tool(*text_fields: str, **rows: Option) -> Option:
    common = texts("type", "name", "allowed_callers", "defer_loading", "strict", *text_fields)
    return Option(fields={**common, "cache_control": CACHE, **rows})


def _client_tool(*text_fields: str, **rows: Option) -> Option:
    row = _tool("input_examples", *text_fields, **rows)
    return Option(effect="input", fields=row.fields)


_FUNCTION: Final = Option(
    effect="schema",
    needs=("name", "function"),
    fields={
        **(_tool("description", "input_schema", "input_examples").fields or {}),
        **texts("eager_input_streaming", "function"),
    },
)
_LOCATION: Final = fields("type", "city", "country", "region", "timezone")
_URL_SOURCE: Final = kinds(
    {
        "all": block(),
        "none": block(),
        "only": block(tools=block("name")),
        "except": block(tools=block("name")),
    }
)
_CODE: Final = refused("its container is billed by the hour, which nothing bounds: leave it out")
TOOLS: Final[dict[str, Option]] = {
    "": _FUNCTION,
    "custom": _FUNCTION,
    "function": _FUNCTION,
    "bash": _client_tool(),
    "text_editor": _client_tool("max_characters"),
    "memory": _client_tool(),
    "computer": _client_tool(
        "display_height_px", "display_width_px", "display_number", "enable_zoom"
    ),
    "computer_toolset": _client_tool(configs=Option(fields=_ACTIONS)),
    "browser_toolset": _client_tool(configs=Option(fields=_ACTIONS)),
    # "Each web search counts as one use" (Web search tool).
    "web_search": server_tool(
        _tool(
            *("max_uses", "allowed_domains", "blocked_domains", "response_inclusion"),
            user_location=_LOCATION,
        ),
        unit="web_searches",
        maximum="max_uses",
    ),
    # "No additional charges" (Web fetch tool).
    "web_fetch": server_tool(
        _tool(
            *("max_uses", "allowed_domains", "blocked_domains", "response_inclusion", "use_cache"),
            "max_content_tokens",
            citations=fields("enabled"),
            url_sources=fields(
                client_tool_results=_URL_SOURCE,
                server_tool_results=_URL_SOURCE,
                user_input=_URL_SOURCE,
            ),
        ),
        maximum="max_uses",
    ),
    "tool_search_tool_bm25": server_tool(_tool()),
    "tool_search_tool_regex": server_tool(_tool()),
    "mcp_toolset": server_tool(
        _tool(
            "mcp_server_name",
            "configs",
            default_config=_SWITCH,
            tools=fields("name", "description", "input_schema"),
        )
    ),
    "code_execution": _CODE,
    "advisor": refused("another model answers at a price of its own: leave it out"),
}
