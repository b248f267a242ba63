"""A bundle to a sample app: the browser app served on loopback, or an Android or iOS project with the bundle inside."""

from __future__ import annotations

import contextlib
import http.server
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from edgeseg.export.bundle import open_bundle
from edgeseg.structures import InputError

APPS = Path(__file__).resolve().parents[1] / "apps"
"""Beside this room in a checkout, inside the package in an installation."""

HOST = "127.0.0.1"
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",  # these two make the page isolated, which threads need
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
}
_BUILD_OUTPUTS = shutil.ignore_patterns(
    "build",
    ".build",
    ".gradle",
    ".kotlin",
    "node_modules",
    "DerivedData",
    "xcuserdata",
    "local.properties",
    ".DS_Store",
)


@dataclass(frozen=True)
class Project:
    """A mobile app's sources.

    Attributes:
        folder: Under apps/.
        bundle: Where in it the app looks for its bundle.
        next_step: What to do with the copy.
    """

    folder: str
    bundle: str
    next_step: str


PROJECTS = {
    "android": Project(
        "android", "app/src/main/assets/bundle.edgeseg", "open it in Android Studio, or: gradle :app:installDebug"
    ),
    "ios": Project("ios", "EdgeSeg/Resources/bundle.edgeseg", "open EdgeSeg.xcodeproj in Xcode and set your team"),
}


def write_project(platform: str, bundle: Path, out: Path, *, apps: Path = APPS) -> dict[str, Any]:
    """Copies an app's project and puts the bundle inside; `out` appears whole or not at all.

    Args:
        platform: In `PROJECTS`.
        bundle: NAME.edgeseg, all checksums confirmed first.
        out: New folder.
        apps: Folder of the apps' sources.

    Returns:
        The folder, the bundle's place in it, the next step.

    Raises:
        InputError: No bundle, no sources, or `out` holds something.
    """
    project = PROJECTS[platform]
    source = apps / project.folder
    open_bundle(bundle)
    if not source.is_dir():
        raise InputError(
            f"{source} does not exist; the {platform} app is in edgeseg's repository: run this in a checkout"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already; give another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.parent / f".{out.name}.{os.getpid()}"
    try:
        shutil.copytree(source, aside, ignore=_BUILD_OUTPUTS)
        place = aside / project.bundle
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(bundle, place)
        if out.exists():
            out.rmdir()
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return {"project": str(out), "bundle": str(out / project.bundle), "next": project.next_step}


def serve_web(bundle: Path, *, port: int, on_ready: Callable[[str], None], apps: Path = APPS) -> dict[str, Any]:
    """Serves the built browser app with a bundle on loopback until Ctrl-C.

    Args:
        bundle: NAME.edgeseg, all checksums confirmed first.
        port: 0 takes a free one.
        on_ready: Called with the address before the first request.
        apps: Folder of the apps.

    Returns:
        The address that was served.

    Raises:
        InputError: No bundle, the app is not built, or the port is taken.
    """
    with make_server(bundle, port=port, apps=apps) as server:
        url = f"http://{HOST}:{server.server_address[1]}/"
        on_ready(url)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return {"url": url, "bundle": str(bundle)}


def make_server(bundle: Path, *, port: int, apps: Path = APPS) -> http.server.ThreadingHTTPServer:
    """The server of `serve_web`, bound but not yet serving."""
    open_bundle(bundle)
    dist = apps / "web" / "dist"
    if not (dist / "index.html").is_file():
        raise InputError(f"{dist} holds no built app; build it in a checkout: make web (needs Node.js 20.19 or later)")
    roots = {"": dist, "bundle": bundle}
    try:
        return http.server.ThreadingHTTPServer((HOST, port), lambda *args: _Handler(roots, *args))
    except OSError as error:
        raise InputError(
            f"port {port} cannot be opened ({error.strerror}); give another --port, or 0 for any"
        ) from error


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Files of the app at /, of the bundle at /bundle/; nothing else, and no listings."""

    protocol_version = "HTTP/1.1"
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript",
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".webmanifest": "application/manifest+json",
    }

    def __init__(self, roots: dict[str, Path], *args: Any) -> None:
        self.roots = roots
        super().__init__(*args)

    def translate_path(self, path: str) -> str:
        """The file behind a request; paths with `..` lead nowhere."""
        parts = PurePosixPath(unquote(urlsplit(path).path)).parts[1:]
        if ".." in parts:
            return str(self.roots[""] / "outside")
        if parts[:1] == ("bundle",):
            return str(self.roots["bundle"].joinpath(*parts[1:]))
        return str(self.roots[""].joinpath(*parts))

    def list_directory(self, path: str | os.PathLike[str]) -> None:
        """No listings."""
        del path
        self.send_error(404)

    def end_headers(self) -> None:
        """Adds the headers of every answer."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Stays quiet."""
        del format, args
