"""What is in a bundle, for people who have to choose a file of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeseg.export.bundle import Bundle, file_problems, map_size, parse_bundle, read_description, size_bytes
from edgeseg.export.runtimes import in_words


def inspect_bundle(path: Path) -> dict[str, Any]:
    """Everything that bundle.json says, and whether the files are still those that were exported.

    Nothing of the bundle is run, and torch is not needed.

    Args:
        path: NAME.edgeseg.

    Returns:
        The document of `edgeseg inspect --json`; `failed` names the files that are missing, truncated or changed.

    Raises:
        InputError: Not a bundle, of another schema, or it lists a file outside.
    """
    table = read_description(path)
    bundle = parse_bundle(table, path)
    problems = file_problems(table, path)
    document = {
        "bundle": str(path),
        "schema_version": table["schema_version"],
        "name": bundle.name,
        "image_size": list(bundle.image_size),
        "map_size": list(map_size(bundle)),
        "num_slots": bundle.num_slots,
        "bytes": size_bytes(path),
        "categories": [asdict(category) for category in bundle.categories],
        "merge": asdict(bundle.merge),
        "artifacts": [
            asdict(artifact) | {"runs_on": in_words(artifact.coverage), "problem": problems[artifact.file]}
            for artifact in bundle.artifacts
        ],
        "golden": {"images": len(bundle.goldens), "precisions": _golden_precisions(bundle)},
        "metrics": dict(bundle.metrics),
        "provenance": dict(bundle.provenance),
        "tools": dict(bundle.tools),
        "licence": bundle.licence,
        "files": problems,
    }
    wrong = [f"{file} {problem}" for file, problem in problems.items() if problem]
    return document | ({"failed": f"{path}: {'; '.join(wrong)}; export the bundle again"} if wrong else {})


def _golden_precisions(bundle: Bundle) -> list[str]:
    """Precisions that every golden image has an answer in."""
    answered = [set(golden.answers) for golden in bundle.goldens]
    return sorted(set.intersection(*answered)) if answered else []
