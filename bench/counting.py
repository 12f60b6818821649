"""How far the worker's estimate of a prompt is from what OpenAI's tokenizer counts.

    .venv/bin/python bench/counting.py

The estimate reserves; what is charged is what the provider counted. Prints, for each kind of
text, the tokens, the estimate's error, and whether the most that a hard budget reserves was
enough. `bpe-openai` has the vocabularies in it and downloads nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from extproc.local.prompt_count import count
from extproc.policy.estimate import prompt_tokens

ROOT = Path(__file__).parents[1]
# What nobody will change: the table in docs/budgets.md stays what this prints.
MIGRATION = ROOT / "extproc/db/migrations/versions/r0001_create_the_tables.py"

GERMAN = (
    "Die Grenzen des Haushalts gelten für alle Anfragen zugleich, und wer sie erreicht, "
    "bekommt eine Antwort, die sagt, welche es war und wann wieder etwas frei ist. "
)
RUSSIAN = (
    "Пределы бюджета действуют для всех запросов одновременно, и тот, кто их достиг, "
    "получает ответ, в котором сказано, какой это был предел и когда он освободится. "
)
CHINESE = "预算的上限同时适用于所有请求。达到上限的人会收到说明是哪一个上限以及何时恢复的答复。"
JAPANESE = (
    "予算の上限はすべてのリクエストに同時に適用され、上限に達した人には、"
    "どの上限であったか、いつ空きが出るかを伝える回答が返されます。"
)
EMOJI = "🎉🚀👩‍💻🔥✅❤️🤖📈"


def texts() -> dict[str, str]:
    """Return a text of each kind."""
    rows = [{"id": n, "name": f"user-{n}", "active": n % 2 == 0} for n in range(80)]
    return {
        "English": (ROOT / "LICENSE").read_text(),
        "Python": MIGRATION.read_text(),
        "JSON in a string": json.dumps(rows),
        "numbers": " ".join(str(7919 * n % 100_003) for n in range(600)),
        "German": GERMAN * 20,
        "Russian": RUSSIAN * 20,
        "Chinese": CHINESE * 40,
        "Japanese": JAPANESE * 40,
        "emoji": EMOJI * 40,
        "one word": "Hello",
    }


def main() -> None:
    """Print the table."""
    print("| text | bytes | tokens | estimate | error | most | enough |")
    print("|---|--:|--:|--:|--:|--:|---|")
    for name, text in texts().items():
        said = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}
        # As the SDKs write it: UTF-8, no spaces.
        body = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
        counted = count("openai", "/v1/chat/completions", body)
        if counted.encoding is None:
            sys.exit(counted.why)
        real = counted.tokens
        found = prompt_tokens(body)
        error = (found.expected - real) / real
        print(
            f"| {name} | {len(body)} | {real} | {found.expected} | {error:+.0%} | "
            f"{found.most} | {'yes' if found.most >= real else 'no'} |"
        )


if __name__ == "__main__":
    main()
