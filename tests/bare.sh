#!/bin/sh
# Runs README's two commands in a bare Debian with nothing but the packages that README names: `sh tests/bare.sh [TESTS]`.
# It must not know how they set up what they need, nor help them with it.
#
# As root, with debootstrap. Debian's sid is kept in build/bare-base; each run begins with a copy of it. Only what git holds is
# laid there. `make serve` runs until the page and the client for browsers are answered, then `make test` (TESTS: a part).
set -eu
tests=${1-}
here=$(cd "$(dirname "$0")/.." && pwd)
base=$here/build/bare-base
bare=$here/build/bare
. "$here/tests/debian.sh"

packages=$(sed -n 's/.*Debian: `apt-get install \([^`]*\)`.*/\1/p' "$here/README.md")
[ -n "$packages" ] || { echo "README names no prerequisites: Debian: \`apt-get install ...\`" >&2; exit 1; }
in_own_mounts "$0" "$@"
unpack_debian "$base"
rm -rf "$bare"
cp -a "$base" "$bare"
open_debian "$bare"
echo "bare: $packages"
# shellcheck disable=SC2086 # one word for each package
install_there "$bare" $packages >"$here/build/bare.log" 2>&1 || { tail -n 20 "$here/build/bare.log" >&2; exit 1; }
copy_tracked "$here" "$bare"
# Nothing of the machine's environment but what leads to the registries.
set -- env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY PIP_INDEX_URL PIP_CERT SSL_CERT_FILE NODE_EXTRA_CA_CERTS; do
    eval "value=\${$name-}"
    [ -z "$value" ] || set -- "$@" "$name=$value"
done

chroot "$bare" "$@" sh -e -c '
    cd /src
    port=$(python3 -c "import socket; s = socket.socket(); s.bind((\"127.0.0.1\", 0)); print(s.getsockname()[1])")
    make serve PORT=$port >/serve.log 2>&1 &
    serve=$!
    trap "kill $serve 2>/dev/null || true" EXIT
    begun=$(date +%s)
    until python3 - "http://127.0.0.1:$port" <<END 2>/dev/null
import sys, urllib.request
for path in ("/", "/socket.io/socket.io.js"):
    urllib.request.urlopen(sys.argv[1] + path).read()
END
    do
        if ! kill -0 $serve 2>/dev/null || [ $(($(date +%s) - begun)) -gt 900 ]; then
            cat /serve.log >&2
            echo "bare: make serve does not answer" >&2
            exit 1
        fi
        sleep 1
    done
    echo "bare: make serve answered after $(($(date +%s) - begun)) seconds, with the client for browsers"
    grep "^Left out" /serve.log || true
    kill $serve
    wait $serve 2>/dev/null || true
'
# The wheel that `make serve` has built, without a network: the codec needs no other package.
chroot "$bare" "$@" sh -e -c '
    python3 -m venv /alone
    /alone/bin/pip install --quiet --no-index /src/build/wheel/*.whl
    /alone/bin/pip check
    [ "$(/alone/bin/pip freeze | wc -l)" = 1 ] || { /alone/bin/pip freeze >&2; exit 1; }
    cd /alone && ./bin/python -c "import wsframe; print(\"bare: alone, the codec in\", wsframe.IMPLEMENTATION)"
    ! ./bin/wsframe serve 2>/alone.log
    grep -qF "pip install \"wsframe[server]\"" /alone.log'
chroot "$bare" "$@" sh -e -c 'cd /src; exec make test TESTS="$1"' - "$tests"
echo "bare: make test passed${tests:+ ($tests; without it: the whole suite)}"
