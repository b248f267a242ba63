"""Stands in for `xcrun` and `xcodebuild`: answers as their documentation says, and writes down what it was asked.

EDGESEG_FAKE is a folder with `asked.jsonl`, to which every call is added, `plan.json` with what shall go wrong, and
`line.jsonl`, what the tests on the phone attach.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
fake = Path(os.environ["EDGESEG_FAKE"])
plan = json.loads((fake / "plan.json").read_text())
name, words = Path(sys.argv[0]).name, sys.argv[1:]
with (fake / "asked.jsonl").open("a") as file:
    file.write(json.dumps([name, *words]) + "\n")


def after(option: str) -> str:
    return words[words.index(option) + 1]


def answer(table: object, *, code: int = 0) -> None:
    Path(after("--json-output")).write_text(json.dumps(table))
    sys.exit(code)


if plan.get("hang") in words:
    time.sleep(60)
if name == "xcodebuild":
    if "build_log" in plan:
        print((HERE / plan["build_log"]).read_text())
        sys.exit(65)
    project = Path(after("-project")).parent
    seen = {
        "bundle": (project / "EdgeSeg/Resources/bundle.edgeseg/bundle.json").is_file(),
        "seconds": os.environ.get("TEST_RUNNER_EDGESEG_SECONDS"),
        "rounds": os.environ.get("TEST_RUNNER_EDGESEG_ROUNDS"),
    }
    (fake / "seen.json").write_text(json.dumps(seen))
    Path(after("-resultBundlePath")).mkdir()
    print("** TEST SUCCEEDED **")
elif words[:3] == ["xcresulttool", "export", "attachments"]:
    folder = Path(after("--output-path"))
    folder.mkdir()
    shutil.copy(fake / "line.jsonl", folder / "0A1B.jsonl")
    shutil.copy(fake / "line.jsonl", folder / "other.txt")
    rows = [
        {"exportedFileName": "other.txt", "suggestedHumanReadableName": "Debug description_0_0A1B.txt"},
        {
            "exportedFileName": "0A1B.jsonl",
            "suggestedHumanReadableName": "measurements_0_5B4C4E0B-0000-4000-8000-000000000001.jsonl",
            "isAssociatedWithFailure": False,
        },
    ]
    tests = [{"testIdentifier": "BenchmarkTests/testMeasurements()", "attachments": rows}]
    (folder / "manifest.json").write_text(json.dumps(tests))
elif words[:3] == ["devicectl", "list", "devices"]:
    if "list" in plan:
        answer(json.loads((HERE / plan["list"]).read_text()), code=1)
    answer(json.loads((HERE / "devices.json").read_text()))
elif words[:4] == ["devicectl", "device", "info", "apps"]:
    apps = [{"bundleIdentifier": after("--bundle-id"), "name": "EdgeSeg"}] if plan.get("installed") else []
    answer({"info": {"outcome": "success"}, "result": {"apps": apps}})
elif words[:4] == ["devicectl", "device", "uninstall", "app"]:
    answer({"info": {"outcome": "success"}, "result": {}})
else:
    sys.exit(f"nobody said what {name} {words} answers")
