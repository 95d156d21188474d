/* TLS 1.3 below a connection, by OpenSSL; built without its headers (-DWITHOUT_TLS) it refuses --tls by name.
 * It must not know WebSocket or what is measured: it stands where recv and send stood. */
#include "generator.h"

#include <errno.h>

#ifdef WITHOUT_TLS

void tls_begin(struct conn *c) { fail("connection %d: this generator was built without OpenSSL", c->index); }
bool tls_handshake(struct conn *c) { return c->tls != NULL; }
bool tls_has_more(const struct conn *c) { return c->tls != NULL; }
ssize_t tls_receive(struct conn *c, char *to, size_t most) { return c->tls && to && most ? 0 : -1; }
ssize_t tls_send(struct conn *c, const char *data, size_t length) { return c->tls && data && length ? 0 : -1; }
const char *tls_words(void) { return ""; }

#else

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>

/* One cipher for every server, so that none is measured with a cheaper one. */
static const char CIPHER[] = "TLS_AES_256_GCM_SHA384";

static SSL_CTX *context;
static char words[64];

static _Noreturn void fail_tls(const struct conn *c, const char *what) {
    char text[256];
    ERR_error_string_n(ERR_peek_error(), text, sizeof text);
    fail("connection %d: TLS %s: %s", c->index, what, text);
}

/* Certificates are checked, as a client would: the server's own is the only trusted one. */
static void prepare(const struct conn *c) {
    context = SSL_CTX_new(TLS_client_method());
    if (!context || !SSL_CTX_load_verify_locations(context, options.trusted, NULL)) fail_tls(c, "set-up");
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    if (!SSL_CTX_set_ciphersuites(context, CIPHER)) fail_tls(c, "set-up");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, 64 << 10);
}

void tls_begin(struct conn *c) {
    if (!context) prepare(c);
    SSL *tls = SSL_new(context);
    if (!tls || !SSL_set_fd(tls, c->fd)) fail_tls(c, "set-up");
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), options.host);
    SSL_set_connect_state(tls);
    c->tls = tls;
}

bool tls_handshake(struct conn *c) {
    ERR_clear_error();
    int done = SSL_do_handshake(c->tls);
    if (done == 1) {
        if (!*words) snprintf(words, sizeof words, "%s %s", SSL_get_version(c->tls), SSL_get_cipher(c->tls));
        return true;
    }
    int error = SSL_get_error(c->tls, done);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) fail_tls(c, "handshake");
    return false;
}

bool tls_has_more(const struct conn *c) { return SSL_has_pending(c->tls); }

/* As recv: as many records as fit, 0 at the end, -1 with EAGAIN. */
ssize_t tls_receive(struct conn *c, char *to, size_t most) {
    size_t total = 0, some;
    while (total < most) {
        ERR_clear_error();
        if (SSL_read_ex(c->tls, to + total, most - total, &some)) {
            total += some;
            continue;
        }
        int error = SSL_get_error(c->tls, 0);
        if (total) break;
        if (error == SSL_ERROR_ZERO_RETURN) return 0;
        if (error != SSL_ERROR_WANT_READ) fail_tls(c, "read");
        errno = EAGAIN;
        return -1;
    }
    return (ssize_t)total;
}

/* As send; after -1 with EAGAIN the next call must begin with the same bytes, for they are sealed already. */
ssize_t tls_send(struct conn *c, const char *data, size_t length) {
    size_t sent;
    ERR_clear_error();
    if (SSL_write_ex(c->tls, data, length, &sent)) return (ssize_t)sent;
    if (SSL_get_error(c->tls, 0) != SSL_ERROR_WANT_WRITE) fail_tls(c, "write");
    errno = EAGAIN;
    return -1;
}

const char *tls_words(void) { return words; }

#endif
