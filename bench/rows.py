"""A measurement as one row of what `edgeseg bench` prints: numbers without the raw samples."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edgeseg.bench.measurement import Device, Measurement


def row(address: str, measurement: Measurement) -> dict[str, Any]:
    """The row of `--json`."""
    latency, agreement = measurement.latency, measurement.agreement
    sustained = measurement.first_and_last_minute_ms
    return {
        "on": address,
        "artifact": measurement.artifact,
        "runtime": measurement.runtime_version or measurement.runtime,
        "runner": measurement.runner,
        "precision": measurement.precision,
        "merge": measurement.merge,
        "threads": measurement.threads,
        **(asdict(latency) if latency else {"not_timed": measurement.not_timed}),
        "load_ms": measurement.median_load_ms,
        "peak_mib": measurement.peak_mib if latency else None,
        "rss_delta_mib": measurement.rss_delta_mib if latency else None,
        "runs": len(measurement.samples_ms),
        "is_settled": measurement.is_settled,
        "spread": measurement.spread,
        "is_steady": measurement.is_steady,
        "overhead_fraction": measurement.overhead_fraction,
        "accelerator": measurement.accelerator,
        "cpus": list(measurement.cpus),
        "split": asdict(measurement.split) if measurement.split else None,
        "first_and_last_minute_ms": list(sustained) if sustained else None,
        "is_cool": measurement.is_cool,
        "emulated": measurement.emulated,
        "agreement": asdict(agreement) if agreement else None,
        "unfit": list(measurement.unfit),
    }


def device_row(address: str, device: Device, emulated: str) -> dict[str, Any]:
    """A device as `edgeseg bench` names it above its rows."""
    return {"on": address, **asdict(device), "emulated": emulated}
