#!/usr/bin/env bash
# Compiles, tests, packs and signs the Android sample without Gradle and without the Android SDK: ci.sh [BUILD_FOLDER]
#
# Needs a JDK (17 or newer), curl, and apt-get for Debian's aapt2. Tools are kept in ~/.cache/edgeseg/android, checked by
# sha256 (Debian's by apt); exit code 3 says that one cannot be fetched. LiteRT and ExecuTorch are compiled against the
# signatures in ci/stubs and are not in the APK: Gradle adds them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${EDGESEG_CACHE:-$HOME/.cache/edgeseg}/android
build=${1:-$cache/build}
spec=${EDGESEG_SPEC:-$here/../spec}
bundle=${EDGESEG_BUNDLE:-$spec/tiny.edgeseg}

step() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

fetch() {
  mkdir -p "$cache/jars"
  while read -r digest url; do
    file=$cache/jars/${url##*/}
    [ -f "$file" ] && continue
    curl --silent --show-error --fail --retry 3 --output "$file.part" "$url" || exit 3
    echo "$digest  $file.part" | sha256sum --check --quiet
    mv "$file.part" "$file"
  done < "$here/ci/toolchain.txt"
}

# Debian's aapt2 and the framework's resources, unpacked, not installed.
fetch_aapt() {
  [ -d "$cache/aapt" ] && return
  rm -rf "$cache/debs" "$cache/aapt.part"
  mkdir -p "$cache/debs"
  # shellcheck disable=SC2046
  (cd "$cache/debs" && apt-get --quiet=2 download $(cat "$here/ci/debian.txt") > apt.log 2>&1) || { cat "$cache/debs/apt.log" >&2; exit 3; }
  for deb in "$cache"/debs/*.deb; do dpkg-deb -x "$deb" "$cache/aapt.part"; done
  mv "$cache/aapt.part" "$cache/aapt"
}

jars() { local IFS=:; local found=(); for name in "$@"; do found+=("$cache/jars/$name"*.jar); done; echo "${found[*]}"; }

kotlinc() {
  java -Xmx1500m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$compiler" org.jetbrains.kotlin.cli.jvm.K2JVMCompiler \
    -no-stdlib -no-reflect "$@"
}

aapt2() {
  LD_LIBRARY_PATH=$(dirname "$(find "$cache/aapt" -name libandroidfw.so.0)"):$(dirname "$(find "$cache/aapt" -name 7z.so)"):$cache/aapt/usr/lib/$(uname -m)-linux-gnu \
    "$(find "$cache/aapt" -name aapt2 -type f -perm -u+x)" "$@"
}

version() { sed -n "s/.*$1 = \"\?\([^\"]*\)\"\?.*/\1/p" "$2"; }

fetch
step "tools: $(du -sh "$cache/jars" | cut -f1) of jars"
rm -rf "$build"
mkdir -p "$build"/{core,test,stubs,r,r8,app,app26,dex}
compiler=$(jars kotlin-compiler kotlin-stdlib kotlin-script kotlin-daemon kotlin-build kotlin-reflect kotlinx-coroutines annotations)
libraries=$(jars kotlin-stdlib kotlinx-serialization-core kotlinx-serialization-json)
jdk=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")
tests=$(jars kotlin-test junit hamcrest)

(cd "$here" && java -Xmx1g -XX:TieredStopAtLevel=1 -cp "$(jars ktlint)" com.pinterest.ktlint.Main --log-level=error --relative '**/*.kt' '**/*.kts')
step "formatted"
kotlinc -Werror -jvm-target 17 -module-name core -cp "$libraries" -d "$build/core" "$here/core/src/main/kotlin"
step "core: compiled"
kotlinc -Werror -jvm-target 17 -cp "$libraries:$tests:$build/core" -d "$build/test" "$here/core/src/test/kotlin"
suites=$(cd "$build/test" && find . -name '*Test.class' | sed 's|^\./||; s|/|.|g; s|\.class$||' | sort)
# shellcheck disable=SC2086
java -XX:+UseSerialGC -Dedgeseg.spec="$spec" -cp "$libraries:$tests:$build/core:$build/test" org.junit.runner.JUnitCore $suites \
  > "$build/tests.txt" || { cat "$build/tests.txt"; exit 1; }
step "core: $(grep '^OK' "$build/tests.txt")"
java -XX:ActiveProcessorCount=1 -cp "$libraries:$build/core:$build/test" edgeseg.core.DrawBenchmarkKt | tee "$build/benchmark.txt"

fetch_aapt
sed "s|<manifest |<manifest package=\"$(version namespace "$here/app/build.gradle.kts")\" |; s|\${applicationId}|$(version applicationId "$here/app/build.gradle.kts")|" \
  "$here/app/src/main/AndroidManifest.xml" > "$build/AndroidManifest.xml"
aapt2 compile --dir "$here/app/src/main/res" -o "$build/res.zip"
aapt2 link -o "$build/base.apk" -I "$(find "$cache/aapt" -name framework-res.apk)" --java "$build/r" \
  --manifest "$build/AndroidManifest.xml" --min-sdk-version "$(version minSdk "$here/app/build.gradle.kts")" \
  --target-sdk-version "$(version targetSdk "$here/app/build.gradle.kts")" --version-code 1 --version-name ci "$build/res.zip"
javac -nowarn --release 17 -d "$build/app" "$build"/r/edgeseg/app/R.java
javac -nowarn --release 8 -Xlint:-options -d "$build/r8" "$build"/r/edgeseg/app/R.java
step "app: resources linked"

kotlinc -jvm-target 1.8 -module-name stubs -cp "$libraries" -d "$build/stubs" "$here/ci/stubs"
framework=$(jars android-all-16)
kotlinc -Werror -jvm-target 17 -module-name app -cp "$libraries:$build/core:$build/stubs:$build/app:$framework" -d "$build/app" "$here/app/src/main/kotlin"
step "app: compiled against $(basename "$framework" .jar)"
# Release 8 is the Java that a phone with API 26 has.
kotlinc -nowarn -jvm-target 1.8 -Xjdk-release=8 -module-name app -cp "$libraries:$build/stubs:$build/r8:$(jars android-all-8)" \
  -d "$build/app26" "$here/core/src/main/kotlin" "$here/app/src/main/kotlin"
step "app and core: compiled against API 26, the minSdk, so no newer call is unguarded"

jar cf "$build/app.jar" -C "$build/app" . -C "$build/core" .
java -Xmx1500m -cp "$(jars r8)" com.android.tools.r8.D8 --release --min-api 26 --lib "$framework" --lib "$jdk" --classpath "$build/stubs" \
  --output "$build/dex" "$build/app.jar" ${libraries//:/ }
step "app: dexed"
keytool -genkeypair -keystore "$build/key.p12" -storetype PKCS12 -storepass android -alias key -keyalg EC -validity 1 \
  -dname CN=edgeseg-ci 2> /dev/null
java -cp "$(jars apksig)" "$here/ci/Pack.java" "$build/base.apk" "$build/dex" "$bundle" "$build/key.p12" "$build/app.apk"
aapt2 dump badging "$build/app.apk" > "$build/badging.txt"
aapt2 dump permissions "$build/app.apk" > "$build/permissions.txt"
step "app: $build/app.apk, $(stat -c %s "$build/app.apk") bytes, $(du -sb "$bundle" | cut -f1) of them the bundle's before compression"
