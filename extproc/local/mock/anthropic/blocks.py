"""The content blocks of a message, field by field.

Reference: https://docs.anthropic.com/en/api/messages; proved against `anthropic.types`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.local.mock.anthropic.tools import CACHE_CONTROL, CITATIONS
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
    one_of,
)

ID: Final = r"^[a-zA-Z0-9_-]+$"
TOOL_NAME: Final = r"^[a-zA-Z0-9_-]{1,200}$"


def objects(**members: Mapping[str, Rule]) -> Tagged:
    """Return objects told apart by `type`, which each of them requires."""
    return Tagged(
        {tag: Obj({"type!": enum(tag), **fields}) for tag, fields in members.items()}
    )


CITATION: Final = objects(
    char_location={
        "cited_text!": Str(),
        "document_index!": Int(0),
        "document_title!": nullable(Str()),
        "start_char_index!": Int(0),
        "end_char_index!": Int(0),
    },
    page_location={
        "cited_text!": Str(),
        "document_index!": Int(0),
        "document_title!": nullable(Str()),
        "start_page_number!": Int(1),
        "end_page_number!": Int(1),
    },
    content_block_location={
        "cited_text!": Str(),
        "document_index!": Int(0),
        "document_title!": nullable(Str()),
        "start_block_index!": Int(0),
        "end_block_index!": Int(0),
    },
    web_search_result_location={
        "cited_text!": Str(),
        "encrypted_index!": Str(),
        "title!": nullable(Str()),
        "url!": Str(),
    },
    search_result_location={
        "cited_text!": Str(),
        "search_result_index!": Int(0),
        "source!": Str(),
        "title!": nullable(Str()),
        "start_block_index!": Int(0),
        "end_block_index!": Int(0),
    },
)

CALLER: Final = objects(
    direct={},
    code_execution_20250825={"tool_id!": Str()},
    code_execution_20260120={"tool_id!": Str()},
)

TEXT: Final[Mapping[str, Rule]] = {
    "text!": Str(),
    "cache_control": CACHE_CONTROL,
    "citations": nullable(ListOf(CITATION)),
}
IMAGE: Final[Mapping[str, Rule]] = {
    "source!": objects(
        base64={
            "data!": Str(min=1),
            "media_type!": enum("image/jpeg", "image/png", "image/gif", "image/webp"),
        },
        url={"url!": Str()},
        file={"file_id!": Str()},
    ),
    "cache_control": CACHE_CONTROL,
    "transformations": nullable(Obj({"oversized_image": enum("downsize", "error")})),
}
DOCUMENT: Final[Mapping[str, Rule]] = {
    "source!": objects(
        base64={"data!": Str(min=1), "media_type!": enum("application/pdf")},
        text={"data!": Str(), "media_type!": enum("text/plain")},
        content={"content!": one_of(Str(), ListOf(objects(text=TEXT, image=IMAGE)))},
        url={"url!": Str()},
        file={"file_id!": Str()},
    ),
    "cache_control": CACHE_CONTROL,
    "citations": nullable(CITATIONS),
    "context": nullable(Str()),
    "title": nullable(Str()),
}
SEARCH_RESULT: Final[Mapping[str, Rule]] = {
    "content!": ListOf(objects(text=TEXT)),
    "source!": Str(),
    "title!": Str(),
    "cache_control": CACHE_CONTROL,
    "citations": CITATIONS,
}
TOOL_REFERENCE: Final[Mapping[str, Rule]] = {
    "tool_name!": Str(),
    "cache_control": CACHE_CONTROL,
}
BROWSER_STATE: Final[Mapping[str, Rule]] = {
    "tabs!": ListOf(
        Obj({"tab_id!": Str(), "title!": Str(), "url!": Str(), "active": Bool()})
    ),
    "state_changes": nullable(
        ListOf(
            objects(
                tab_opened={"tab_id!": Str()},
                download_started={"download_id!": Str(), "url!": Str()},
                download_completed={
                    "download_id!": Str(),
                    "url!": Str(),
                    "path": nullable(Str()),
                    "size_bytes": nullable(Int(0)),
                },
                download_failed={
                    "download_id!": Str(),
                    "url!": Str(),
                    "error": nullable(Str()),
                },
            )
        )
    ),
    "cache_control": CACHE_CONTROL,
}
TOOL_RESULT: Final[Mapping[str, Rule]] = {
    "tool_use_id!": Str(pattern=ID),
    "cache_control": CACHE_CONTROL,
    "content": one_of(
        Str(),
        ListOf(
            objects(
                text=TEXT,
                image=IMAGE,
                search_result=SEARCH_RESULT,
                document=DOCUMENT,
                tool_reference=TOOL_REFERENCE,
                browser_state=BROWSER_STATE,
            )
        ),
    ),
    "is_error": Bool(),
    "toolset_name": nullable(Str()),
}

EXECUTION_ERRORS: Final = (
    "invalid_tool_input",
    "unavailable",
    "too_many_requests",
    "execution_time_exceeded",
)


def _outputs(kind: str) -> ListOf:
    return ListOf(Obj({"type!": enum(kind), "file_id!": Str()}))


def _result(content: Rule, **more: Rule) -> Mapping[str, Rule]:
    """Return a server tool's result block around its content."""
    return {
        "content!": content,
        "tool_use_id!": Str(pattern=ID),
        "cache_control": CACHE_CONTROL,
        **more,
    }


WEB_SEARCH_RESULT: Final = _result(
    one_of(
        ListOf(
            Obj(
                {
                    "type!": enum("web_search_result"),
                    "encrypted_content!": Str(),
                    "title!": Str(),
                    "url!": Str(),
                    "page_age": nullable(Str()),
                }
            )
        ),
        Obj(
            {
                "type!": enum("web_search_tool_result_error"),
                "error_code!": enum(
                    "invalid_tool_input",
                    "unavailable",
                    "max_uses_exceeded",
                    "too_many_requests",
                    "query_too_long",
                    "request_too_large",
                ),
            }
        ),
    ),
    caller=CALLER,
)
WEB_FETCH_RESULT: Final = _result(
    objects(
        web_fetch_tool_result_error={
            "error_code!": enum(
                "invalid_tool_input",
                "url_too_long",
                "url_not_allowed",
                "url_not_in_prior_context",
                "url_not_accessible",
                "unsupported_content_type",
                "too_many_requests",
                "max_uses_exceeded",
                "unavailable",
                "content_too_large",
            )
        },
        web_fetch_result={
            "content!": Obj({"type!": enum("document"), **DOCUMENT}),
            "url!": Str(),
            "retrieved_at": nullable(Str()),
        },
    ),
    caller=CALLER,
)
CODE_RESULT: Final = _result(
    objects(
        code_execution_tool_result_error={"error_code!": enum(*EXECUTION_ERRORS)},
        code_execution_result={
            "content!": _outputs("code_execution_output"),
            "return_code!": Int(),
            "stderr!": Str(),
            "stdout!": Str(),
        },
        encrypted_code_execution_result={
            "content!": _outputs("code_execution_output"),
            "encrypted_stdout!": Str(),
            "return_code!": Int(),
            "stderr!": Str(),
        },
    )
)
BASH_RESULT: Final = _result(
    objects(
        bash_code_execution_tool_result_error={
            "error_code!": enum(*EXECUTION_ERRORS, "output_file_too_large")
        },
        bash_code_execution_result={
            "content!": _outputs("bash_code_execution_output"),
            "return_code!": Int(),
            "stderr!": Str(),
            "stdout!": Str(),
        },
    )
)
EDITOR_RESULT: Final = _result(
    objects(
        text_editor_code_execution_tool_result_error={
            "error_code!": enum(*EXECUTION_ERRORS, "file_not_found"),
            "error_message": nullable(Str()),
        },
        text_editor_code_execution_view_result={
            "content!": Str(),
            "file_type!": enum("text", "image", "pdf"),
            "num_lines": nullable(Int()),
            "start_line": nullable(Int()),
            "total_lines": nullable(Int()),
        },
        text_editor_code_execution_create_result={"is_file_update!": Bool()},
        text_editor_code_execution_str_replace_result={
            "lines": nullable(ListOf(Str())),
            "new_lines": nullable(Int()),
            "new_start": nullable(Int()),
            "old_lines": nullable(Int()),
            "old_start": nullable(Int()),
        },
    )
)
TOOL_SEARCH_RESULT: Final = _result(
    objects(
        tool_search_tool_result_error={
            "error_code!": enum(*EXECUTION_ERRORS),
            "error_message": nullable(Str()),
        },
        tool_search_tool_search_result={
            "tool_references!": ListOf(
                Obj({"type!": enum("tool_reference"), **TOOL_REFERENCE})
            )
        },
    )
)

BLOCK: Final = objects(
    text=TEXT,
    image=IMAGE,
    document=DOCUMENT,
    search_result=SEARCH_RESULT,
    thinking={"signature!": Str(), "thinking!": Str()},
    redacted_thinking={"data!": Str()},
    tool_use={
        "id!": Str(pattern=ID),
        "input!": FreeObj(),
        "name!": Str(pattern=TOOL_NAME),
        "cache_control": CACHE_CONTROL,
        "caller": CALLER,
        "toolset_name": nullable(Str()),
    },
    tool_result=TOOL_RESULT,
    server_tool_use={
        "id!": Str(pattern=r"^srvtoolu_[a-zA-Z0-9_]+$"),
        "input!": FreeObj(),
        "name!": enum(
            "web_search",
            "web_fetch",
            "code_execution",
            "bash_code_execution",
            "text_editor_code_execution",
            "tool_search_tool_regex",
            "tool_search_tool_bm25",
        ),
        "cache_control": CACHE_CONTROL,
        "caller": CALLER,
    },
    web_search_tool_result=WEB_SEARCH_RESULT,
    web_fetch_tool_result=WEB_FETCH_RESULT,
    code_execution_tool_result=CODE_RESULT,
    bash_code_execution_tool_result=BASH_RESULT,
    text_editor_code_execution_tool_result=EDITOR_RESULT,
    tool_search_tool_result=TOOL_SEARCH_RESULT,
    container_upload={"file_id!": Str(), "cache_control": CACHE_CONTROL},
)
