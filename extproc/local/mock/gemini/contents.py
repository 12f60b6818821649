"""The conversation as Gemini checks it: roles, parts, calls answered, signatures."""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Mapping
from typing import Any, Final

from extproc.local.mock.gemini import signing
from extproc.local.mock.gemini.errors import bad
from extproc.local.mock.gemini.models import Model
from extproc.local.mock.gemini.rules import DATA

Json = Mapping[str, Any]

MAGIC: Final = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/webp": (b"RIFF",),
    "application/pdf": (b"%PDF-",),
    "audio/wav": (b"RIFF",),
}
"""What a file of each media type begins with, where that is one thing."""
UNCHECKED: Final = frozenset(
    {
        "image/heic",
        "image/heif",
        "audio/mp3",
        "audio/mpeg",
        "audio/aiff",
        "audio/aac",
        "audio/ogg",
        "audio/flac",
        "audio/m4a",
        "audio/mp4",
        "audio/opus",
        "audio/pcm",
        "audio/webm",
    }
)


def check(contents: list[Json], model: Model) -> None:
    """Raise the refusal that the conversation earns."""
    if not contents:
        raise bad("* GenerateContentRequest.contents: contents is not specified")
    for i, content in enumerate(contents):
        if content.get("role", "user") not in ("user", "model"):
            raise bad("Please use a valid role: user, model.")
        if not content.get("parts"):
            raise bad(
                f"* GenerateContentRequest.contents[{i}].parts: contents.parts must not"
                " be empty."
            )
        for j, part in enumerate(content["parts"]):
            _check_part(part, f"contents[{i}].parts[{j}]", model)
    _check_roles(contents, model)
    _check_calls(contents)
    if model.signs:
        _check_signatures(contents)


def check_system(system: Json) -> None:
    """Refuse a system instruction that is not text."""
    parts = system.get("parts")
    if not parts or any(not part.get("text") for part in parts):
        raise bad("System instruction should be text only.")


def of_role(content: Json, field: str) -> list[Json]:
    """Return what the content's parts have of this kind."""
    return [part[field] for part in content.get("parts") or () if field in part]


def _check_part(part: Json, where: str, model: Model) -> None:
    data = [name for name in DATA if name in part]
    if len(data) != 1:
        raise bad(
            f"* GenerateContentRequest.{where}.data: required oneof field 'data' must"
            " have one initialized field"
        )
    if part.get("text") == "" and "thoughtSignature" not in part:
        raise bad(
            f"* GenerateContentRequest.{where}.text: text parameter must not be empty"
        )
    if "inlineData" in part:
        _check_blob(part["inlineData"])
    if "fileData" in part:
        _check_file(part["fileData"], model)
    for inner in part.get("functionResponse", {}).get("parts") or ():
        if not model.media_results:
            raise bad("Multimodal function response is not supported for this model.")
        if "inlineData" in inner:
            _check_blob(inner["inlineData"])
    signature = part.get("thoughtSignature")
    if signature is not None and not signing.is_signed(signature, part):
        raise bad("Corrupted thought signature.")


def _check_blob(blob: Json) -> None:
    kind = blob["mimeType"]
    try:
        raw = base64.b64decode(blob["data"], validate=True)
    except (binascii.Error, ValueError):
        raise bad('Base64 decoding failed for "inline_data.data"') from None
    if kind.startswith("text/") or kind in UNCHECKED:
        return
    if kind not in MAGIC:
        raise bad(f"Unsupported MIME type: {kind}")
    if not raw.startswith(MAGIC[kind]):
        raise bad("Unable to process input image. Please retry or report.")


def _check_file(file: Json, model: Model) -> None:
    uri = file["fileUri"]
    own = uri.startswith(
        ("gs://", "https://generativelanguage.googleapis.com/", "https://youtu.be/")
    )
    youtube = uri.startswith("https://www.youtube.com/")
    if own or youtube or (model.urls and uri.startswith(("https://", "http://"))):
        return
    raise bad(f"Invalid or unsupported file uri: {uri}")


def _check_roles(contents: list[Json], model: Model) -> None:
    roles = [content.get("role", "user") for content in contents]
    if any(one == next_ for one, next_ in itertools.pairwise(roles)):
        raise bad(
            "Please ensure that multiturn requests alternate between user and model."
        )
    if roles[-1] == "model" and model.modern:
        raise bad("Requests ending with a model turn are not supported.")


def _check_calls(contents: list[Json]) -> None:
    """Check that every call is answered in the next turn, and nothing else is."""
    asked: list[Json] = []
    for i, content in enumerate(contents):
        answered = of_role(content, "functionResponse")
        calls = of_role(content, "functionCall")
        role = content.get("role", "user")
        if (calls and role != "model") or (answered and role != "user"):
            raise bad(
                f"contents[{i}]: function calls are the model's, their responses the"
                " user's"
            )
        if calls and i == 0:
            raise bad(
                "Please ensure that function call turn comes immediately after a user"
                " turn or after a function response turn."
            )
        if answered and not asked:
            raise bad(
                "Please ensure that function response turn comes immediately after a"
                " function call turn."
            )
        if len(answered) != len(asked):
            raise bad(
                "Please ensure that the number of function response parts is equal to"
                " the number of function call parts of the function call turn."
            )
        _check_pairs(asked, answered)
        asked = calls


def _check_pairs(asked: list[Json], answered: list[Json]) -> None:
    if sorted(one["name"] for one in asked) != sorted(one["name"] for one in answered):
        raise bad(
            "Please ensure that function response names match the names of the function"
            " call turn."
        )
    ids = {one["id"]: one["name"] for one in asked if "id" in one}
    for one in answered:
        if "id" in one and ids and ids.get(one["id"]) != one["name"]:
            raise bad(f"Function response id {one['id']!r} matches no function call.")


def _check_signatures(contents: list[Json]) -> None:
    """Check the first call of each step since the user last spoke."""
    spoken = [
        i
        for i, content in enumerate(contents)
        if content.get("role", "user") == "user"
        and not of_role(content, "functionResponse")
    ]
    for content in contents[spoken[-1] if spoken else 0 :]:
        for place, part in enumerate(content["parts"]):
            if "functionCall" not in part:
                continue
            if "thoughtSignature" not in part:
                raise bad(
                    "Function call is missing a thought_signature in functionCall parts."
                    " This is required for tools to work correctly, and missing"
                    " thought_signature may lead to degraded model performance."
                    f" Additional data, function call"
                    f" `default_api:{part['functionCall']['name']}`, position"
                    f" {place + 1}."
                )
            break
