"""How the benchmarks that are called as modules refuse: as the command line does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeseg.structures import CheckError, InputError


@contextmanager
def refusals() -> Iterator[None]:
    """InputError becomes a line on standard error and exit code 2, CheckError a line and exit code 1."""
    try:
        yield
    except (InputError, CheckError) as error:
        script = Path(sys.argv[0])
        print(f"{script.parent.name if script.stem == '__main__' else script.stem}: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
