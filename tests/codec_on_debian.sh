#!/bin/sh
# Builds the codec and runs its tests in a Debian of another processor or Python: `sh tests/codec_on_debian.sh WHERE [TESTS]`.
# It must not know any test.
#
# WHERE is a processor that Debian names (i386, armhf, arm64, s390x, riscv64, ...), which qemu-user-static emulates if this
# machine's has other instructions; or a Python of Debian's sid (python3.15), or pypy3, where the codec is the one in plain
# Python. It needs root, Debian and debootstrap, for an emulated processor its cross compiler as well (gcc-s390x-linux-gnu
# libc6-dev-s390x-cross). The Debian is unpacked once, into build/WHERE or build/sid, and kept.
set -eu
where=${1:?a processor or a Python, such as i386, arm64, s390x, python3.15, pypy3}
tests=${2:-tests/wsframe}
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/tests/debian.sh"

in_own_mounts "$0" "$@"
suite=bookworm python=python3 pure=0 compiler= qemu= tools="python3-venv python3-dev gcc libc6-dev"
case $where in
pypy3) suite=sid python=pypy3 pure=1 tools="pypy3 pypy3-venv" ;;
python*) suite=sid python=$where tools="$where $where-venv $where-dev gcc libc6-dev" ;;
esac
debian=$here/build/$where processor=$where venv=/venv
if [ "$suite" = sid ]; then
    debian=$here/build/sid processor='' venv=/venv-codec-$where
else
    emulate "$processor"
fi
unpack_debian "$debian" "$suite" $processor
open_debian "$debian"
if [ "${qemu-}" ]; then
    cross_compiler "$debian" "$processor"
    tools="python3-venv libpython3-dev"
fi
if [ ! -e "$debian$venv/tools" ]; then
    # shellcheck disable=SC2086 # one word for each package
    install_there "$debian" $tools
    chroot "$debian" sh -ec "rm -rf $venv; $python -m venv $venv
        $venv/bin/pip install --prefer-binary 'cython>=3.1,<4' 'setuptools>=77' pytest pytest-benchmark hypothesis"
    touch "$debian$venv/tools"
fi
copy_sources "$here" "$debian/tmp" # of this run alone
chroot "$debian" env -C /tmp/src HOME=/root LANG=C.UTF-8 WSFRAME_PURE=$pure ${compiler:+CC="$compiler"} sh -ec "
    $venv/bin/pip install --quiet --no-deps --no-build-isolation --force-reinstall .
    $venv/bin/python -c 'import platform, sys, wsframe; print(
        platform.machine(), sys.byteorder, sys.maxsize, sys.version, wsframe.IMPLEMENTATION, wsframe.MASK_IMPLEMENTATION)'
    $venv/bin/pytest -q -p no:cacheprovider $tests"
