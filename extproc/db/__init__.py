"""What outlives every process: who may ask, what was spent, who changed what.

Control owns the database; no worker ever opens it, and no request waits for it. SQLite in
the state folder unless a URL says otherwise (Postgres); the tables are those of
`extproc.db.tables`, brought up to date by the migrations beside it.
"""

from __future__ import annotations
