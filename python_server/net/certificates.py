"""Certificates and rules of TLS: files to an `ssl.SSLContext`, with errors that name the file.

Must not know: connections, or what is spoken inside TLS.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final, TypeAlias

from python_server.settings import TLSSettings

CERTIFICATE_RULES: Final = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


class CertificateError(Exception):
    """The certificate, the key or a rule of TLS cannot be used; the message names the file."""


# For type checkers alone: a module that holds the class itself makes gevent warn that it comes too late.
if TYPE_CHECKING:
    TLSContext: TypeAlias = ssl.SSLContext


def make_context(rules: TLSSettings, application_protocols: list[str]) -> TLSContext:
    """A server's context: TLS 1.2 or later (RFC 9325 3.1.1), no compression, no renegotiation.

    Raises:
        CertificateError: a file cannot be read, does not fit the others, or a rule is malformed.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(application_protocols)
    _load_certificate(context, rules)
    if rules.ca_certs is not None:
        try:
            context.load_verify_locations(rules.ca_certs)
        except (OSError, ValueError) as error:
            raise CertificateError(
                f"cannot use the CA file {rules.ca_certs}: {reason_of(error)} [client-certificates]"
            ) from None
    elif rules.cert_reqs != "none":
        raise CertificateError(
            f"--ssl-cert-reqs {rules.cert_reqs} compares client certificates with a CA file: "
            "name it with --ssl-ca-certs [client-certificates]"
        )
    context.verify_mode = CERTIFICATE_RULES[rules.cert_reqs]
    if rules.ciphers is not None:
        try:
            context.set_ciphers(rules.ciphers)
        except ssl.SSLError:
            raise CertificateError(
                f"OpenSSL knows no cipher that matches {rules.ciphers!r} (--ssl-ciphers): "
                "`openssl ciphers` lists those that it knows"
            ) from None
    return context


def make_calling_context(ca_certs: str) -> TLSContext:
    """For connections that this process makes: the other end's certificate is held against that CA file.

    Raises:
        CertificateError: the file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_certs)
    except (OSError, ValueError) as error:
        raise CertificateError(f"cannot use the CA file {ca_certs}: {reason_of(error)}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _load_certificate(context: ssl.SSLContext, rules: TLSSettings) -> None:
    def password() -> str:
        # Without this OpenSSL would ask at the terminal, and a service would hang.
        if rules.keyfile_password is None:
            raise CertificateError(
                f"the key {rules.keyfile or rules.certfile} is encrypted: "
                "give its password with --ssl-keyfile-password [certificate]"
            )
        return rules.keyfile_password

    if rules.certfile is None:
        raise CertificateError(
            f"there is a key ({rules.keyfile}) but no certificate: --ssl-certfile [certificate]"
        )
    for option, path in (("--ssl-certfile", rules.certfile), ("--ssl-keyfile", rules.keyfile)):
        try:
            if path is not None:
                with open(path, "rb"):
                    pass
        except OSError as error:
            raise CertificateError(f"cannot read {path} ({option}): {error.strerror} [certificate]") from None
    try:
        context.load_cert_chain(rules.certfile, rules.keyfile, password)
    except (OSError, ValueError) as error:
        files = rules.certfile if rules.keyfile is None else f"{rules.certfile} with the key {rules.keyfile}"
        raise CertificateError(
            f"cannot use the certificate {files}: {reason_of(error)} [certificate]"
        ) from None


def reason_of(error: Exception) -> str:
    """What OpenSSL, or the system, found wrong, in its words."""
    if isinstance(error, ssl.SSLError):
        words = (error.reason or "not a PEM file, or a wrong password").lower().replace("_", " ")
        return words if error.reason != "PEM" else "not a PEM file"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
