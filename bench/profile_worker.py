"""One process that profiles one artifact: python -m edgeseg.bench.profile_worker REQUEST RESULT, both JSON files."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from edgeseg.bench.operator_profile import Profile, Request, profile
from edgeseg.structures import CheckError

_TIMEOUT_SECONDS = 600


def profile_apart(request: Request) -> Profile:
    """Profiles in a fresh process: a runtime's thread pool and memory are one for the process.

    Raises:
        CheckError: The process died or found no profiler; its last words are in the message.
    """
    with tempfile.TemporaryDirectory(prefix="edgeseg-coverage-") as folder:
        asked, answered = Path(folder, "request.json"), Path(folder, "result.json")
        asked.write_bytes(msgspec.json.encode(request, enc_hook=str))
        try:
            done = subprocess.run(
                [sys.executable, "-m", "edgeseg.bench.profile_worker", str(asked), str(answered)],
                capture_output=True,
                text=True,
                errors="replace",
                env=os.environ | {"OMP_NUM_THREADS": str(request.threads)},
                timeout=_TIMEOUT_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise CheckError(f"profiling {request.path} took more than {_TIMEOUT_SECONDS} s; is it stuck?") from error
        if done.returncode or not answered.is_file():
            words = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise CheckError(
                f"profiling {request.path} with {request.runtime} failed (exit {done.returncode}): {words}"
            )
        return msgspec.json.decode(answered.read_bytes(), type=Profile)


def _main(request_path: str, result_path: str) -> None:
    request = msgspec.json.decode(Path(request_path).read_bytes(), type=Request, dec_hook=lambda kind, text: kind(text))
    Path(result_path).write_bytes(msgspec.json.encode(profile(request)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
