"""Results as tables for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeseg.readable_bench import bench_table, compare_table, devices_table, report_table
from edgeseg.readable_bundle import export_table, inspect_table
from edgeseg.readable_coverage import coverage_table
from edgeseg.readable_models import latency_table, models_table, shipped_table
from edgeseg.readable_train import ablation_table, pseudo_label_table
from edgeseg.readable_verify import verify_table


def quality_table(result: dict[str, Any]) -> str:
    """PQ, SQ, RQ in percent: all, things, stuff, then each category; then what else was asked for."""
    lines = [*_quality_lines(result), ""] if "all" in result else []
    for id_, row in result.get("per_category", {}).items():
        lines.append(f"{row['name'] + ' (' + id_ + ')':<24}{_percent(row)}{row['tp'] + row['fn']:>6}")
    for name, extra in result.items():
        if name in _EXTRA_LINES:
            lines += ["", *_EXTRA_LINES[name](extra)]
    if beyond := result.get("segments_beyond_slots"):
        lines += ["", f"{beyond} true segments are more than the network has slots for"]
    return "\n".join(lines)


def _quality_lines(result: dict[str, Any], title: str = "") -> list[str]:
    lines = [f"{title:<24}{'PQ':>7}{'SQ':>7}{'RQ':>7}{'n':>6}"]
    return lines + [
        f"{group:<24}{_percent(result[group])}{result[group]['n']:>6}" for group in ("all", "things", "stuff")
    ]


def _size_lines(sizes: dict[str, Any]) -> list[str]:
    return [line for size, groups in sizes.items() for line in _quality_lines(groups, f"{size} segments")]


def _covering_lines(result: dict[str, Any]) -> list[str]:
    values = ", ".join(f"{group} {100 * result[group]['pc']:.1f}" for group in ("all", "things", "stuff"))
    return [f"Parsing Covering: {values}"]


def _iou_lines(result: dict[str, Any]) -> list[str]:
    return [
        f"mIoU {100 * result['miou']:.1f} over {result['n']} categories, "
        f"{100 * result['pixel_accuracy']:.1f} % of the pixels right"
    ]


def _precision_lines(result: dict[str, Any]) -> list[str]:
    keys = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
    values = ", ".join(f"{key} {100 * result[key]:.1f}" for key in keys)
    return [f"mask AP over {result['n']} things: {values}"]


def _confusion_lines(result: dict[str, Any]) -> list[str]:
    def name(id_: int | None) -> str:
        return "nothing" if id_ is None else str(result["names"][str(id_)])

    wrong = [cell for cell in result["cells"] if cell["gt"] != cell["pred"]][:_LONGEST_LIST]
    return ["what is taken for what, most frequent first (segments, share of the truth's)"] + [
        f"{name(cell['gt']):>24} -> {name(cell['pred']):<24}{cell['segments']:>6}{100 * cell['share']:>7.1f} %"
        for cell in wrong
    ]


def _worst_lines(result: dict[str, Any]) -> list[str]:
    return ["worst images (PQ; found, false, missed)"] + [
        f"{row['image_id']!s:>24}{100 * row['pq']:>7.1f}{row['tp']:>6}{row['fp']:>6}{row['fn']:>6}"
        for row in result["images"]
    ]


def train_table(result: dict[str, Any]) -> str:
    """Where the run is, and its last evaluation."""
    state = "interrupted" if result["interrupted"] else "done"
    lines = [
        f"{state} at step {result['step']} after {result['seconds']:.0f} s of training; checkpoints in {result['out']}"
    ]
    return "\n".join(lines + ([quality_table(result["metrics"])] if result["metrics"] else []))


def predict_table(result: dict[str, Any]) -> str:
    """What was found in each photo."""
    lines = []
    for photo in result["images"]:
        found = ", ".join(f"{count} {name}" for name, count in photo["segments"].items()) or "nothing"
        lines.append(f"{photo['image']} -> {photo['overlay']}: {found}")
    return "\n".join([*lines, f"COCO panoptic JSON: {result['panoptic_json']}"])


def quantize_table(result: dict[str, Any]) -> str:
    """What quantizing did, or what each layer would lose."""
    if "layers" not in result:
        quality = result["metrics"]["all"]["pq"]
        share = f"{100 * result['integer_weight_share']:.1f} % of the parameters integer"
        return f"{result['out']}: {share}, PQ {100 * quality:.1f}, kept step {result['kept_step']} of {result['steps']}"
    lines = [f"{'layer':<44}{'weights':>9}{'bits':>6}{'SQNR dB':>9}{'nats':>9}{'PQ lost':>9}"]
    for row in result["layers"]:
        lost = "" if row["pq_drop"] is None else f"{row['pq_drop']:.2f}"
        numbers = f"{row['weights']:>9}{row['bits']:>6g}{row['sqnr_db']:>9.1f}{row['divergence']:>9.4f}{lost:>9}"
        lines.append(f"{row['layer']:<44}{numbers}")
    if "plot" in result:
        lines.append(f"chart: {result['plot']}")
    if "recipe_file" in result:
        lost = "" if result["pq_drop"] is None else f"; it loses {result['pq_drop']:.2f} points before training"
        lines.append(f"{result['recipe_file']}: 8 bits for {result['spared']} layers{lost}")
    return "\n".join(lines)


def _stq_lines(result: dict[str, Any]) -> list[str]:
    def line(row: dict[str, Any]) -> str:
        values = f"STQ {100 * row['stq']:.1f} (AQ {100 * row['aq']:.1f}, SQ {100 * row['sq']:.1f})"
        return f"{values} over {row['num_tracks']} tracks in {row['num_frames']} frames"

    sequences = list(result["per_sequence"].items())
    lines = [f"  {name}: {line(row)}" for name, row in sequences[:_LONGEST_LIST]]
    return [f"{line(result)} of {len(sequences)} sequences", *lines]


def _vpq_lines(result: dict[str, Any]) -> list[str]:
    windows = ", ".join(
        f"{length} frame{'s' if length != '1' else ''} {100 * row['all']['pq']:.1f}"
        for length, row in result["per_window"].items()
    )
    return [
        f"VPQ {100 * result['vpq']:.1f} (things {100 * result['things']:.1f}, stuff {100 * result['stuff']:.1f}), "
        f"by window: {windows}"
    ]


def check_table(result: dict[str, Any]) -> str:
    """Splits, then each code with its count and its worst finding; then what a repair left."""
    lines = [f"{result['data']}: {_split_sizes(result)}", *_code_lines(result)]
    lines.append(f"{_verdict(result)}; pictures in {result['page']}")
    fixable = [code for code, row in result["codes"].items() if row["fix"]]
    if "fix" not in result:
        if fixable:
            lines.append(f"--fix NEW repairs what is mechanical of {', '.join(fixable)} in a new folder")
        return "\n".join(lines)
    left = result["fix"]["left"]
    repaired = ", ".join(f"{count} {code}" for code, count in result["fix"]["repaired"].items()) or "nothing"
    return "\n".join([*lines, "", f"{result['fix']['out']}: repaired {repaired}", *_code_lines(left), _verdict(left)])


def _split_sizes(result: dict[str, Any]) -> str:
    splits = [f"{row['name']} {row['num_images']} images, {row['num_segments']} segments" for row in result["splits"]]
    return "; ".join(splits) or "no split can be read"


def _verdict(result: dict[str, Any]) -> str:
    counts = {"error": result["num_errors"], "warning": result["num_warnings"]}
    return f"{result['verdict']}: " + ", ".join(f"{n} {what}{'s' * (n != 1)}" for what, n in counts.items())


def _code_lines(result: dict[str, Any]) -> list[str]:
    lines = []
    for severity in ("error", "warning"):
        for code, row in result["codes"].items():
            if row["severity"] == severity:
                worst = next(finding for finding in result["findings"] if finding["code"] == code)
                segment = f" segment {worst['segment']}" if worst["segment"] is not None else ""
                place = f"{worst['file']}{segment}".strip()
                lines.append(f"  {severity:<8}{code:<26}{row['count']:>7}  {place}{place and ': '}{worst['value']}")
    return lines


def convert_table(result: dict[str, Any]) -> str:
    """What was written, and what got lost on the way."""
    images = ", ".join(f"{count} {split}" for split, count in result["images"].items())
    lines = [
        f"{result['from']} -> {result['out']}: {images}; {result['segments']} segments of {result['categories']} "
        f"categories, {100 * result['void_share']:.1f} % void"
    ]
    if result["hidden"]:
        lines.append(f"{result['hidden']} segments are covered completely by others: left out")
    if result["empty"]:
        lines.append(f"{result['empty']} shapes are thinner than the pixel grid: left out")
    if result["turned"]:
        lines.append(f"{result['turned']} photos were turned as their EXIF orientation says, and written anew")
    return "\n".join(lines + result["notes"])


def split_table(result: dict[str, Any]) -> str:
    """Images and groups of each split, then the images that show each category."""
    splits = list(result["splits"])
    lines = [f"{result['out']}", f"{'':<24}" + "".join(f"{split:>9}" for split in splits)]
    for key in ("images", "groups"):
        lines.append(f"{key:<24}" + "".join(f"{result['splits'][split][key]:>9}" for split in splits))
    lines += ["", "images that show"]
    for name, row in result["images_with_category"].items():
        missing = [split for split in splits if not row[split]]
        note = f"   none in {', '.join(missing)}" if missing else ""
        lines.append(f"{name:<24}" + "".join(f"{row[split]:>9}" for split in splits) + note)
    return "\n".join(lines)


def stats_table(result: dict[str, Any]) -> str:
    """Each split: images, void, then categories with bars of their share of the pixels."""
    return "\n\n".join(_split_stats(name, row) for name, row in result["splits"].items())


def _split_stats(name: str, row: dict[str, Any]) -> str:
    def span(values: dict[str, Any], digits: int = 0, factor: float = 1) -> str:
        low, middle, high = (factor * values[key] for key in ("min", "p50", "max"))
        return f"{middle:.{digits}f} ({low:.{digits}f} .. {high:.{digits}f})"

    lines = [
        f"{name}: {row['images']} images, {row['segments']} segments ({row['crowds']} crowds), "
        f"{100 * row['void_share']:.1f} % void",
        f"  median (smallest .. largest) of an image: height {span(row['height'])}, width {span(row['width'])}, "
        f"segments {span(row['segments_per_image'])}, void {span(row['void_share_per_image'], 1, 100)} %",
        f"  {'':<22}{'':<7}{'images':>9}{'segments':>10}{'side p5':>9}{'p50':>7}{'p95':>7}{'pixels':>9}",
    ]
    largest = max((c["pixel_share"] for c in row["per_category"].values()), default=0) or 1
    for category in sorted(row["per_category"].values(), key=lambda c: (not c["is_thing"], -c["pixel_share"])):
        sides = [category["area"][key] for key in ("p5", "p50", "p95")]
        texts = ["-" if side is None else f"{side**0.5:.0f}" for side in sides]
        bar = "█" * round(20 * category["pixel_share"] / largest)
        lines.append(
            f"  {category['name'][:21]:<22}{'thing' if category['is_thing'] else 'stuff':<7}{category['images']:>9}"
            f"{category['segments']:>10}{texts[0]:>9}{texts[1]:>7}{texts[2]:>7}"
            f"{100 * category['pixel_share']:>7.2f} % {bar}"
        )
    return "\n".join([*lines, "  side: root of a segment's pixels"])


def show_table(result: dict[str, Any]) -> str:
    """Where the pictures are."""
    return f"{result['num']} photos on {', '.join(result['sheets'])}"


def _percent(row: dict[str, Any]) -> str:
    return "".join(f"{100 * row[key]:>7.1f}" for key in ("pq", "sq", "rq"))


_LONGEST_LIST = 20
_EXTRA_LINES: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "pq_by_size": _size_lines,
    "pc": _covering_lines,
    "miou": _iou_lines,
    "ap": _precision_lines,
    "boundary_pq": lambda result: _quality_lines(result, "by boundaries"),
    "confusion": _confusion_lines,
    "worst": _worst_lines,
    "stq": _stq_lines,
    "vpq": _vpq_lines,
}

TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "export": export_table,
    "inspect": inspect_table,
    "verify": verify_table,
    "coverage": coverage_table,
    "bench": bench_table,
    "bench compare": compare_table,
    "bench report": report_table,
    "devices": devices_table,
    "eval": quality_table,
    "train": train_table,
    "ablate": ablation_table,
    "pseudo-label": pseudo_label_table,
    "predict": predict_table,
    "models": models_table,
    "quantize": quantize_table,
    "models list": shipped_table,
    "models table": latency_table,
    "data check": check_table,
    "data convert": convert_table,
    "data split": split_table,
    "data stats": stats_table,
    "data show": show_table,
}
