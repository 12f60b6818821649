"""Takes secrets and personal data out of text that leaves the process.

Nothing of ours writes a key or a prompt to a log in the first place; this is the second
lock, for what others say: a provider's error that repeats the key it refused, an
exception's text, a prompt that an operator chose to keep. What is needed to follow a
request stays: request ids, hashes, trace ids, models, counts.

Every pattern takes time linear in the text: it begins only where a word begins, and its
repeats are possessive (``++``), so nothing is ever tried twice.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, NamedTuple

Kind = Literal[
    "api_key", "aws_key", "azure_key", "bearer", "card", "email", "jwt", "password",
    "phone", "private_key", "secret",
]  # fmt: skip
"""What has been taken out: it stands in its place, as ``[redacted:api_key]``. ``secret``:
one that the process was told of, whatever it looks like."""

SECRETS: Final[frozenset[Kind]] = frozenset(
    {"api_key", "aws_key", "azure_key", "bearer", "jwt", "password", "private_key"}
)
"""Always taken out."""
PERSONAL: Final[frozenset[Kind]] = frozenset({"card", "email", "phone"})
"""Taken out unless an operator says that what is kept may name people."""

SECRET_FIELDS: Final = frozenset(
    {
        "api-key", "apikey", "authorization", "client-secret", "cookie", "password",
        "private-key", "proxy-authorization", "secret-access-key", "set-cookie",
        "x-amz-security-token", "x-api-key", "x-goog-api-key",
    }
)  # fmt: skip
"""Headers and fields whose whole value is a secret, ``_`` read as ``-``."""


class Rule(NamedTuple):
    """What one kind looks like."""

    kind: Kind
    pattern: re.Pattern[str]
    """A group named ``keep`` stays in front of the mark."""
    accept: Callable[[str], bool] | None = None
    """Looks again at what matched, where the form alone does not tell."""


def _rule(
    kind: Kind, pattern: str, accept: Callable[[str], bool] | None = None
) -> Rule:
    return Rule(kind, re.compile(pattern), accept)


def luhn(number: str) -> bool:
    """Say whether the digits of `number` have a card number's check digit (ISO 7812)."""
    digits = [int(char) for char in number if char.isdecimal()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


# Not in the middle of a word: a hash may have any of these in it.
_EDGE = r"(?<![A-Za-z0-9_-])"

_RULES: Final = (
    _rule(
        "private_key",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----"
        r"(?:[^-]++|-(?!----END))*+(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----)?",
    ),
    # Header and claims are JSON objects: base64 of `{"`.
    _rule("jwt", _EDGE + r"eyJ[\w-]{8,}+\.eyJ[\w-]{8,}+\.[\w-]*+"),
    # Whose prefix says whose they are: OpenAI, Anthropic, OpenRouter, DeepSeek and our
    # own (sk-), Google, Groq, xAI, Perplexity, Hugging Face, Nvidia, Replicate,
    # Cerebras, Fireworks, Together, Databricks, GitHub, GitLab, Slack, Bedrock.
    _rule(
        "api_key",
        _EDGE + r"(?:(?:sk|rk|pk)-[\w-]{12,}+|AIza[\w-]{30,}+|ya29\.[\w.-]{10,}+"
        r"|GOCSPX-[\w-]{10,}+|gsk_\w{16,}+|xai-[\w-]{16,}+|pplx-\w{16,}+|hf_\w{16,}+"
        r"|nvapi-[\w-]{16,}+|r8_\w{16,}+|csk-\w{16,}+|fw_\w{16,}+|tgp_v1_[\w-]{16,}+"
        r"|dapi[0-9a-f]{32}+|gh[pousr]_\w{16,}+|github_pat_\w{16,}+|glpat-[\w-]{16,}+"
        r"|xox[abeprs]-[\w-]{10,}+|ABSK[\w+/=]{20,}+)",
    ),
    _rule("aws_key", _EDGE + r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _rule(
        "aws_key", r"(?P<keep>(?i:\bx-amz-(?:signature|security-token)=))[\w%+/=-]++"
    ),
    _rule("aws_key", r"(?P<keep>\bSignature=)[0-9a-f]{64}"),
    _rule("azure_key", _EDGE + r"[\w~.-]{3}8Q~[\w~.-]{30,40}+"),
    _rule(
        "azure_key",
        r"(?P<keep>(?i:\b(?:AccountKey|SharedAccessKey|sig)=))[\w%+/=-]{16,}+",
    ),
    _rule("bearer", r"(?P<keep>(?i:\b(?:bearer|basic)[ \t]{1,8}))[\w.~+/=-]{8,}+"),
    _rule("password", r"(?P<keep>://)[^\s/@:]*+:[^\s/@]++(?=@)"),
    # A field of such a name, in JSON, YAML, a query or an assignment. A count of tokens
    # is no token, so bare numbers stay.
    _rule(
        "password",
        r"(?P<keep>(?i:(?<![A-Za-z0-9])(?:[a-z0-9]{1,20}[_-]){0,3}"
        r"(?:password|passwd|secret|api[_-]?key|(?:access|refresh|id|auth|session)[_-]"
        r"?token|token|credential|private[_-]?key|access[_-]?key)"
        r"""["']?[ \t]{0,4}[:=][ \t]{0,4}["']?))(?!\d++\b(?!-))(?!\[redacted)"""
        r"""(?![{\[])[^\s"',;&}\]]{6,}+""",
    ),
    _rule(
        "email",
        r"(?<![\w.+%-])[\w.+%-]++@[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)++",
    ),
    # 13 to 19 digits, in groups or not, of the great schemes; ids begin with anything.
    _rule(
        "card",
        r"(?<![\w.-])[2-6](?:[ -]?\d){12,18}(?![\w-]|\.\d)",
        luhn,
    ),
    _rule(
        "phone",
        r"(?<![\w.+-])(?:\+\d(?:[ ().-]{0,2}\d){7,14}"
        r"|\(\d{3}\)[ -]?\d{3}[ -]\d{4}|\d{3}[ .-]\d{3}[ .-]\d{4})(?![\w-]|\.\d)",
    ),
)


SHORTEST: Final = 8
"""Characters of a known secret that is looked for: a shorter one is a word, too."""


class Redactor:
    """Takes the chosen kinds, and secrets that are known, out of text."""

    def __init__(
        self,
        kinds: Iterable[Kind] = SECRETS | PERSONAL,
        *,
        known: Iterable[str] = (),
    ) -> None:
        chosen = frozenset(kinds)
        self._rules = tuple(rule for rule in _RULES if rule.kind in chosen)
        # A secret may be the beginning of another one.
        fit = {one for one in known if len(one) >= SHORTEST}
        self._known = tuple(sorted(fit, key=len, reverse=True))

    def without(self, kinds: Iterable[Kind]) -> Redactor:
        """Return one that leaves `kinds` as they are, and knows the same secrets."""
        left = {rule.kind for rule in self._rules} - set(kinds)
        return Redactor(left, known=self._known)

    def text(self, text: str) -> str:
        """Return `text` with ``[redacted:KIND]`` where something was."""
        for secret in self._known:
            text = text.replace(secret, "[redacted:secret]")
        for rule in self._rules:
            text = rule.pattern.sub(functools.partial(_mark, rule), text)
        return text

    def fields(self, fields: Mapping[str, object]) -> dict[str, object]:
        """Return `fields` with every string in it redacted, at any depth.

        A field that is a secret by its name (`SECRET_FIELDS`) goes whole.
        """
        return {
            self.text(name): _MASK
            if name.lower().replace("_", "-") in SECRET_FIELDS and value
            else self._value(value)
            for name, value in fields.items()
        }

    def _value(self, value: object) -> object:
        match value:
            case str():
                return self.text(value)
            case Mapping():
                return self.fields({str(key): item for key, item in value.items()})
            case list() | tuple():
                return [self._value(item) for item in value]
            case _:
                return value


_MASK: Final = "[redacted]"


def _mark(rule: Rule, match: re.Match[str]) -> str:
    if rule.accept is not None and not rule.accept(match[0]):
        return match[0]
    keep = match["keep"] if "keep" in rule.pattern.groupindex else ""
    return f"{keep}[redacted:{rule.kind}]"
