#!/bin/sh
# Copies the official Socket.IO browser client from the npm package to where the example serves it.
# It must not know the network: `npm ci` in tests/e2e comes first; without it the page uses the CDN.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
client="$here/../../tests/e2e/node_modules/socket.io-client/dist/socket.io.min.js"
if [ ! -f "$client" ]; then
    echo "fetch_client: no npm package in tests/e2e (run: npm ci --prefix tests/e2e); the page will use the CDN" >&2
    exit 1
fi
mkdir -p "$here/static/vendor"
cp "$client" "$here/static/vendor/socket.io.min.js"
echo "fetch_client: static/vendor/socket.io.min.js is in place"
