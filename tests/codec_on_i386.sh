#!/bin/sh
# Builds the codec for a processor with addresses of 32 bits and runs its tests there: `sh tests/codec_on_i386.sh [TESTS]`.
# It must not know any test.
#
# It needs root, Debian on x86-64 and debootstrap: Debian 12 is unpacked once into build/i386 and kept.
set -eu
tests=${1:-tests/wsframe}
here=$(cd "$(dirname "$0")/.." && pwd)
i386=$here/build/i386
. "$here/tests/debian.sh"

in_own_mounts "$0" "$@"
unpack_debian "$i386" bookworm i386
open_debian "$i386"
if [ ! -e "$i386/tools" ]; then
    install_there "$i386" python3-venv python3-dev gcc libc6-dev
    chroot "$i386" sh -ec 'python3 -m venv /venv
        /venv/bin/pip install "cython>=3.1,<4" "setuptools>=77" pytest pytest-benchmark hypothesis'
    touch "$i386/tools"
fi
copy_sources "$here" "$i386"
# The server's dependencies are not built for it.
exec chroot "$i386" env -C /src HOME=/root LANG=C.UTF-8 sh -ec "
    /venv/bin/pip install --quiet --no-deps --no-build-isolation --force-reinstall .
    /venv/bin/python -c 'import sys, wsframe; print(sys.maxsize, wsframe.IMPLEMENTATION)'
    /venv/bin/pytest -q -p no:cacheprovider $tests"
