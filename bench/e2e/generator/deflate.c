/* permessage-deflate (RFC 7692) without contexts: a message is deflated once before the run, every answer inflated by itself.
 * It must not know frames or modes; -DWITHOUT_DEFLATE leaves zlib out. */
#define _GNU_SOURCE
#include "generator.h"

#include <stdio.h>
#include <string.h>

static char agreed[160];

const char *deflate_words(void) { return agreed; }

const char *deflate_offer(void) {
    if (!options.deflate) return "";
    return "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";
}

/* Every connection must get the same parameters; the server's context must end with each message. */
void deflate_agree(const struct conn *c, const char *answer) {
    size_t length = answer ? strcspn(answer, "\r\n") : 0;
    if (length >= sizeof agreed || memchr(answer, '"', length)) fail("connection %d: odd extensions", c->index);
    if (!length || strncmp(answer, "permessage-deflate", 18) ||
        !memmem(answer, length, "server_no_context_takeover", 26))
        fail("connection %d: no permessage-deflate without the server's context: %.*s", c->index, (int)length,
             answer ? answer : "");
    if (*agreed && (strlen(agreed) != length || memcmp(agreed, answer, length)))
        fail("connection %d: other parameters: %.*s", c->index, (int)length, answer);
    memcpy(agreed, answer, length);
}

#ifdef WITHOUT_DEFLATE
size_t deflate_message(char *out, size_t capacity, const char *text, size_t length) {
    (void)out, (void)capacity, (void)text, (void)length;
    fail("this generator was built without zlib");
}

const char *inflate_message(const struct conn *c, const char *data, size_t *length) {
    (void)c, (void)data, (void)length;
    fail("this generator was built without zlib");
}
#else
#include <zlib.h>

enum { LEVEL = 6, MEMORY_LEVEL = 8, WINDOW_BITS = 15, TAIL_BYTES = 4, INFLATED_BYTES = 64 << 10 };
static const char TAIL[TAIL_BYTES] = {0, 0, (char)0xff, (char)0xff};

size_t deflate_message(char *out, size_t capacity, const char *text, size_t length) {
    z_stream stream = {.next_in = (Bytef *)text, .avail_in = (uInt)length, .next_out = (Bytef *)out,
                       .avail_out = (uInt)capacity};
    if (deflateInit2(&stream, LEVEL, Z_DEFLATED, -WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK ||
        deflate(&stream, Z_SYNC_FLUSH) != Z_OK || !stream.avail_out)
        fail("cannot deflate %zu bytes", length);
    deflateEnd(&stream);
    return stream.total_out - TAIL_BYTES;
}

static void feed(z_stream *stream, const struct conn *c, const char *data, size_t length) {
    stream->next_in = (Bytef *)data;
    stream->avail_in = (uInt)length;
    int status = inflate(stream, Z_SYNC_FLUSH);
    if ((status != Z_OK && status != Z_BUF_ERROR) || stream->avail_in || !stream->avail_out)
        fail("connection %d: a message that does not inflate (%s)", c->index, stream->msg ? stream->msg : "too long");
}

/* Without contexts the same bytes make the same text: a broadcast's are inflated at the first client, compared at the others. */
const char *inflate_message(const struct conn *c, const char *data, size_t *length) {
    static char text[INFLATED_BYTES], last[INFLATED_BYTES];
    static size_t last_bytes, text_bytes;
    static z_stream stream;
    if (*length > sizeof last) fail("connection %d: %zu deflated bytes", c->index, *length);
    if (!last_bytes || *length != last_bytes || memcmp(last, data, last_bytes)) {
        if ((stream.state ? inflateReset(&stream) : inflateInit2(&stream, -WINDOW_BITS)) != Z_OK) fail("no inflate");
        stream.next_out = (Bytef *)text;
        stream.avail_out = sizeof text;
        feed(&stream, c, data, *length);
        feed(&stream, c, TAIL, sizeof TAIL);
        text_bytes = stream.total_out;
        memcpy(last, data, last_bytes = *length);
    }
    *length = text_bytes;
    return text;
}
#endif
