"""`python -m extproc`: the command line."""

from __future__ import annotations

from extproc.cli import main

if __name__ == "__main__":
    main()
