#!/bin/sh
# Runs the suite under another CPython: `sh tests/another_python.sh 3.14 [TESTS]`, with the one of PATH or of Debian's sid.
# It must not know any test: `make test` does.
#
# Without pythonVERSION on PATH it needs root, Debian and debootstrap: sid is unpacked once into build/sid and kept. Every run
# copies the sources there, with a virtual environment of its own.
set -eu
version=$1
tests=${2-}
here=$(cd "$(dirname "$0")/.." && pwd)
sid=$here/build/sid
. "$here/tests/debian.sh"

if command -v "python$version" >/dev/null; then
    exec make -C "$here" test PYTHON="python$version" VENV=".venv-$version" TESTS="$tests"
fi

echo "python$version is not on PATH: Debian's sid has one"
in_own_mounts "$0" "$@"
unpack_debian "$sid"
open_debian "$sid"
if [ ! -e "$sid/usr/bin/python$version" ] || [ ! -e "$sid/tools" ]; then
    install_there "$sid" "python$version" "python$version-venv" "python$version-dev" build-essential \
        nodejs redis-server valkey-server rabbitmq-server curl nginx-light haproxy valgrind systemd procps util-linux openssl libssl-dev zlib1g-dev
    touch "$sid/tools"
fi
copy_sources "$here" "$sid"
exec chroot "$sid" env -C /src HOME=/root make test PYTHON="python$version" VENV="/venv-$version" TESTS="$tests"
