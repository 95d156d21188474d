/* RFC 6455 from the client's side: the opening handshake, masked frames out, server frames in; Engine.IO's hello on top.
 * It must not know what is measured: whole messages and bodies go to the mode. */
#define _GNU_SOURCE
#include "generator.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

enum { OP_CONTINUATION = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

long pings_answered;

/* The key and answer of RFC 6455 section 1.3: a fixed key lets the answer be checked without SHA-1 here. */
static const char KEY[] = "dGhlIHNhbXBsZSBub25jZQ==", ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

void random_bytes(void *out, size_t length) {
    char *at = out;
    while (length) {
        ssize_t got = getrandom(at, length < 256 ? length : 256, 0);
        if (got < 0) fail("getrandom");
        at += got;
        length -= (size_t)got;
    }
}

size_t frame_header(char *out, int opcode, size_t length, const unsigned char *mask) {
    size_t at = 2;
    out[0] = (char)(0x80 | opcode);
    if (length < 126) {
        out[1] = (char)(0x80 | length);
    } else if (length < 65536) {
        out[1] = (char)(0x80 | 126);
        out[at++] = (char)(length >> 8);
        out[at++] = (char)length;
    } else {
        out[1] = (char)(0x80 | 127);
        for (int shift = 56; shift >= 0; shift -= 8) out[at++] = (char)(length >> shift);
    }
    memcpy(out + at, mask, 4);
    return at + 4;
}

void frame_mask(char *out, const char *payload, size_t length, const unsigned char *mask) {
    for (size_t i = 0; i < length; i++) out[i] = (char)(payload[i] ^ mask[i & 3]);
}

static void send_control(struct conn *c, int opcode, const char *payload, size_t length) {
    char frame[14 + 125];
    unsigned char mask[4];
    if (length > 125) fail("connection %d: a control frame of %zu bytes", c->index, length);
    random_bytes(mask, sizeof mask);
    size_t at = frame_header(frame, opcode, length, mask);
    frame_mask(frame + at, payload, length, mask);
    net_queue(c, frame, at + length);
}

void websocket_send_text(struct conn *c, const char *text) { send_control(c, OP_TEXT, text, strlen(text)); }

void websocket_request(struct conn *c) {
    char request[QUEUE_BYTES];
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
                          options.path, options.host, options.port, KEY, deflate_offer());
    net_queue(c, request, (size_t)length);
}

static const char *field(const char *head, size_t length, const char *name) {
    size_t name_bytes = strlen(name);
    const char *end = head + length;
    for (const char *line = head; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        if (!stop) break;
        if ((size_t)(stop - line) > name_bytes && !strncasecmp(line, name, name_bytes)) {
            const char *at = line + name_bytes;
            while (*at == ' ') at++;
            return at;
        }
        line = stop + 1;
    }
    return NULL;
}

static size_t receive_answer(struct conn *c, const char *data, size_t length) {
    const char *end = memmem(data, length, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t head = (size_t)(end - data) + 4;
    if (strncmp(data, "HTTP/1.1 101", 12))
        fail("connection %d: not upgraded: %.*s", c->index, (int)strcspn(data, "\r\n"), data);
    const char *accept = field(data, head, "sec-websocket-accept:");
    if (!accept || strncmp(accept, ACCEPT, strlen(ACCEPT))) fail("connection %d: wrong accept key", c->index);
    if (options.deflate) deflate_agree(c, field(data, head, "sec-websocket-extensions:"));
    if (mode->protocol == PROTOCOL_SOCKETIO) {
        c->phase = PHASE_OPENING;
    } else {
        c->phase = PHASE_READY;
        ready_count++;
    }
    return head;
}

static bool starts(const char *data, size_t length, const char *with) {
    return length >= strlen(with) && !memcmp(data, with, strlen(with));
}

void expect_start(struct conn *c, const char *data, size_t length, const char *with) {
    if (!starts(data, length, with))
        fail("connection %d: expected %s..., got %.*s", c->index, with, (int)(length < 80 ? length : 80), data);
}

static void whole_message(struct conn *c, int opcode, const char *data, size_t length) {
    if (mode->protocol == PROTOCOL_SOCKETIO && opcode == OP_TEXT && length == 1 && *data == '2') {
        pings_answered++;
        websocket_send_text(c, "3");
        return;
    }
    switch (c->phase) {
    case PHASE_OPENING:
        expect_start(c, data, length, "0{");
        websocket_send_text(c, "40");
        c->phase = PHASE_JOINING_SPACE;
        return;
    case PHASE_JOINING_SPACE:
        expect_start(c, data, length, "40{");
        if (mode->greeting && mode->greeting(c)) {
            websocket_send_text(c, mode->greeting(c));
            c->phase = PHASE_GREETING;
            return;
        }
        break;
    case PHASE_GREETING:
        expect_start(c, data, length, "430[");
        break;
    default:
        if (!mode->message) fail("connection %d: an unexpected message", c->index);
        mode->message(c, opcode, data, length);
        return;
    }
    c->phase = PHASE_READY;
    ready_count++;
}

static void control_frame(struct conn *c, int opcode, const char *data, size_t length) {
    if (opcode == OP_PING) send_control(c, OP_PONG, data, length);
    if (opcode == OP_CLOSE)
        fail("connection %d: close %d from the server", c->index,
             length >= 2 ? (unsigned char)data[0] << 8 | (unsigned char)data[1] : 1005);
}

/* Returns how many bytes are done with; the caller keeps the others and hands them in again. */
static size_t receive_frames(struct conn *c, const char *data, size_t length) {
    size_t at = 0;
    while (at < length) {
        const unsigned char *head = (const unsigned char *)data + at;
        size_t left = length - at, header = 2;
        if (c->body_left) {
            size_t some = left < c->body_left ? left : c->body_left;
            if (memcmp(head, c->body_at, some)) fail("connection %d: the echo differs", c->index);
            c->body_at += some;
            c->body_left -= some;
            at += some;
            if (!c->body_left) mode->body_done(c);
            continue;
        }
        if (left < 2) break;
        size_t payload = head[1];
        if (payload == 126) {
            if (left < (header = 4)) break;
            payload = (size_t)head[2] << 8 | head[3];
        } else if (payload == 127) {
            if (left < (header = 10)) break;
            payload = 0;
            for (int i = 2; i < 10; i++) payload = payload << 8 | head[i];
        } else if (payload > 127) {
            fail("connection %d: a masked frame from the server", c->index);
        }
        int opcode = head[0] & 15;
        bool deflated = options.deflate && (head[0] & 0xf0) == 0xc0;
        if (opcode < OP_CLOSE && !deflated && (head[0] & 0xf0) != 0x80)
            fail("connection %d: a fragment or RSV bit", c->index);
        if (opcode < OP_CLOSE && !deflated && c->phase == PHASE_READY && mode->stream && mode->stream(c, opcode, payload)) {
            if (options.deflate) meter_note_uncompressed();
            at += header;
            continue;
        }
        if (left < header + payload) break;
        at += header + payload;
        const char *message = (const char *)head + header;
        if (opcode >= OP_CLOSE) {
            control_frame(c, opcode, message, payload);
            continue;
        }
        if (deflated)
            message = inflate_message(c, message, &payload);
        else if (options.deflate)
            meter_note_uncompressed();
        whole_message(c, opcode, message, payload);
    }
    return at;
}

size_t websocket_receive(struct conn *c, const char *data, size_t length) {
    size_t at = 0;
    if (c->phase == PHASE_UPGRADING) {
        at = receive_answer(c, data, length);
        if (!at) return 0;
    }
    return at + receive_frames(c, data + at, length - at);
}
