"""Operators of a .tflite and what they cost, by the profiler of LiteRT's C API.

The Python package has no profiler, the libLiteRt.so inside it has: a compiled model made with `enable_profiling`
records an event per operator, and per operator inside the XNNPACK delegate (in whole microseconds). Declarations follow
litert/c/*.h of google-ai-edge/LiteRT at 2.3, whose ABI has changed before: an older package is refused.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from ctypes import byref, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any

from edgeseg.bench.operator_profile import (
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
from edgeseg.structures import CheckError, InputError

_LEAST_VERSION = (2, 3)
_LIBRARIES = ("libLiteRt.so", "libLiteRt.dylib", "libLiteRt.dll")
_CPU = 1  # kLiteRtHwAcceleratorCpu
_WRITE = 1  # kLiteRtTensorBufferLockModeWrite
_OPERATOR, _INSIDE_DELEGATE = 1 << 1, (1 << 2) | (1 << 3)  # LiteRtProfilerEventType
_DESTROY_PAYLOAD = ctypes.CFUNCTYPE(None, c_void_p)(lambda payload: None)  # options keep no memory of their own


class _Layout(ctypes.Structure):
    _fields_ = (("rank", c_uint32), ("dimensions", c_int32 * 8), ("strides", c_uint32 * 8))


class _TensorType(ctypes.Structure):
    _fields_ = (("element_type", c_int), ("layout", _Layout))


class _Event(ctypes.Structure):
    _fields_ = (
        ("tag", ctypes.c_char_p),
        ("type", c_int),
        ("start_us", c_uint64),
        ("elapsed_us", c_uint64),
        ("memory", c_int64 * 6),
        ("metadata", c_uint64 * 2),
        ("source", c_int),
    )


def profile(request: Request) -> Profile:
    """See `operator_profile.profile`."""
    runtime = get_runtime(request.runtime)
    model = _ProfiledModel(_library(require_runner(runtime)), request)
    calls, call_ms = repeat(model.call, request.seconds)
    delegate = runtime.describe(request.path).delegate
    runs = [read_events(call, delegate) for call in calls[WARMUP_CALLS:]]
    return Profile(typical_runs(runs), call_ms, len(runs), "LiteRT's profiler with XNNPACK's profile")


def read_events(events: Sequence[tuple[str, int, int]], delegate: str) -> list[OperatorRun]:
    """(tag, type, µs) of one call's events -> its operators; events of the runtime itself are left out."""
    runs = []
    for tag, event_type, elapsed_us in events:
        if event_type & _INSIDE_DELEGATE:
            runs.append(OperatorRun(kind(tag), delegate, True, elapsed_us / 1000))
        elif event_type == _OPERATOR:
            runs.append(OperatorRun(tag, "LiteRT kernels", False, elapsed_us / 1000))
    return runs


def _library(package: str) -> Callable[..., None]:
    """Calls a function of the C API by its name; a status that is not 0 raises CheckError."""
    name = package.replace("_", "-")
    version = importlib.metadata.version(name)
    spec = importlib.util.find_spec(package)
    assert spec is not None
    folder = Path((spec.submodule_search_locations or [""])[0])
    files = [folder / file for file in _LIBRARIES if (folder / file).is_file()]
    if not files or tuple(int(part) for part in version.split(".")[:2]) < _LEAST_VERSION:
        wanted = ".".join(map(str, _LEAST_VERSION))
        raise InputError(f"{name} {version} has no profiler that edgeseg knows; pip install 'ai-edge-litert>={wanted}'")
    library = ctypes.CDLL(str(files[0]))

    def call(function: str, *arguments: Any) -> None:
        status = getattr(library, f"LiteRt{function}")(*arguments)
        if status != 0:
            raise CheckError(f"LiteRt{function} of {name} {version} failed with status {status}")

    return call


class _ProfiledModel:
    """A compiled model on the CPU with its profiler and buffers, held until the process ends."""

    def __init__(self, call: Callable[..., None], request: Request) -> None:
        self._call = call
        self._environment, self._model, self._compiled, self._profiler, options = (c_void_p() for _ in range(5))
        with silenced():  # it reports on the accelerators that it does not find
            call("CreateEnvironment", 0, None, byref(self._environment))
            call("CreateModelFromFile", self._environment, str(request.path).encode(), byref(self._model))
            call("CreateOptions", byref(options))
            call("SetOptionsHardwareAccelerators", options, _CPU)
            self._texts = [
                self._add_options(options, "runtime_options_string", "enable_profiling = true\n"),
                self._add_options(options, "xnnpack", f"num_threads = {request.threads}\n"),
            ]
            call("CreateCompiledModel", self._environment, self._model, options, byref(self._compiled))
        call("CompiledModelGetProfiler", self._compiled, byref(self._profiler))
        self._signature = c_void_p()
        call("GetModelSignature", self._model, c_size_t(0), byref(self._signature))
        self._inputs, self._outputs = self._buffers("Input"), self._buffers("Output")
        image, address = noise_image(request.image_size), c_void_p()
        call("LockTensorBuffer", c_void_p(self._inputs[0]), byref(address), _WRITE)
        ctypes.memmove(address, image.ctypes.data, image.nbytes)
        call("UnlockTensorBuffer", c_void_p(self._inputs[0]))

    def call(self) -> list[tuple[str, int, int]]:
        """Runs once; tag, type and µs of its events, in order."""
        self._call("ResetProfiler", self._profiler)
        self._call("StartProfiler", self._profiler)
        arguments = (len(self._inputs), self._inputs, len(self._outputs), self._outputs)
        self._call("RunCompiledModel", self._compiled, c_size_t(0), *map(_sized, arguments))
        self._call("StopProfiler", self._profiler)
        count = c_int()
        self._call("GetNumProfilerEvents", self._profiler, byref(count))
        events = (_Event * count.value)()
        self._call("GetProfilerEvents", self._profiler, count.value, events)
        return [(event.tag.decode(), event.type, event.elapsed_us) for event in events]

    def _add_options(self, options: c_void_p, kind_of_options: str, text: str) -> tuple[bytes, Any]:
        """Adds options as LiteRT keeps them, a TOML text; what is returned must live as long as the model."""
        name, payload, opaque = kind_of_options.encode(), ctypes.create_string_buffer(text.encode()), c_void_p()
        self._call("CreateOpaqueOptions", name, payload, _DESTROY_PAYLOAD, byref(opaque))
        self._call("AddOpaqueOptions", options, opaque)
        return name, payload

    def _buffers(self, side: str) -> Any:
        """One tensor buffer per input or output of the first signature, as an array of handles."""
        count = c_size_t()
        self._call(f"GetNumSignature{side}s", self._signature, byref(count))
        buffers = (c_void_p * count.value)()
        for index in range(count.value):
            tensor, needs, buffer, tensor_type = c_void_p(), c_void_p(), c_void_p(), _TensorType()
            place = c_size_t(index)
            self._call(f"GetSignature{side}TensorByIndex", self._signature, place, byref(tensor))
            self._call("GetRankedTensorType", tensor, byref(tensor_type))
            self._call(f"GetCompiledModel{side}BufferRequirements", self._compiled, c_size_t(0), place, byref(needs))
            self._call(
                "CreateManagedTensorBufferFromRequirements", self._environment, byref(tensor_type), needs, byref(buffer)
            )
            buffers[index] = buffer
        return buffers


def _sized(argument: Any) -> Any:
    return c_size_t(argument) if isinstance(argument, int) else argument
