"""What GPU accelerators that are not here would leave of a bundle's files: python -m edgeseg.bench.elsewhere BUNDLE"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from edgeseg.export.bundle import open_bundle
from edgeseg.export.litert_gpu import left_by_gpu
from edgeseg.export.onnx_web import left_by_webgpu
from edgeseg.export.runtimes import family

_CHECKS = {"litert": ("LiteRT's GPU delegate", left_by_gpu), "onnx": ("ONNX Runtime Web's WebGPU", left_by_webgpu)}


def lines(bundle: Path) -> Iterator[str]:
    """A line per file that one of the lists is for.

    Raises:
        InputError: Not a bundle, or a changed file.
    """
    for artifact in open_bundle(bundle).artifacts:
        if family(artifact.runtime) in _CHECKS:
            who, left_by = _CHECKS[family(artifact.runtime)]
            left = left_by(bundle / artifact.file)
            words = ", ".join(f"{count} {name}" for name, count in sorted(left.items())) or "nothing"
            yield f"{artifact.file}: by its list of operators {who} leaves {words}"


if __name__ == "__main__":
    for line in lines(Path(sys.argv[1])):
        print(line)
