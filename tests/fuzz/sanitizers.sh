#!/bin/sh
# Builds wsframe with AddressSanitizer and UBSan in a folder of its own, and runs the codec's tests and mutated frames.
# It must not touch the installed build. Whole run: sh tests/fuzz/sanitizers.sh 1000000 (frames; CI takes fewer).
# Tests of the server that are named behind the frames run on that build too.
set -eu
frames=${1:-1000000}
[ $# -eq 0 ] || shift
python=${PYTHON:-python3}
root=$(cd "$(dirname "$0")/../.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$root"
mkdir "$place/wsframe"
cp src/wsframe/*.py src/wsframe/*.pyi src/wsframe/py.typed "$place/wsframe/"
WSFRAME_SANITIZE=1 "$python" setup.py -q build_ext --force --build-lib "$place" --build-temp "$place/temp"
# The interpreter itself is not instrumented: the runtime is loaded first, its own leaks are not ours to report, and
# objects come from malloc, so that the sanitizer sees each one's bounds.
runtime=$(${CC:-cc} -print-file-name=libasan.so)
undefined=$(${CC:-cc} -print-file-name=libubsan.so)
export LD_PRELOAD="$runtime $undefined"
# A report is a file, whichever process it is of and whatever a test thinks of that process's end.
export ASAN_OPTIONS="detect_leaks=0:abort_on_error=1:allocator_may_return_null=1:log_path=$place/report"
export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1:log_path=$place/report"
export PYTHONMALLOC=malloc PYTHONPATH="$place" WSFRAME_TEST_SANITIZED=1
"$python" -c "import wsframe, sys; sys.exit(wsframe.IMPLEMENTATION != 'cython' or '$place' not in wsframe.__file__)"
grep -q __asan_report "$place"/wsframe/_codec*.so || { echo "the build is not instrumented"; exit 1; }
reported() {
    cat "$place"/report.* 2>/dev/null && exit 1
    return "$1"
}
# The plain Python core has nothing that a sanitizer could see.
"$python" -m pytest -q -p no:cacheprovider --confcutdir tests/wsframe tests/wsframe -k "not test_typing and not test_build and not test_docs and not _pure" || reported $?
if [ $# -gt 0 ]; then
    "$python" -P -m pytest -q -p no:cacheprovider "$@" -k "not _pure" || reported $?
fi
"$python" tests/fuzz/mutate.py --cores _codec --frames "$frames" || reported $?
# CPython's own test module makes allocations fail; where the interpreter lacks it, the program says so.
"$python" -P tests/fuzz/nomemory.py --cores _codec || [ $? -eq 3 ] || reported $?
reported 0
echo "no report from AddressSanitizer or UBSan"
