"""Operators of an .onnx and what they cost, by ONNX Runtime's profile.

ONNX Runtime times the nodes of its optimized graph. That graph is written out too, and each of its nodes is mapped back
to the nodes of the file between its inputs and its outputs.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from edgeseg.bench.operator_profile import WARMUP_CALLS, OperatorRun, Profile, Request, noise_image, repeat, typical
from edgeseg.export.runtimes import get_runtime, require_converter, require_runner

_TIME = "_kernel_time"


def profile(request: Request) -> Profile:
    """See `operator_profile.profile`."""
    runtime = get_runtime(request.runtime)
    require_runner(runtime)
    require_converter(runtime)  # reads the optimized graph
    import onnx
    import onnxruntime

    image = noise_image(request.image_size)
    with tempfile.TemporaryDirectory(prefix="edgeseg-onnx-") as folder:
        optimized = Path(folder, "optimized.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = request.threads
        options.log_severity_level = 3  # errors
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "profile"))
        options.optimized_model_filepath = str(optimized)
        session = onnxruntime.InferenceSession(str(request.path), options, providers=["CPUExecutionProvider"])
        calls, call_ms = repeat(lambda: session.run(None, {"image": image}), request.seconds)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        made_from = fused_nodes(onnx.load(str(request.path)).graph, onnx.load(str(optimized)).graph)
    return Profile(_runs(events, made_from), call_ms, len(calls) - WARMUP_CALLS, "ONNX Runtime's profile of its nodes")


def _runs(events: list[dict[str, Any]], made_from: dict[str, tuple[str, ...]]) -> tuple[OperatorRun, ...]:
    """Nodes in the order of their first event; dur is in µs."""
    nodes: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_TIME):
            nodes[event["name"].removesuffix(_TIME)].append(event)
    return tuple(
        OperatorRun(
            operator=seen[0]["args"]["op_name"],
            where=seen[0]["args"]["provider"],
            is_delegated=True,  # the provider asked for; it has no fallback below it
            ms=typical([event["dur"] for event in seen[WARMUP_CALLS:]]) / 1000,
            made_from=made_from.get(name, ()),
        )
        for name, seen in nodes.items()
    )


def fused_nodes(written: Any, optimized: Any) -> dict[str, tuple[str, ...]]:
    """Names of the optimized graph's nodes -> kinds of the file's nodes that each does the work of.

    Walks the file's graph from a node's outputs back to its inputs. Where the walk passes them and reaches the graph's
    input, the optimizer has renamed tensors; then its kind and its name tell what it came from, or nothing does.
    """
    producer = {output: node for node in written.node for output in node.output}
    kinds = {node.op_type for node in written.node}
    by_name = {node.name: node for node in written.node} | producer  # blocked nodes are named after their output
    inputs = {value.name for value in written.input}
    alias = {node.input[0]: node.output[0] for node in optimized.node if node.op_type == "ReorderOutput"}
    found: dict[str, tuple[str, ...]] = {}
    for node in optimized.node:
        if node.op_type in ("ReorderInput", "ReorderOutput"):  # between channel orders: no work of the file's
            alias.setdefault(node.output[0], alias.get(node.input[0], node.input[0]))
            found[node.name] = ()
            continue
        base = re.sub(r"^fused |/.*$|_token_\d+$|_nchwc$", "", node.name)  # what the optimizer's passes add
        border = {alias.get(name, name) for name in (*node.input, "")}
        if node.name.endswith("_nchwc"):
            alias.setdefault(node.output[0], _with_activation(node, base, written))
        ends = [name for name in (alias.get(output, output) for output in node.output) if name in producer]
        inside = [maker.op_type for maker in _between(ends, border, inputs, producer)]
        if not inside and base in by_name:
            inside = [by_name[base].op_type, *({node.op_type} & kinds - {by_name[base].op_type})]
        found[node.name] = tuple(sorted(inside))
    return found


def _with_activation(node: Any, tensor: str, written: Any) -> str:
    """The tensor of the file that a blocked convolution really ends with: behind the activation that it took in."""
    activation = next((attribute.s.decode() for attribute in node.attribute if attribute.name == "activation"), "")
    behind = (user.output[0] for user in written.node if user.op_type == activation and tensor in user.input)
    return next(behind, tensor)


def _between(ends: list[str], border: set[str], inputs: set[str], producer: dict[str, Any]) -> list[Any]:
    """Nodes on the way from `ends` back to `border`; none where the way leads past it."""
    inside: dict[str, Any] = {}
    todo = [name for name in ends if name not in border]
    while todo:
        tensor = todo.pop()
        if tensor in inputs:
            return []
        if (maker := producer.get(tensor)) is not None and maker.output[0] not in inside:
            inside[maker.output[0]] = maker
            todo += [name for name in maker.input if name not in border]
    return list(inside.values())
