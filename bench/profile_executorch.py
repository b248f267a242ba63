"""Operators of a .pte and what they cost, by ExecuTorch's event tracer.

The wheel is built with EXECUTORCH_ENABLE_EVENT_TRACER and with XNNPACK's own profile: an ETDump holds one event per
kernel, one per delegate call, and one per operator inside the delegate (in whole microseconds). The dump is read event
by event, as the devtools' Inspector merges operators of several delegates that have the same name.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgeseg.bench.operator_profile import (
    HAND_OVER,
    WARMUP_CALLS,
    OperatorRun,
    Profile,
    Request,
    kind,
    noise_image,
    repeat,
    typical_runs,
)
from edgeseg.export.captured import silenced
from edgeseg.export.runtimes import get_runtime, require_runner
from edgeseg.structures import CheckError

_KERNELS = "ExecuTorch kernels"


def profile(request: Request) -> Profile:
    """See `operator_profile.profile`."""
    runtime = get_runtime(request.runtime)
    require_runner(runtime)
    with silenced():  # the C++ side reports on the CPU
        import torch
        from executorch.devtools.etdump.serialize import deserialize_from_etdump_flatcc
        from executorch.extension.pybindings import portable_lib

        if portable_lib._threadpool_get_thread_count() != request.threads:
            portable_lib._unsafe_reset_threadpool(request.threads)
        module = portable_lib._load_for_executorch(str(request.path), enable_etdump=True)
    inputs = [torch.from_numpy(noise_image(request.image_size))]
    _, call_ms = repeat(lambda: module.forward(inputs), request.seconds)
    with tempfile.TemporaryDirectory(prefix="edgeseg-etdump-") as folder:
        dump = Path(folder, "trace.etdp")
        if module.has_etdump():
            module.write_etdump_result_to_file(str(dump))
        content = dump.read_bytes() if dump.exists() else b""
    if not content:
        raise CheckError("this ExecuTorch has no event tracer; build it with EXECUTORCH_ENABLE_EVENT_TRACER=ON")
    blocks = deserialize_from_etdump_flatcc(content).run_data
    calls = [[event.profile_event for event in block.events] for block in blocks if block.name == "Execute"]
    delegate = runtime.describe(request.path).delegate
    runs = [list(read_events(call, delegate)) for call in calls[WARMUP_CALLS:]]
    return Profile(typical_runs(runs), call_ms, len(runs), "ExecuTorch's event tracer (ETDump) with XNNPACK's profile")


def read_events(events: Sequence[Any], delegate: str) -> Iterator[OperatorRun]:
    """One call's events, in order -> its operators.

    Args:
        events: ETDump's ProfileEvents, times in ns. A kernel's `native_call_NAME` comes before its OPERATOR_CALL, the
            operators inside a delegate before their DELEGATE_CALL.
        delegate: Name of the delegate.
    """
    kernel, inside_ms = "", 0.0
    for event in (event for event in events if event is not None):
        ms = (event.end_time - event.start_time) / 1e6
        if event.delegate_debug_id_str:
            inside_ms += ms
            yield OperatorRun(kind(event.delegate_debug_id_str), delegate, True, ms)
        elif event.name.startswith("native_call_"):
            kernel = event.name.removeprefix("native_call_").split(".")[0]
        elif event.name == "OPERATOR_CALL":
            yield OperatorRun(kernel, _KERNELS, False, ms)
        elif event.name == "DELEGATE_CALL":
            yield OperatorRun(HAND_OVER, delegate, True, max(ms - inside_ms, 0.0))
            inside_ms = 0.0
