"""What `extproc run` prints when it serves: where, who answers, and two ways to ask."""

from __future__ import annotations

import dataclasses
from typing import Final, Literal

from extproc.server.keys import MASTER_VARIABLE

KEY_VARIABLE: Final = "EXTPROC_KEY"
SHOWN_MODELS: Final = 6

KeySource = Literal["new", "earlier", "master"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """Everything that is printed once."""

    url: str
    """Of the gateway, without a path."""
    control_url: str
    providers: tuple[str, ...]
    models: tuple[str, ...]
    mocked: bool
    """Whether the mock providers serve."""
    wanted_variables: tuple[str, ...] = ()
    """The environment variables that would make a provider live."""
    key: str | None = None
    """The key, if it was made at this start: the only time that it is shown."""
    key_source: KeySource = "earlier"
    reset_command: str = "extproc keys reset"

    def text(self) -> str:
        """Return the whole greeting."""
        return "\n".join((*self._where(), "", *self._curl(), "", *self._python(), ""))

    def _where(self) -> list[str]:
        shown = ", ".join(self.models[:SHOWN_MODELS])
        more = ", …" if len(self.models) > SHOWN_MODELS else ""
        lines = [
            f"Gateway    {self.url}/v1",
            f"Metrics    {self.control_url}/metrics   (health: /health/ready)",
        ]
        if self.mocked:
            lines.append(
                "Providers  the built-in mock providers serve: no provider is called"
            )
            if self.wanted_variables:
                lines.append(f"           (set {' or '.join(self.wanted_variables)})")
        else:
            lines.append(f"Providers  {', '.join(self.providers)}")
        lines.append(f"Models     {shown}{more}")
        return [*lines, *self._key_lines()]

    def _key_lines(self) -> list[str]:
        if self.key_source == "new":
            return ["Key        in the lines below; it is not shown again"]
        if self.key_source == "master":
            return [f"Key        ${MASTER_VARIABLE}"]
        return [
            f"Key        the one shown at the first start: export {KEY_VARIABLE}=sk-…",
            f"           (lost it? `{self.reset_command}` makes a new one)",
        ]

    def _curl(self) -> list[str]:
        body = (
            f'{{"model":"{self._model}",'
            '"messages":[{"role":"user","content":"Say hello"}]}'
        )
        return [
            f"curl {self.url}/v1/chat/completions \\",
            f'  -H "Authorization: Bearer {self.key or self._variable("$")}" \\',
            '  -H "Content-Type: application/json" \\',
            f"  -d '{body}'",
        ]

    def _python(self) -> list[str]:
        environ = f'os.environ["{self._variable("")}"]'
        key = f'"{self.key}"' if self.key else environ
        return [
            "# pip install openai",
            *(["import os"] if self.key is None else []),
            "from openai import OpenAI",
            f'client = OpenAI(base_url="{self.url}/v1", api_key={key})',
            f'answer = client.chat.completions.create(model="{self._model}",',
            '    messages=[{"role": "user", "content": "Say hello"}])',
            "print(answer.choices[0].message.content)",
        ]

    def _variable(self, prefix: str) -> str:
        master = self.key_source == "master"
        return prefix + (MASTER_VARIABLE if master else KEY_VARIABLE)

    @property
    def _model(self) -> str:
        return self.models[0] if self.models else "MODEL"
