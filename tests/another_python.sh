#!/bin/sh
# Runs the suite under another CPython: `sh tests/another_python.sh 3.14 [TESTS]`, with the one of PATH or of Debian's sid.
# It must not know any test: `make test` does.
#
# Without pythonVERSION on PATH it needs root, Debian and debootstrap: sid is unpacked once into build/sid (a minute or two, from
# the mirror that /etc/apt names) and kept. Every run copies the sources there, with a virtual environment of its own.
# The mounts live in a namespace of this process: they are gone when it ends, however it ends.
set -eu
version=$1
tests=${2-}
here=$(cd "$(dirname "$0")/.." && pwd)
sid=$here/build/sid

if command -v "python$version" >/dev/null; then
    exec make -C "$here" test PYTHON="python$version" VENV=".venv-$version" TESTS="$tests"
fi

if [ "${IN_MOUNT_NAMESPACE-}" != yes ]; then
    [ "$(id -u)" = 0 ] || { echo "python$version is not on PATH, and without root there is no Debian to take it from" >&2; exit 1; }
    command -v debootstrap >/dev/null || { echo "python$version is not on PATH; apt-get install debootstrap takes it from sid" >&2; exit 1; }
    IN_MOUNT_NAMESPACE=yes exec unshare --mount --propagation private sh "$0" "$@"
fi

if [ ! -e "$sid/unpacked" ]; then
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
    [ -n "$mirror" ] || { echo "/etc/apt names no Debian mirror" >&2; exit 1; }
    rm -rf "$sid"
    debootstrap --variant=minbase --include=ca-certificates sid "$sid" "$mirror"
    touch "$sid/unpacked"
fi
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
    [ ! -e "$file" ] || cp -L "$file" "$sid$file"
done
apt-config dump | grep '^Acquire::' >"$sid/etc/apt/apt.conf.d/90-of-the-machine" # its proxy, its clock's tolerance
mount --bind /proc "$sid/proc"
mount --bind /dev "$sid/dev"
mount -t tmpfs tmpfs "$sid/dev/shm"
mount -t tmpfs tmpfs "$sid/tmp"

if [ ! -e "$sid/usr/bin/python$version" ] || [ ! -e "$sid/tools" ]; then
    chroot "$sid" sh -ec '
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
        touch /tools' - "python$version" "python$version-venv" "python$version-dev" build-essential \
        nodejs redis-server curl nginx-light valgrind systemd procps util-linux openssl libssl-dev
fi
rm -rf "$sid/src"
mkdir "$sid/src"
tar -C "$here" --exclude=./build --exclude=./.git --exclude='./.venv*' -cf - . | tar -C "$sid/src" -xf -
exec chroot "$sid" env -C /src HOME=/root make test PYTHON="python$version" VENV="/venv-$version" TESTS="$tests"
