"""The tools of a messages request: the caller's own, and those that Anthropic runs.

Reference: https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/overview
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.local.mock.rules import (
    Bool,
    FreeObj,
    Int,
    ListOf,
    Obj,
    Rule,
    Str,
    Tagged,
    enum,
    nullable,
)

CACHE_CONTROL: Final = nullable(
    Obj({"type!": enum("ephemeral"), "ttl": enum("5m", "1h")})
)
CITATIONS: Final = Obj({"enabled": Bool()})

COMMON: Final[Mapping[str, Rule]] = {
    "allowed_callers": ListOf(
        enum(
            "direct",
            "code_execution_20250825",
            "code_execution_20260120",
            "code_execution_20260521",
        )
    ),
    "cache_control": CACHE_CONTROL,
    "defer_loading": Bool(),
    "strict": Bool(),
}
EXAMPLES: Final[Mapping[str, Rule]] = {"input_examples": ListOf(FreeObj())}

DOMAINS: Final[Mapping[str, Rule]] = {
    "allowed_domains": nullable(ListOf(Str())),
    "blocked_domains": nullable(ListOf(Str())),
    "max_uses": nullable(Int(1)),
}
SEARCH: Final[Mapping[str, Rule]] = {
    **DOMAINS,
    "user_location": nullable(
        Obj(
            {
                "type!": enum("approximate"),
                "city": nullable(Str()),
                "country": nullable(Str()),
                "region": nullable(Str()),
                "timezone": nullable(Str()),
            }
        )
    ),
}


def _sources(*, selective: bool) -> Tagged:
    members: dict[str, Mapping[str, Rule]] = {"all": {}, "none": {}}
    if selective:
        named = ListOf(Obj({"type!": enum("tool_reference"), "name!": Str()}))
        members |= {"only": {"tools!": named}, "except": {"tools!": named}}
    return Tagged({tag: Obj({"type!": enum(tag), **m}) for tag, m in members.items()})


FETCH: Final[Mapping[str, Rule]] = {
    **DOMAINS,
    "citations": nullable(CITATIONS),
    "max_content_tokens": nullable(Int(1)),
    "url_sources": nullable(
        Obj(
            {
                "client_tool_results": _sources(selective=True),
                "server_tool_results": _sources(selective=True),
                "user_input": _sources(selective=False),
            }
        )
    ),
}
INCLUSION: Final[Mapping[str, Rule]] = {"response_inclusion": enum("full", "excluded")}
FROM_CACHE: Final[Mapping[str, Rule]] = {"use_cache": Bool()}

BROWSER_ACTIONS: Final = [
    "close_tab",
    "double_click",
    "file_upload",
    "find",
    "form_input",
    "get_page_text",
    "hold_key",
    "hover",
    "javascript_exec",
    "key",
    "left_click",
    "left_click_drag",
    "left_mouse_down",
    "left_mouse_up",
    "list_tabs",
    "middle_click",
    "mouse_move",
    "navigate",
    "new_tab",
    "read_console",
    "read_network",
    "read_page",
    "right_click",
    "screenshot",
    "scroll",
    "scroll_to",
    "switch_tab",
    "triple_click",
    "type",
    "wait",
    "zoom",
]
COMPUTER_ACTIONS: Final = [
    "cursor_position",
    "double_click",
    "hold_key",
    "key",
    "left_click",
    "left_click_drag",
    "left_mouse_down",
    "left_mouse_up",
    "middle_click",
    "mouse_move",
    "right_click",
    "screenshot",
    "scroll",
    "triple_click",
    "type",
    "wait",
    "zoom",
]


def _named(type_: str, name: str, *more: Mapping[str, Rule]) -> Obj:
    fields: dict[str, Rule] = {"type!": enum(type_), "name!": enum(name), **COMMON}
    for extra in more:
        fields |= extra
    return Obj(fields)


def _toolset(type_: str, actions: list[str]) -> Obj:
    config = Obj({"defer_loading": nullable(Bool()), "enabled": nullable(Bool())})
    return Obj(
        {
            "type!": enum(type_),
            "cache_control": CACHE_CONTROL,
            "configs": nullable(Obj({action: nullable(config) for action in actions})),
        }
    )


CUSTOM: Final = Obj(
    {
        "type": nullable(enum("custom")),
        "name!": Str(pattern=r"^[a-zA-Z0-9_-]{1,128}$"),
        "input_schema!": FreeObj(),
        "description": Str(),
        "eager_input_streaming": nullable(Bool()),
        **COMMON,
        **EXAMPLES,
    }
)

_SERVER_TOOLS: Final[tuple[tuple[str, str, tuple[Mapping[str, Rule], ...]], ...]] = (
    ("bash_20250124", "bash", (EXAMPLES,)),
    ("code_execution_20250522", "code_execution", ()),
    ("code_execution_20250825", "code_execution", ()),
    ("code_execution_20260120", "code_execution", ()),
    ("code_execution_20260521", "code_execution", ()),
    ("memory_20250818", "memory", (EXAMPLES,)),
    ("text_editor_20250124", "str_replace_editor", (EXAMPLES,)),
    ("text_editor_20250429", "str_replace_based_edit_tool", (EXAMPLES,)),
    (
        "text_editor_20250728",
        "str_replace_based_edit_tool",
        (EXAMPLES, {"max_characters": nullable(Int(1))}),
    ),
    ("web_search_20250305", "web_search", (SEARCH,)),
    ("web_search_20260209", "web_search", (SEARCH,)),
    ("web_search_20260318", "web_search", (SEARCH, INCLUSION)),
    ("web_fetch_20250910", "web_fetch", (FETCH,)),
    ("web_fetch_20260209", "web_fetch", (FETCH,)),
    ("web_fetch_20260309", "web_fetch", (FETCH, FROM_CACHE)),
    ("web_fetch_20260318", "web_fetch", (FETCH, FROM_CACHE, INCLUSION)),
    ("tool_search_tool_bm25_20251119", "tool_search_tool_bm25", ()),
    ("tool_search_tool_bm25", "tool_search_tool_bm25", ()),
    ("tool_search_tool_regex_20251119", "tool_search_tool_regex", ()),
    ("tool_search_tool_regex", "tool_search_tool_regex", ()),
)

TOOL: Final = Tagged(
    {
        "custom": CUSTOM,
        "browser_toolset_20260801": _toolset(
            "browser_toolset_20260801", BROWSER_ACTIONS
        ),
        "computer_toolset_20260801": _toolset(
            "computer_toolset_20260801", COMPUTER_ACTIONS
        ),
        **{type_: _named(type_, name, *more) for type_, name, more in _SERVER_TOOLS},
    },
    default="custom",
)
