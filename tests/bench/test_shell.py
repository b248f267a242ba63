"""The way to a device: real clients, a real sshd on the loopback, and everything that can break."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeseg.bench.devices import Known, shell_of
from edgeseg.bench.shell import DeviceLost, Shell, TimedOut
from edgeseg.bench.transport_local import LocalShell
from edgeseg.bench.transport_ssh import SshShell
from edgeseg.structures import CheckError, InputError
from tests.bench.sshd import Sshd

ODD = "a folder/it's $HOME; `x`.bin"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where devices make their folders."""
    folder = tmp_path / "device"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def sshd(tmp_path: Path, place: Path) -> Iterator[Sshd]:
    folder = tmp_path / "sshd"
    folder.mkdir()
    with Sshd(folder, [f"TMPDIR={place}"]) as server:
        yield server


@pytest.fixture(params=["local", "ssh"])
def make(request: pytest.FixtureRequest, place: Path) -> Callable[[], Shell]:
    if request.param == "local":
        return LocalShell
    server: Sshd = request.getfixturevalue("sshd")
    return lambda: SshShell(server.address, config=server.config)


def is_gone(folder: Path, seconds: float) -> bool:
    """Whether a folder becomes empty in time."""
    until = time.monotonic() + seconds
    while any(folder.iterdir()) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(folder.iterdir())


def is_running(word: str) -> bool:
    return subprocess.run(["pgrep", "-f", word], capture_output=True).returncode == 0


def test_files_go_there_and_back_whatever_they_are_called(
    make: Callable[[], Shell], place: Path, tmp_path: Path
) -> None:
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(os.urandom(100_000) + b"\nedgeseg-end:0\n")
    with make() as shell:
        shell.push(sent, ODD)
        assert shell.files() == [ODD]
        shell.fetch(ODD, back)
        assert back.read_bytes() == sent.read_bytes()
        assert len(list(place.iterdir())) == 1
    assert list(place.iterdir()) == []


def test_a_folder_goes_with_what_is_in_it(place: Path, tmp_path: Path) -> None:
    (tmp_path / "package" / "inner").mkdir(parents=True)
    (tmp_path / "package" / "inner" / "weights").write_text("1")
    (tmp_path / "package" / "list").write_text("2")
    with LocalShell() as shell:
        shell.push(tmp_path / "package", "net")
        assert shell.files() == ["net/inner/weights", "net/list"]


def test_exit_code_output_and_errors_come_apart(make: Callable[[], Shell]) -> None:
    with make() as shell:
        done = shell.run(["sh", "-c", "echo out; echo wrong >&2; exit 7"], seconds=20, doing="trying")
    assert (done.code, done.text.strip(), done.stderr.strip(), done.last_words) == (7, "out", "wrong", "wrong")


def test_what_takes_too_long_is_killed_and_the_folder_removed(make: Callable[[], Shell], place: Path) -> None:
    with make() as shell:
        started = time.monotonic()
        with pytest.raises(TimedOut, match=r"timing net took more than 1 s; is it stuck\?"):
            shell.run(["sleep", "41.25"], seconds=1, doing="timing net")
        assert time.monotonic() - started < 10
        assert not is_running("^sleep 41.25")
        assert shell.run(["echo", "still here"], seconds=20, doing="trying").code == 0
    assert list(place.iterdir()) == []


def test_what_is_asked_to_stop_stops_and_leaves_nothing(make: Callable[[], Shell], place: Path) -> None:
    shell = make()
    threading.Timer(1.0, shell.stop.set).start()
    with pytest.raises(CheckError, match="stopped while timing net"), shell:
        shell.run(["sleep", "42.25"], seconds=60, doing="timing net")
    assert not is_running("^sleep 42.25")
    assert list(place.iterdir()) == []


def test_a_killed_driver_leaves_nothing_on_the_device(make: Callable[[], Shell], place: Path) -> None:
    """SIGKILL: no handler of ours runs."""
    shell = make()
    server = f"SshShell({shell.name[4:]!r}, config=Path({str(shell.config)!r}))" if isinstance(shell, SshShell) else ""
    code = (
        "from pathlib import Path\nfrom edgeseg.bench.transport_local import LocalShell\n"
        "from edgeseg.bench.transport_ssh import SshShell\n"
        f"with {server or 'LocalShell()'} as shell:\n"
        "    shell.run(['sleep', '43.25'], seconds=60, doing='waiting')"
    )
    driver = subprocess.Popen([sys.executable, "-c", code])
    until = time.monotonic() + 30
    while not is_running("^sleep 43.25") and time.monotonic() < until:
        time.sleep(0.05)
    assert len(list(place.iterdir())) == 1
    driver.kill()
    driver.wait()
    assert is_gone(place, 10)
    assert not is_running("^sleep 43.25")


def test_a_killed_daemon_is_reported_within_10_s_and_leaves_nothing(sshd: Sshd, place: Path) -> None:
    killed: list[float] = []

    def kill() -> None:
        killed.append(time.monotonic())
        sshd.send(signal.SIGKILL)

    shell = SshShell(sshd.address, config=sshd.config)
    threading.Timer(3.0, kill).start()
    with pytest.raises(DeviceLost, match="was lost while timing net"), shell:
        shell.run(["sleep", "44.25"], seconds=60, doing="timing net")
    assert time.monotonic() - killed[0] < 10
    assert is_gone(place, 10)
    assert not is_running("^sleep 44.25")


@pytest.mark.slow
def test_a_host_that_says_nothing_any_more_is_reported_within_10_s(sshd: Sshd, place: Path) -> None:
    """As with a pulled cable: nothing is closed, nothing answers."""
    stopped: list[float] = []

    def freeze() -> None:
        stopped.append(time.monotonic())
        sshd.send(signal.SIGSTOP)

    shell = SshShell(sshd.address, config=sshd.config)
    threading.Timer(3.0, freeze).start()
    with pytest.raises(DeviceLost, match="was lost while timing net"), shell:
        shell.run(["sleep", "45.25"], seconds=60, doing="timing net")
    assert time.monotonic() - stopped[0] < 10
    sshd.send(signal.SIGCONT)
    assert is_gone(place, 10)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to mount a small disk")
def test_a_full_disk_is_one_line_and_leaves_nothing(make: Callable[[], Shell], place: Path, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(bytes(3 * 2**20))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    try:
        with pytest.raises(CheckError, match=r"copying net\.onnx failed: .*No space left on device"), make() as shell:
            shell.push(big, "net.onnx")
        assert list(place.iterdir()) == []
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_file_that_is_not_there_is_named(make: Callable[[], Shell], tmp_path: Path) -> None:
    with make() as shell, pytest.raises(CheckError, match=r"result\.json cannot be read there: .*No such file"):
        shell.fetch("result.json", tmp_path / "result.json")


def test_what_arrives_changed_is_noticed(tmp_path: Path, place: Path) -> None:
    class Careless(LocalShell):
        def client(self, text: str) -> list[str]:
            return super().client(text.replace("cat >", "head -c 5 >"))

    (tmp_path / "net").write_text("weights and more weights")
    with Careless() as shell, pytest.raises(CheckError, match="net arrived changed"):
        shell.push(tmp_path / "net", "net")


def test_what_a_dead_session_left_is_removed_by_the_next(place: Path) -> None:
    """A phone's init may kill the lease together with its daemon."""
    left = place / "edgeseg-run-abcdef"
    left.mkdir()
    process = subprocess.Popen(["true"])
    process.wait()
    (left / ".lease").write_text(f"{process.pid}\n")
    theirs = place / "edgeseg-run-other"
    theirs.mkdir()
    (theirs / ".lease").write_text(f"{os.getpid()}\n")
    with LocalShell():
        assert not left.exists()
        assert theirs.exists()


def test_nobody_there_is_one_line_with_a_command_to_try(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("")
    with (
        pytest.raises(
            InputError, match=r"ssh:me@127\.0\.0\.1:1 cannot be used: .*refused; try it by hand: ssh -p 1 me@127"
        ),
        SshShell("me@127.0.0.1:1", config=config),
    ):
        pass


@pytest.mark.parametrize("address", ["phone", "adb:", "ssh:", "ssh:-oProxyCommand=x", "ssh:a b", "ssh:a@b:c"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=r"is no device; write local|is not ssh:USER@HOST"):
        shell_of(address, Known())
