r"""The mock providers: OpenAI, Anthropic, Gemini, Bedrock, as strict as the real ones.

They refuse what the real APIs refuse, with the real status and error body; they answer
deterministically, stream the real sequences of events, and misbehave on demand. Users
test their applications with them (`extproc run --mock`); our tests judge the gateway
with them, so nothing here may use the gateway's own formats.

Paths: `/v1/chat/completions`, `/v1/responses` (what was stored can be gone on from and
fetched; background, conversations and prompts are refused as `mock_unserved`),
`/v1/embeddings`, `/v1/responses/input_tokens`, `/v1/images/…`,
`/v1/audio/…`, `/v1/moderations`, `/v1/files`, `/v1/batches`, `/v1/uploads`,
`/v1/fine_tuning/jobs`, `/v1/vector_stores`, `/v1/conversations`, `/v1/containers`,
`/v1/skills`, `/v1/evals`, `/v1/models` (OpenAI);
`/v1/messages`, `/v1/messages/count_tokens` (Anthropic; its `/v1/models` is told by
`anthropic-version`);
`/v1beta/models/….:generateContent` and `:streamGenerateContent` (Gemini),
with `:batchEmbedContents`, `:embedContent` and `:countTokens`;
`/model/…/converse` and `/converse-stream` (Bedrock), `/invoke` of vectors and rankings,
`/count-tokens`, and `/invoke` and `/invoke-with-response-stream` of Claude; the same
under `/openai`, `/anthropic`, `/gemini` and `/bedrock`. `/azure/openai/deployments/…` and
`/azure/openai/v1/…` (Azure OpenAI); `/v1/projects/…` and `/v1/publishers/…`, Gemini and
Claude, also under `/vertex` (Vertex AI). `/entra/…` (Microsoft Entra ID), `/google/…` and
`/computeMetadata/…` (Google) give out the access tokens that the two take; a test tells the
public key of a service account by `PUT /_mock/service-accounts/ADDRESS`. A key that begins with `sk-mock` is accepted,
unless it names another provider (`sk-mock-openai…` at Anthropic). Bedrock's requests may
be signed instead (AWS signature version 4), by an account in `bedrock.signing`. Smaller
services are under their names (`/cohere/v2/rerank`); `services.py` lists them, and
`/cohere/v2/chat` and `/mistral/v1/chat/completions` are chats.

What the model says
    It repeats the last user text. Naming a tool in that text calls it (two names: two
    calls); `text before` puts words in front of the call, `refuse` makes it refuse, and
    `redacted` adds redacted thinking where it thinks. Schemas are filled in.

What the model does not say
    Headers that only a gateway writes (`x-envoy-*`, `x-gw-*`, `x-extproc-*`,
    `x-forwarded-*`) and another provider's credential are refused with a 400.

Directives
    `[[mock: …]]`, one directive in a bracket, in the last user text (or tool result), or
    at the end of the model's name, which reaches one target only:
    `gpt-4o[[mock: status=500]]`. Quotes hold spaces; `\n` and `\"` work in them. What is
    unknown is refused. *N* counts the events of a stream from its start.

    - `status=429 retry-after=2 message="…"`: the provider's error with this status
    - `context-length`: the provider's error for a prompt that is too long
    - `filtered`: the provider's error for a prompt that its filter refuses (OpenAI, Azure,
      Anthropic)
    - `fail-first n=2 key=abc status=500 retry-after=1`: the first *n* requests of a key
      fail, those after it do not
    - `error-mid-stream after=N type=…`: an error event, and the end
    - `reset`: TCP RST before any answer
    - `reset-mid-stream after=N`: TCP RST (half a body, where nothing is streamed)
    - `cut-mid-chunk after=N`: FIN inside a chunk (inside a body)
    - `silence seconds=S`: no answer; then FIN
    - `slow-first-token ms=N`: headers at once, the first event late
    - `stall-mid-stream after=N seconds=S`: a pause
    - `malformed-json`: half a JSON body; the third event broken
    - `not-json status=502`: an HTML page
    - `empty-body`: nothing after the headers
    - `truncate after=N`: a stream that ends in order, too early
    - `huge bytes=N`: an answer of so many characters
    - `no-usage`: no token counts
    - `mark=WORD`: what the exchange is called in the mock's books (`--books`)
    - `cached tokens=N`: so many prompt tokens came from a cache
    - `reasoning tokens=N`: so many output tokens were thoughts
    - `answer="…"`: say this
    - `preamble="…"`: say this before a tool call
    - `tool-args="…"`: these arguments, JSON or not
    - `finish=content_filter`, `stop_reason=pause_turn`: stop for this reason
    - `split=byte`, `split=N`: write a body in pieces of 1 or *N* bytes
    - `split=crlf`, `split=cr`: other line ends in the stream
    - `headers x-a=1 x-b="two words"`: more response headers

Recorded requests
    `GET /_mock/requests` (bodies in base64), `GET /_mock/requests/last`,
    `DELETE /_mock/requests`; in the same process, `server.requests`.
"""

from __future__ import annotations

from extproc.local.mock.server import MockServer, serve

__all__ = ["MockServer", "serve"]
