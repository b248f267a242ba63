"""The report's proofs: each file's answer against torch's, and the ladder of `edgeseg verify`."""

from __future__ import annotations

from collections.abc import Sequence

from edgeseg.bench.report_data import ArtifactReport, Verdict
from edgeseg.bench.report_markup import bullets, escape, mark, num, row, section, signed, table
from edgeseg.export.proof import Quality, Rung, VerifyResult

_HEADS = ["artifact", "equal pixels", "judged by the floor", "floor", "segments", "logits apart", "scores apart", ""]


def verdicts(artifacts: Sequence[ArtifactReport]) -> str:
    """How each file's answers to the golden images compare with torch's, as the bundle records it."""
    judged = [_verdict(artifact.name, artifact.verdict) for artifact in artifacts if artifact.verdict]
    if not judged:
        return ""
    note = (
        "Share of equal pixels over the golden images, against the torch model of the same precision. The floor is "
        "for all images in float32, for their lower quartile else: in a rare one a nearly tied segment tips over. "
        "Pixels of two slots that torch itself can hardly tell apart count as equal there."
    )
    heads = [*_HEADS, "judged by"]
    return section("Same answer as torch", note, [table(heads, judged, left=1, last_left=True)])


def ladder(proof: VerifyResult | None) -> str:
    """The rungs of `edgeseg verify`, what failed with its diagnosis, and each file's quality beside torch's."""
    if proof is None:
        return ""
    parts = [table(["rung", "", "found"], [_rung(rung) for rung in proof.rungs], left=3)]
    for artifact in proof.artifacts:
        if artifact.diagnosis:
            parts.append(f'<p><b class="bad">{escape(artifact.diagnosis.fault)}</b> in {escape(artifact.file)}: ')
            parts.append(f"{escape(artifact.diagnosis.sentence)}</p>")
    if proof.quality:
        heads = ["file", "precision", "images", "PQ", "SQ", "RQ", "from torch's, points", "at most", ""]
        parts.append(table(heads, [_quality(line) for line in proof.quality], left=2))
    note = f"edgeseg verify {proof.bundle}: files, golden answers, artifacts through their runtimes, quality."
    return section("Ladder of proofs", note, parts)


def _verdict(name: str, verdict: Verdict) -> str:
    shares = [verdict.equal_pixels, verdict.judged, verdict.floor, verdict.segments_found]
    digits = (3, 3, 1, 2)
    texts = ["–" if share is None else f"{share:.{n}%}" for share, n in zip(shares, digits, strict=True)]
    apart = (verdict.mask_logits_max_abs, verdict.scores_median_abs)
    texts += ["–" if value is None else f"{value:.2g}" for value in apart]
    numbers = "".join(map(num, texts)) + num(mark(verdict.passed))
    return f"<tr><td>{escape(name)}</td>{numbers}<td class='wrap'>{escape(verdict.judged_by)}</td></tr>"


def _rung(rung: Rung) -> str:
    found = f"<td class='wrap'>{escape(rung.statement)}{bullets(rung.problems)}</td>"
    return f"<tr><td>{escape(rung.name)}</td><td>{mark(rung.passed, unknown='not climbed')}</td>{found}</tr>"


def _quality(line: Quality) -> str:
    shares = [f"{100 * share:.2f}" for share in (line.pq, line.sq, line.rq)]
    apart = "–" if line.difference_points is None else signed(line.difference_points)
    limit = "–" if line.floor_points is None else f"{line.floor_points:g}"
    texts = [str(line.num_images), *shares, apart, limit]
    verdict = mark(None if line.difference_points is None else not line.is_below_floor)
    return row((line.file, line.precision), texts).replace("</tr>", f"{num(verdict)}</tr>")
