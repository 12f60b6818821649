"""The canonical request, answer and stream that every format reads and writes.

A client format reads its request into `Request` and writes `Answer` and stream `Event`s
in its own shape; a provider format does the opposite. So N client and M provider formats
cost N + M. A request whose client and provider share a format never comes here: its bytes
pass.

Nothing here is any vendor's own: a field exists if at least two of the formats that we
speak can say it, or if losing it would change the answer. What a client said and the
canonical form has no word for stays in `Request.extras`, by its own name, so that the
provider's format can refuse or report it.

JSON that only travels (schemas, metadata, tool arguments) is kept as text or
`msgspec.Raw`, never decoded and re-encoded.
"""

from __future__ import annotations

from extproc.canonical.answered import (
    Answer,
    AnswerPart,
    Choice,
    Finish,
    ListedModel,
)
from extproc.canonical.asked import (
    AnyTool,
    BuiltinTool,
    CustomTool,
    Location,
    OutputFormat,
    Request,
    Thinking,
    Tool,
    ToolChoice,
    WebFetch,
    WebSearch,
)
from extproc.canonical.content import (
    Audio,
    CacheControl,
    Caching,
    Citation,
    Document,
    FileReference,
    Found,
    Image,
    Inline,
    Message,
    Part,
    Reasoning,
    Refusal,
    Remote,
    Result,
    Role,
    Search,
    Source,
    Text,
    ToolCall,
    ToolResult,
    result_place,
)
from extproc.canonical.stream import (
    Cited,
    Delta,
    Ended,
    Event,
    Failed,
    Finished,
    KeepAlive,
    PartEnded,
    PartKind,
    PartStarted,
    Reported,
    Searched,
    SignatureDelta,
    Started,
    Unsaid,
)

__all__ = [
    "Answer",
    "AnswerPart",
    "AnyTool",
    "Audio",
    "BuiltinTool",
    "CacheControl",
    "Caching",
    "Choice",
    "Citation",
    "Cited",
    "CustomTool",
    "Delta",
    "Document",
    "Ended",
    "Event",
    "Failed",
    "FileReference",
    "Finish",
    "Finished",
    "Found",
    "Image",
    "Inline",
    "KeepAlive",
    "ListedModel",
    "Location",
    "Message",
    "OutputFormat",
    "Part",
    "PartEnded",
    "PartKind",
    "PartStarted",
    "Reasoning",
    "Refusal",
    "Remote",
    "Reported",
    "Request",
    "Result",
    "Role",
    "Search",
    "Searched",
    "SignatureDelta",
    "Source",
    "Started",
    "Text",
    "Thinking",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "ToolResult",
    "Unsaid",
    "WebFetch",
    "WebSearch",
    "result_place",
]
