"""The process that one conversion runs in: python -m edgeseg.export.child RUNTIME PRECISION MERGE PROGRAM FILE.

What takes seconds to import is imported after the watch over the parent has begun.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from pathlib import Path


def _end_with_parent() -> None:
    """Ends this process when the other end of its standard input closes, as it does when the parent is killed."""
    os.read(0, 1)  # not sys.stdin: its lock, held at the interpreter's end, is a fatal error
    os._exit(1)


def _spare_time() -> None:
    """Leaves out a sixth of a conversion's time: what is done and not needed.

    Scans of all that was imported for garbage, and a copy of each node's history at every pass, which grows with the
    passes. A history never changes, so sharing it is the same.
    """
    from torch.fx.traceback import NodeSource

    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    NodeSource.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]


def _main(name: str, precision: str, merge: str, saved: str, made: str) -> None:
    import torch
    import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed, which programs refer to

    from edgeseg.export.runtimes import OUTPUT_NAMES, get_runtime

    torch.set_num_threads(1)
    _spare_time()
    names = OUTPUT_NAMES["graph" if merge == "graph" else "app"]
    get_runtime(name).convert(torch.export.load(saved), names, Path(made), precision=precision)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _main(*sys.argv[1:])
