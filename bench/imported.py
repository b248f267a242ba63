"""Results of other people's benchmark tools, kept apart from ours: `edgeseg bench import FILE`.

Their tools keep a summary and no samples, and say nothing of the device's state, so that a line of imported.jsonl is
another record than a measurement, and says so.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgeseg.bench.foreign_results import Summary, parse_results
from edgeseg.config import config_from_dict
from edgeseg.export.bundle import checksum
from edgeseg.structures import InputError

SCHEMA = 1
"""Version of the record; readers refuse another."""


@dataclass(frozen=True)
class Imported:
    """A result of another tool; it stands in tables marked, and never among measurements.

    Attributes:
        name: What the reader calls it: `--as`, or the model file's name.
        file: Name of the file it was read from.
        sha256: Of that file.
        time_utc: When it was imported, ISO 8601; the tools write no time.
        summary: The tool's own numbers.
        imported: True: not measured by edgeseg's protocol.
        schema: Version of this record.
    """

    name: str
    file: str
    sha256: str
    time_utc: str
    summary: Summary
    imported: bool = True
    schema: int = SCHEMA


def import_to_file(path: Path, name: str | None, out: Path) -> dict[str, Any]:
    """Reads one result file and adds what it holds to a file of imported results.

    Args:
        path: What another tool wrote.
        name: What to call it; the model file's name by default. Of several results it stands before the model's.
        out: JSON lines file, made if missing.

    Returns:
        The file and the rows.

    Raises:
        InputError: None of the known results, no name in it and none given, a name that is there already, or `out`
            holds something else.
    """
    earlier = read_imported(out) if out.exists() else []
    now = datetime.now(UTC).isoformat(timespec="seconds")
    summaries = parse_results(path)
    rows = [Imported(_called(row, name, len(summaries)), path.name, checksum(path), now, row) for row in summaries]
    names = [row.name for row in earlier]
    for row in rows:
        if not row.name:
            raise InputError(f"{path} does not name its model; give it a name: edgeseg bench import {path} --as NAME")
        if row.name in names:
            raise InputError(f"{out} holds a result called {row.name!r} already; give another name with --as NAME")
        names.append(row.name)
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(out.name + ".part")
    with aside.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(row)) + "\n" for row in [*earlier, *rows])
        file.flush()
        os.fsync(file.fileno())
    aside.replace(out)
    return {"out": str(out), "imported": [asdict(row) for row in rows]}


def _called(summary: Summary, name: str | None, num_results: int) -> str:
    model = Path(summary.model).name
    return f"{name} {model}" if name and num_results > 1 else name or model


def read_imported(path: Path) -> list[Imported]:
    """Reads what `import_to_file` wrote.

    Raises:
        InputError: Missing, not JSON lines, another schema, an unknown or misshapen field.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; write it with: edgeseg bench import FILE")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{path}:{number}"
        try:
            table = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{where} is not JSON: {error}; import again with: edgeseg bench import FILE") from error
        if not isinstance(table, dict) or (table.get("schema"), table.get("imported")) != (SCHEMA, True):
            raise InputError(f"{where}: an imported result of schema {SCHEMA} wanted; edgeseg bench import FILE")
        try:
            rows.append(config_from_dict(Imported, table, where=where))
        except TypeError as error:
            raise InputError(f"{where}: {str(error).removeprefix('Imported.__init__() ')}; import again") from error
    return rows
