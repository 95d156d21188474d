"""The certificate of the TLS scenario for servers written in Python: `tls_files.context()`, or the two names.
It must not know a server; TLS_CERTIFICATE and TLS_KEY name the files."""

import os
import ssl

CERTIFICATE = os.environ.get("TLS_CERTIFICATE", "")
KEY = os.environ.get("TLS_KEY", "")


def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(CERTIFICATE, KEY)
    return made
