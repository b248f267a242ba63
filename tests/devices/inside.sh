#!/bin/bash
# What happens inside a virtual device's namespaces: inside.sh build ... (arm_root.py) or inside.sh boot ... (arm_device.py).
set -euo pipefail

# Without SVE, as most phones are; QEMU's default CPU emulates SVE and takes ten times as long.
export QEMU_CPU=cortex-a76
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
here=$(cd "$(dirname "$0")" && pwd)

# F keeps the emulator open, so that it works in a chroot which lacks it. Magic: a 64-bit ELF header with e_machine 0xb7.
register_emulator() {
  mount -t proc proc /proc
  mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
  printf '%s' ':edgeseg-aarch64:M::\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:'"$1:OF" \
    > /proc/sys/fs/binfmt_misc/register
}

# build EMULATOR ROOT SUITE MIRROR PACKAGES
build() {
  register_emulator "$1"
  container=lxc debootstrap --arch=arm64 --variant=minbase --include="$5" "$3" "$2" "$4"  # lxc: bind devices, make none
  rm -rf "$2"/var/cache/apt/archives/*.deb "$2"/var/lib/apt/lists/*
}

# boot EMULATOR ROOT NUM_DEVICES PUBLIC_KEY [FOLDER_MIB]: devices 1, 2, ... at /mnt/N, then commands from standard input,
# `start adbd N`, `kill sshd N`; its end is the end of all.
boot() {
  register_emulator "$1"
  ip link set lo up
  mount -t tmpfs -o mode=755 devices /mnt
  for device in $(seq "$3"); do
    make_device "/mnt/$device" "$2" "$4" "${5:-}"
    start adbd "$device"
    start sshd "$device"
  done
  HOME=/mnt adb -L tcp:5037 nodaemon server < /dev/null &
  while read -r verb daemon device; do "$verb" "$daemon" "$device"; done
}

# make_device FOLDER ROOT PUBLIC_KEY FOLDER_MIB: what it writes goes to memory, the file system on disk is only read.
make_device() {
  local at=$1 dev=$1/dev
  mkdir -p "$at" "$at.upper" "$at.work"
  mount -t overlay -o "lowerdir=$2,upperdir=$at.upper,workdir=$at.work,userxattr" overlay "$at"
  mount -t proc proc "$at/proc"
  mount -t sysfs sysfs "$at/sys"  # without it XNNPACK finds no processor
  mount -t tmpfs -o mode=755 dev "$dev"
  for node in null zero full random urandom tty; do
    touch "$dev/$node" && mount --bind "/dev/$node" "$dev/$node"
  done
  mkdir "$dev/pts" "$dev/shm"
  mount -t devpts -o newinstance,ptmxmode=0666 devpts "$dev/pts"  # adb exec-out wants terminals
  ln -s pts/ptmx "$dev/ptmx"
  ln -s /proc/self/fd "$dev/fd"
  mkdir -p "$at/data/local/tmp" "$at/run/sshd" "$at/root/.ssh"
  chmod 771 "$at/data/local/tmp"
  cp "$3" "$at/root/.ssh/authorized_keys"
  cp "$here"/android/* "$at/usr/local/bin/"
  if [ -n "$4" ]; then mount -t tmpfs -o "size=$4m" small "$at/data/local/tmp"; fi
}

start() {
  case $1 in
    adbd) ADBD_PORT=$((5600 + $2)) chroot "/mnt/$2" /usr/sbin/adbd < /dev/null & ;;
    sshd) chroot "/mnt/$2" /usr/sbin/sshd -D -e -p $((2200 + $2)) -o UsePAM=no -o "SetEnv=QEMU_CPU=$QEMU_CPU" < /dev/null & ;;
  esac
}

# kill_now DAEMON N: it and the processes of its sessions, which sshd would leave alive; not what they started.
kill_now() {
  for process in /proc/[0-9]*; do
    if [ "$(readlink "$process/root")" = "/mnt/$2" ] && tr '\0' ' ' < "$process/cmdline" | grep -q "/$1"; then
      kill -KILL "${process#/proc/}" || true
    fi
  done
}

"$@"
