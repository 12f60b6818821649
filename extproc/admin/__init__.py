"""What operators change while the gateway runs: keys and their owners; what was spent.

The database adds to ``gateway.yaml`` and never contradicts it: what stands in the file is
shown here and cannot be changed here. Control serves this; no request waits for it.
"""

from __future__ import annotations
