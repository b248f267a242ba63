#!/usr/bin/env bash
# Builds and tests EdgeSegCore with the real Swift toolchain on Linux, and parses the app: ci.sh [BUILD_FOLDER]
#
# Needs root, debootstrap and, once, a Debian mirror: Debian 13's swiftlang is put into a folder in ~/.cache/edgeseg/swift (3.4 GB)
# and run by chroot in a mount namespace of its own. The app needs Apple's SDK to be type-checked; here it is parsed only.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${EDGESEG_CACHE:-$HOME/.cache/edgeseg}/swift
build=$(realpath --canonicalize-missing "${1:-$cache/build}")
spec=$(realpath "${EDGESEG_SPEC:-$here/../spec}")
root=$cache/trixie

step() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

fetch() {
  [ -d "$root" ] && return
  mkdir -p "$cache"
  rm -rf "$root.part"
  debootstrap --variant=minbase --include=swiftlang,libstdc++-14-dev,libc6-dev trixie "$root.part" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" > "$cache/debootstrap.log" 2>&1 \
    || { tail -5 "$cache/debootstrap.log" >&2; exit 1; }
  mkdir -p "$root.part"/{src,spec,build}
  mv "$root.part" "$root"
}

# Swift finds its libraries through /proc. The namespace's mounts vanish with the command.
swift_root() {
  unshare --mount bash -c '
    root=$1; shift
    mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev"
    mount --bind -o ro "$1" "$root/src" && mount --bind -o ro "$2" "$root/spec" && mount --bind "$3" "$root/build"
    shift 3
    exec chroot "$root" env HOME=/build EDGESEG_SPEC=/spec EDGESEG_OUT=/build LC_ALL=C.UTF-8 "$@"' \
    - "$root" "$here" "$spec" "$build" "$@"
}

fetch
mkdir -p "$build"
step "toolchain: $(swift_root swift --version 2>&1 | grep -o 'Swift version [0-9.]*')"
swift_root bash -c 'cd /src && swift format lint --strict --parallel --recursive --configuration .swift-format .'
step "formatted"
package=(--package-path /src/EdgeSegCore --scratch-path /build/core --disable-sandbox)
swift_root swift build "${package[@]}" -c release -Xswiftc -warnings-as-errors > "$build/build.txt" 2>&1 || { cat "$build/build.txt"; exit 1; }
step "core: compiled"
swift_root swift test "${package[@]}" -c release -Xswiftc -enable-testing > "$build/tests.txt" 2>&1 || { cat "$build/tests.txt"; exit 1; }
step "core: $(grep -Eo 'Executed [0-9]+ tests' "$build/tests.txt" | sort -k2 -n | tail -1), $(grep -Eo 'Test run with [0-9]+ tests passed' "$build/tests.txt")"
swift_root /build/core/release/times | tee "$build/times.txt"
swift_root bash -c 'find /src/EdgeSeg /src/EdgeSegBench -name "*.swift" -print0 | xargs -0 -n 1 swiftc -frontend -parse'

# What needs no Apple interface but Core ML is type-checked against signatures of it, once without and once with ExecuTorch.
checked=(Engine BenchmarkRun Runtimes Choice CompiledModel CoreMLSegmenter ExecuTorchSegmenter BundleStore OwnBundleCheck FrameGate)
typecheck() { swiftc -typecheck -warnings-as-errors -swift-version 5 -parse-as-library -I /build/stubs -I /build/core/release/Modules "$@"; }
swift_root bash -euc "mkdir -p /build/stubs; cd /build/stubs; rm -f ./*.swiftmodule; $(declare -f typecheck)
  swiftc -emit-module -parse-as-library -module-name CoreML /src/ci/stubs/CoreML.swift
  files=\"/src/ci/stubs/App.swift $(printf '/src/EdgeSeg/%s.swift ' "${checked[@]}")\"
  typecheck \$files
  swiftc -emit-module -parse-as-library -module-name ExecuTorch /src/ci/stubs/ExecuTorch.swift
  typecheck \$files"
step "app: ${#checked[@]} files type-checked against signatures of Core ML and ExecuTorch"
step "app: $(find "$here/EdgeSeg" "$here/EdgeSegBench" -name '*.swift' | wc -l) files parsed (the rest needs Apple's SDK)"
