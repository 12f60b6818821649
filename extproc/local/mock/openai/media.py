"""OpenAI's pictures, sound and moderation.

https://platform.openai.com/docs/api-reference/images, …/audio, …/moderations. Names are
proved against `openai.types`. A picture and a sound are a few bytes, made of the words.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from extproc.local.mock import gate, strictjson
from extproc.local.mock.multipart import NotAForm, Part, read_form
from extproc.local.mock.openai import errors
from extproc.local.mock.openai.api import PREFIX, OpenAI
from extproc.local.mock.reply import Headers, Refusal, Reply, Request, SseEvent, Stream
from extproc.local.mock.rules import (
    Bool,
    FreeObj,
    Int,
    ListOf,
    Num,
    Obj,
    Rule,
    Str,
    check,
    enum,
    nullable,
    one_of,
)
from extproc.local.mock.tokens import count

PIXEL: Final = b"\x89PNG\r\n\x1a\n"
KINDS: Final = {
    "mp3": "audio/mpeg", "opus": "audio/opus", "aac": "audio/aac", "flac": "audio/flac",
    "wav": "audio/wav", "pcm": "audio/pcm",
}  # fmt: skip

IMAGES: Final = Obj(
    {
        "prompt!": Str(min=1, max=32_000),
        "model": nullable(Str()),
        "background": nullable(enum("transparent", "opaque", "auto")),
        "complexity": nullable(FreeObj()),
        "frame_count": nullable(Int(1)),
        "frame_duration_ms": nullable(Int(1)),
        "moderation": nullable(enum("low", "auto")),
        "n": nullable(Int(1, 10)),
        "output_compression": nullable(Int(0, 100)),
        "output_format": nullable(enum("png", "jpeg", "webp")),
        "partial_images": nullable(Int(0, 3)),
        "quality": nullable(enum("standard", "hd", "low", "medium", "high", "auto")),
        "response_format": nullable(enum("url", "b64_json")),
        "safety_identifier": Str(),
        "size": nullable(Str()),
        "stream": nullable(Bool()),
        "style": nullable(enum("vivid", "natural")),
        "svg": nullable(FreeObj()),
        "user": Str(),
    }
)
SPEECH: Final = Obj(
    {
        "model!": Str(),
        "input!": Str(min=1, max=4096),
        "voice!": one_of(Str(min=1), FreeObj()),
        "instructions": Str(),
        "response_format": enum(*KINDS),
        "speed": Num(0.25, 4.0),
        "stream_format": enum("sse", "audio"),
    }
)
MODERATIONS: Final = Obj(
    {
        "input!": one_of(Str(min=1), ListOf(one_of(Str(), FreeObj()), 1)),
        "model": Str(),
    }
)
TRANSCRIPTION: Final = frozenset(
    {
        "file", "model", "chunking_strategy", "include", "keywords",
        "known_speaker_names", "known_speaker_references", "language", "languages",
        "prompt", "response_format", "stream", "temperature", "timestamp_granularities",
    }
)  # fmt: skip
TRANSLATION: Final = frozenset(
    {"file", "model", "prompt", "response_format", "temperature"}
)
EDIT: Final = frozenset(
    {
        "image", "prompt", "background", "complexity", "frame_count",
        "frame_duration_ms", "input_fidelity", "markup", "mask", "model", "n",
        "output_compression", "output_format", "partial_images", "quality",
        "response_format", "safety_identifier", "size", "stream", "svg", "user",
    }
)  # fmt: skip
VARIATION: Final = frozenset({"image", "model", "n", "response_format", "size", "user"})
MODELS: Final = {
    "images": ("dall-e-2", "dall-e-3", "gpt-image-1"),
    "speech": ("tts-1", "tts-1-hd", "gpt-4o-mini-tts"),
    "transcriptions": ("whisper-1", "gpt-4o-transcribe"),
    "moderations": ("omni-moderation-latest", "text-moderation-latest"),
}

Json = dict[str, Any]
Fields = dict[str, list[Part]]


class Media(OpenAI):
    """The part of OpenAI that draws, speaks, listens and judges."""

    def owns(self, request: Request) -> bool:
        """Claim the paths of the tables."""
        route = request.route.removeprefix(PREFIX)
        return route in _JSON or route in _FORMS

    def _route(self, request: Request, headers: Headers) -> Reply | Stream:
        gate.check_headers(request, credentials=frozenset({"authorization"}))
        self._check_key(request)
        if request.method != "POST":
            raise Refusal(405, f"Not allowed to {request.method} on {request.route}.")
        route = request.route.removeprefix(PREFIX)
        kind = request.header("content-type") or ""
        if route in _FORMS and kind.startswith("multipart/form-data"):
            made = self._hear(request, route)
        elif route in _JSON:
            made = self._read(request, route)
        else:
            raise Refusal(415, f"Unsupported content type: {kind!r}")
        if isinstance(made, Reply):
            return Reply(made.status, made.body, headers, made.content_type)
        return Stream(made, headers=headers)

    def _read(self, request: Request, route: str) -> Reply | Iterator[SseEvent]:
        rule, answer = _JSON[route]
        gate.check_body_headers(request)
        with errors.refusing():
            body = strictjson.read_object(request.body)
            check(rule, body)
        return answer(body)

    def _hear(self, request: Request, route: str) -> Reply | Iterator[SseEvent]:
        known, answer = _FORMS[route]
        length = request.header("content-length")
        if length is not None and int(length) != len(request.body):
            raise Refusal(400, "mock_wrong_length", code="mock_wrong_length")
        try:
            fields = read_form(request.header("content-type") or "", request.body)
        except NotAForm as exc:
            raise Refusal(400, f"Could not parse multipart form: {exc}") from exc
        for name in fields:
            if name.removesuffix("[]") not in known:
                raise Refusal(400, f"Unknown parameter: '{name}'.", param=name)
        return answer(fields)


def _model(kind: str, name: str) -> str:
    if name not in MODELS[kind]:
        raise Refusal(
            404,
            f"The model `{name}` does not exist or you do not have access to it.",
            code="model_not_found",
        )
    return name


def _json(said: object) -> Reply:
    return Reply(200, msgspec.json.encode(said))


def _picture(words: str) -> str:
    return base64.b64encode(PIXEL + hashlib.sha256(words.encode()).digest()).decode()


def _usage(words: str) -> Json:
    given = count(words)
    details = {"text_tokens": given, "image_tokens": 0}
    return {
        "input_tokens": given,
        "output_tokens": 100,
        "total_tokens": given + 100,
        "input_tokens_details": details,
    }


def _images(body: Json) -> Reply | Iterator[SseEvent]:
    model = _model("images", body.get("model") or "dall-e-2")
    if body.get("stream"):
        if not model.startswith("gpt-image"):
            raise Refusal(400, f"{model} does not stream.", param="stream")
        return _painting(body, "image_generation")
    return _pictures(model, body["prompt"], body.get("n") or 1)


def _pictures(model: str, words: str, number: int) -> Reply:
    said: Json = {
        "created": 1_700_000_000,
        "data": [{"b64_json": _picture(f"{words} {n}")} for n in range(number)],
    }
    if model.startswith("gpt-image"):
        said["usage"] = _usage(words)
    return _json(said)


def _painting(body: Json, name: str) -> Iterator[SseEvent]:
    shared = {
        "b64_json": _picture(body["prompt"]), "created_at": 1_700_000_000,
        "size": "1024x1024", "quality": "high", "background": "opaque",
        "output_format": "png",
    }  # fmt: skip
    for n in range(body.get("partial_images") or 0):
        kind = f"{name}.partial_image"
        event = {"type": kind, "partial_image_index": n, **shared}
        yield SseEvent(msgspec.json.encode(event), kind)
    kind = f"{name}.completed"
    event = {"type": kind, **shared, "usage": _usage(body["prompt"])}
    yield SseEvent(msgspec.json.encode(event), kind)


def _speech(body: Json) -> Reply | Iterator[SseEvent]:
    model = _model("speech", body["model"])
    sound = hashlib.shake_256(body["input"].encode()).digest(4096)
    if body.get("stream_format") == "sse":
        if model.startswith("tts-1"):
            raise Refusal(400, "sse is not supported for tts-1.", param="stream_format")
        return _speaking(body["input"], sound)
    return Reply(200, sound, content_type=KINDS[body.get("response_format", "mp3")])


def _speaking(words: str, sound: bytes) -> Iterator[SseEvent]:
    for start in range(0, len(sound), 1024):
        piece = base64.b64encode(sound[start : start + 1024]).decode()
        yield SseEvent(
            msgspec.json.encode({"type": "speech.audio.delta", "audio": piece})
        )
    given = count(words)
    usage = {"input_tokens": given, "output_tokens": 50, "total_tokens": given + 50}
    yield SseEvent(msgspec.json.encode({"type": "speech.audio.done", "usage": usage}))


def _moderate(body: Json) -> Reply:
    model = _model("moderations", body.get("model", "omni-moderation-latest"))
    given = body["input"]
    every = given if isinstance(given, list) else [given]
    flagged = ["kill" in str(one) for one in every]
    names = (
        "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit",
        "illicit/violent", "self-harm", "self-harm/instructions", "self-harm/intent",
        "sexual", "sexual/minors", "violence", "violence/graphic",
    )  # fmt: skip
    results = [
        {
            "flagged": bad,
            "categories": {name: bad and name == "violence" for name in names},
            "category_scores": {
                name: 0.9 if bad and name == "violence" else 0.01 for name in names
            },
            "category_applied_input_types": {name: ["text"] for name in names},
        }
        for bad in flagged
    ]
    return _json({"id": "modr-1", "model": model, "results": results})


def _text_of(fields: Fields, name: str, usual: str) -> str:
    return fields[name][0].content.decode() if name in fields else usual


def _file_of(fields: Fields, name: str) -> Part:
    parts = fields.get(name, []) + fields.get(f"{name}[]", [])
    if not parts or parts[0].filename is None:
        raise Refusal(
            400,
            f"Missing required parameter: '{name}'.",
            param=name,
            code="missing_required_parameter",
        )
    return parts[0]


def _transcribe(fields: Fields) -> Reply | Iterator[SseEvent]:
    model = _model("transcriptions", _text_of(fields, "model", ""))
    sound = _file_of(fields, "file")
    words = f"{len(sound.content)} bytes of {sound.filename}"
    if _text_of(fields, "stream", "false").lower() == "true":
        if model == "whisper-1":
            raise Refusal(400, "Streaming is not supported for whisper-1.")
        return _listening(words)
    kind = _text_of(fields, "response_format", "json")
    if kind in {"text", "srt", "vtt"}:
        return Reply(200, f"{words}\n".encode(), content_type="text/plain")
    usage: Json = {"type": "duration", "seconds": 1}
    if model != "whisper-1":
        usage = {
            "type": "tokens", "input_tokens": 14, "output_tokens": count(words),
            "total_tokens": 14 + count(words),
            "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
        }  # fmt: skip
    return _json({"text": words, "usage": usage})


def _listening(words: str) -> Iterator[SseEvent]:
    for word in words.split(" "):
        event = {"type": "transcript.text.delta", "delta": f"{word} "}
        yield SseEvent(msgspec.json.encode(event))
    usage = {
        "type": "tokens", "input_tokens": 14, "output_tokens": count(words),
        "total_tokens": 14 + count(words),
    }  # fmt: skip
    done: Json = {"type": "transcript.text.done", "text": words, "usage": usage}
    yield SseEvent(msgspec.json.encode(done))


def _translate(fields: Fields) -> Reply | Iterator[SseEvent]:
    if _text_of(fields, "model", "") != "whisper-1":
        raise Refusal(400, "Only whisper-1 translates.", param="model")
    return _transcribe(fields)


def _edit(fields: Fields) -> Reply | Iterator[SseEvent]:
    model = _model("images", _text_of(fields, "model", "dall-e-2"))
    _file_of(fields, "image")
    words = _text_of(fields, "prompt", "")
    if not words:
        raise Refusal(400, "Missing required parameter: 'prompt'.", param="prompt")
    if _text_of(fields, "stream", "false").lower() == "true":
        if not model.startswith("gpt-image"):
            raise Refusal(400, f"{model} does not stream.", param="stream")
        partial = int(_text_of(fields, "partial_images", "0"))
        return _painting({"prompt": words, "partial_images": partial}, "image_edit")
    return _pictures(model, words, int(_text_of(fields, "n", "1")))


def _vary(fields: Fields) -> Reply:
    model = _model("images", _text_of(fields, "model", "dall-e-2"))
    image = _file_of(fields, "image")
    return _pictures(model, str(len(image.content)), int(_text_of(fields, "n", "1")))


_JSON: Final[dict[str, tuple[Rule, Callable[[Json], Reply | Iterator[SseEvent]]]]] = {
    "/v1/images/generations": (IMAGES, _images),
    "/v1/audio/speech": (SPEECH, _speech),
    "/v1/moderations": (MODERATIONS, _moderate),
}
_FORMS: Final[
    dict[str, tuple[frozenset[str], Callable[[Fields], Reply | Iterator[SseEvent]]]]
] = {
    "/v1/audio/transcriptions": (TRANSCRIPTION, _transcribe),
    "/v1/audio/translations": (TRANSLATION, _translate),
    "/v1/images/edits": (EDIT, _edit),
    "/v1/images/variations": (VARIATION, _vary),
}
