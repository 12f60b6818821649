"""What may be said to OpenAI of jobs, vector stores, uploads and conversations.

https://platform.openai.com/docs/api-reference: fine-tuning, vector-stores, uploads,
conversations. Names are proved against `openai.types`.
"""

from __future__ import annotations

from typing import Final

from extproc.local.mock.rules import (
    Bool,
    FreeObj,
    Int,
    ListOf,
    Num,
    Obj,
    Str,
    Tagged,
    enum,
    nullable,
    one_of,
)

PURPOSES: Final = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
METADATA: Final = nullable(FreeObj(Str(max=512), max=16, key_max=64))
ATTRIBUTES: Final = nullable(
    FreeObj(one_of(Str(max=512), Num(), Bool()), max=16, key_max=64)
)
CHUNKING: Final = Tagged(
    {
        "auto": Obj({"type!": Str()}),
        "static": Obj(
            {
                "type!": Str(),
                "static!": Obj(
                    {
                        "max_chunk_size_tokens!": Int(100, 4096),
                        "chunk_overlap_tokens!": Int(0),
                    }
                ),
            }
        ),
    },
)

_EPOCHS: Final = Obj(
    {
        "batch_size": one_of(enum("auto"), Int(1)),
        "learning_rate_multiplier": one_of(enum("auto"), Num(0)),
        "n_epochs": one_of(enum("auto"), Int(1)),
    }
)
JOB: Final = Obj(
    {
        "model!": Str(min=1),
        "training_file!": Str(min=1),
        "hyperparameters": _EPOCHS,
        "integrations": nullable(
            ListOf(
                Obj(
                    {
                        "type!": enum("wandb"),
                        "wandb!": Obj(
                            {
                                "project!": Str(min=1),
                                "entity": nullable(Str()),
                                "name": nullable(Str()),
                                "tags": ListOf(Str()),
                            }
                        ),
                    }
                )
            )
        ),
        "metadata": METADATA,
        "method": Obj(
            {
                "type!": enum("supervised", "dpo", "reinforcement"),
                "supervised": FreeObj(),
                "dpo": FreeObj(),
                "reinforcement": FreeObj(),
            }
        ),
        "seed": nullable(Int(0, 2147483647)),
        "suffix": nullable(Str(1, 64)),
        "validation_file": nullable(Str()),
    }
)

_EXPIRES: Final = Obj({"anchor!": enum("last_active_at"), "days!": Int(1, 365)})
STORE: Final = Obj(
    {
        "chunking_strategy": CHUNKING,
        "description": Str(),
        "expires_after": _EXPIRES,
        "file_ids": ListOf(Str(), max=500),
        "metadata": METADATA,
        "name": Str(),
    }
)
STORE_UPDATE: Final = Obj(
    {
        "expires_after": nullable(_EXPIRES),
        "metadata": METADATA,
        "name": nullable(Str()),
    }
)
SEARCH: Final = Obj(
    {
        "query!": one_of(Str(min=1), ListOf(Str(min=1))),
        "filters": FreeObj(),
        "max_num_results": Int(1, 50),
        "ranking_options": Obj(
            {
                "ranker": enum("none", "auto", "default-2024-11-15"),
                "score_threshold": Num(0, 1),
            }
        ),
        "rewrite_query": Bool(),
    }
)
STORE_FILE: Final = Obj(
    {"file_id!": Str(min=1), "attributes": ATTRIBUTES, "chunking_strategy": CHUNKING}
)
STORE_FILES: Final = Obj(
    {
        "attributes": ATTRIBUTES,
        "chunking_strategy": CHUNKING,
        "file_ids": ListOf(Str(), min=1, max=2000),
        "files": ListOf(STORE_FILE, min=1, max=2000),
    }
)

UPLOAD: Final = Obj(
    {
        "bytes!": Int(0, 8 << 30),
        "filename!": Str(min=1),
        "mime_type!": Str(min=1),
        "purpose!": enum(*PURPOSES),
        "expires_after": Obj(
            {"anchor!": enum("created_at"), "seconds!": Int(3600, 2592000)}
        ),
    }
)
COMPLETE: Final = Obj({"part_ids!": ListOf(Str()), "md5": Str()})

CONVERSATION: Final = Obj(
    {"items": nullable(ListOf(FreeObj(), max=20)), "metadata": METADATA}
)
CONVERSATION_UPDATE: Final = Obj({"metadata!": METADATA})
ITEMS: Final = Obj({"items!": ListOf(FreeObj(), min=1, max=20)})
