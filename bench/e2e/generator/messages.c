/* The messages of a run, prepared before it: masked frames end to end, and the replies they must bring, byte for byte.
 * It must not know connections or clocks. */
#define _GNU_SOURCE
#include "generator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The pool stays within the second-level cache: a generator that reads cold memory slows every server alike. */
enum {
    POOL_BYTES = 512 << 10,
    MAX_MESSAGES = 1024,
    EVENT_BYTES = 160,
    LARGE_BYTES = 128 << 10,
    LARGE_MESSAGES = 4,
    RSV1 = 0x40, /* of a frame's first byte: deflated */
    BLOCK_BYTES = 12 * 4096, /* not a power of two: a shifted echo never compares equal */
};

struct pool pool;

static void reserve(int count, size_t wire_bytes, size_t reply_bytes) {
    pool.count = count;
    pool.wire = malloc(wire_bytes + 1);
    pool.reply = malloc(reply_bytes + 1);
    pool.wire_at = calloc((size_t)count * 4, sizeof(size_t));
    if (!pool.wire || !pool.reply || !pool.wire_at) fail("no memory for the prepared messages");
    pool.wire_end = pool.wire_at + count;
    pool.reply_at = pool.wire_end + count;
    pool.reply_end = pool.reply_at + count;
}

/* Where message `index` begins: behind the one before it. */
static void place(int index) {
    pool.wire_at[index] = index ? pool.wire_end[index - 1] : 0;
    pool.reply_at[index] = index ? pool.reply_end[index - 1] : 0;
}

static int fitting_count(size_t message_bytes) {
    size_t count = POOL_BYTES / (message_bytes + 1);
    return count > MAX_MESSAGES ? MAX_MESSAGES : (int)count;
}

static void add(int index, const char *wire, size_t wire_bytes, const char *reply, size_t reply_bytes) {
    place(index);
    memcpy(pool.wire + pool.wire_at[index], wire, wire_bytes);
    memcpy(pool.reply + pool.reply_at[index], reply, reply_bytes);
    pool.wire_end[index] = pool.wire_at[index] + wire_bytes;
    pool.reply_end[index] = pool.reply_at[index] + reply_bytes;
}

static void add_frame(int index, int opcode, const char *text, size_t length, const char *reply, size_t reply_bytes) {
    unsigned char mask[4];
    place(index);
    char *out = pool.wire + pool.wire_at[index];
    random_bytes(mask, sizeof mask);
    size_t header = frame_header(out, opcode, length, mask);
    frame_mask(out + header, text, length, mask);
    memcpy(pool.reply + pool.reply_at[index], reply, reply_bytes);
    pool.wire_end[index] = pool.wire_at[index] + header + length;
    pool.reply_end[index] = pool.reply_at[index] + reply_bytes;
}

/* Random bytes; every message begins with its own number, so that a mix-up never compares equal. */
static void fill(char *payload, size_t payload_bytes, int index, bool text) {
    char number[16];
    random_bytes(payload, payload_bytes);
    if (text)
        for (size_t i = 0; i < payload_bytes; i++) payload[i] = (char)(' ' + (unsigned char)payload[i] % 94);
    snprintf(number, sizeof number, "%07d ", index);
    memcpy(payload, number, payload_bytes < 8 ? payload_bytes : 8);
}

/* The same block of memory again and again, from a page border on. */
static void map_repeatedly(char *at, size_t length, const char *block) {
    int file = memfd_create("block", MFD_CLOEXEC);
    if (file < 0 || write(file, block, BLOCK_BYTES) != BLOCK_BYTES) fail("memfd");
    for (size_t done = 0; done < length; done += BLOCK_BYTES) {
        size_t some = length - done < BLOCK_BYTES ? length - done : BLOCK_BYTES;
        void *mapped = mmap(at + done, some, PROT_READ, MAP_SHARED | MAP_FIXED | MAP_POPULATE, file, 0);
        if (mapped == MAP_FAILED) fail("mmap of a large message");
    }
    close(file);
}

/* Large messages repeat one random block, mapped over and over: megabytes to send and compare, 48 KiB to keep cached. */
static void pool_large(size_t payload_bytes, bool text, bool framed) {
    size_t page = 4096, span = page + (payload_bytes + page - 1) / page * page;
    static char block[BLOCK_BYTES], masked[BLOCK_BYTES];
    reserve(LARGE_MESSAGES, 0, 0);
    pool.apart = true;
    pool.reply_opcode = text ? 1 : 2;
    pool.wire = mmap(NULL, span * LARGE_MESSAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pool.reply = mmap(NULL, span * LARGE_MESSAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pool.wire == MAP_FAILED || pool.reply == MAP_FAILED) fail("no memory for the prepared messages");
    for (int i = 0; i < LARGE_MESSAGES; i++) {
        unsigned char mask[4] = {0};
        char header[14];
        size_t start = span * (size_t)i + page, header_bytes = 0;
        fill(block, sizeof block, i, text);
        if (framed) {
            random_bytes(mask, sizeof mask);
            header_bytes = frame_header(header, pool.reply_opcode, payload_bytes, mask);
        }
        frame_mask(masked, block, sizeof block, mask);
        map_repeatedly(pool.wire + start, span - page, masked);
        map_repeatedly(pool.reply + start, span - page, block);
        memcpy(pool.wire + start - header_bytes, header, header_bytes);
        pool.wire_at[i] = start - header_bytes;
        pool.wire_end[i] = start + payload_bytes;
        pool.reply_at[i] = start;
        pool.reply_end[i] = start + payload_bytes;
    }
}

void pool_bytes(size_t payload_bytes) {
    if (payload_bytes >= LARGE_BYTES) {
        pool_large(payload_bytes, false, false);
        return;
    }
    int count = fitting_count(payload_bytes);
    char *payload = malloc(payload_bytes + 1);
    reserve(count, (size_t)count * payload_bytes, (size_t)count * payload_bytes);
    for (int i = 0; i < count; i++) {
        fill(payload, payload_bytes, i, false);
        add(i, payload, payload_bytes, payload, payload_bytes);
    }
    free(payload);
}

/* Records as a service answers them; the numbers differ from message to message. */
static void fill_json(char *payload, size_t payload_bytes, int index) {
    char record[96];
    for (size_t at = 0; at < payload_bytes;) {
        unsigned score;
        random_bytes(&score, sizeof score);
        int length = snprintf(record, sizeof record, "{\"number\":%07d,\"player\":\"Ada\",\"score\":%u,\"right\":true},", index, score);
        size_t some = payload_bytes - at < (size_t)length ? payload_bytes - at : (size_t)length;
        memcpy(payload + at, record, some);
        at += some;
    }
}

static void pool_deflated(size_t payload_bytes) {
    int count = fitting_count(payload_bytes);
    size_t most = payload_bytes + 64; /* text that does not shrink */
    char *payload = malloc(payload_bytes + 1), *deflated = malloc(most);
    if (!payload || !deflated) fail("no memory for a message");
    reserve(count, (size_t)count * (most + 14), (size_t)count * payload_bytes);
    pool.reply_opcode = 1;
    for (int i = 0; i < count; i++) {
        fill_json(payload, payload_bytes, i);
        size_t length = deflate_message(deflated, most, payload, payload_bytes);
        add_frame(i, RSV1 | pool.reply_opcode, deflated, length, payload, payload_bytes);
    }
    free(payload);
    free(deflated);
}

void pool_websocket(size_t payload_bytes, bool text) {
    if (options.deflate) {
        pool_deflated(payload_bytes);
        return;
    }
    if (payload_bytes >= LARGE_BYTES) {
        pool_large(payload_bytes, text, true);
        return;
    }
    int count = fitting_count(payload_bytes);
    char *payload = malloc(payload_bytes + 1);
    reserve(count, (size_t)count * (payload_bytes + 14), (size_t)count * payload_bytes);
    pool.reply_opcode = text ? 1 : 2;
    for (int i = 0; i < count; i++) {
        fill(payload, payload_bytes, i, text);
        add_frame(i, pool.reply_opcode, payload, payload_bytes, payload, payload_bytes);
    }
    free(payload);
}

/* The object is written the one way every compact JSON encoder writes it, so the answer can be compared as bytes. */
void pool_socketio(const char *event, bool ack) {
    int count = MAX_MESSAGES;
    const char *answer = strcmp(event, "say") && strcmp(event, "visit") ? event : "news";
    reserve(count, (size_t)count * (EVENT_BYTES + 14), (size_t)count * EVENT_BYTES);
    pool.reply_opcode = 1;
    for (int i = 0; i < count; i++) {
        char object[EVENT_BYTES], sent[EVENT_BYTES + 32], reply[EVENT_BYTES + 32];
        snprintf(object, sizeof object, "{\"number\":%d,\"player\":\"Ada\",\"answer\":%d,\"right\":true}", i, i * 7 % 100);
        int sent_bytes, reply_bytes;
        if (ack) {
            sent_bytes = snprintf(sent, sizeof sent, "42%d[\"%s\",%s]", i, event, object);
            reply_bytes = snprintf(reply, sizeof reply, "43%d[%s]", i, object);
        } else {
            sent_bytes = snprintf(sent, sizeof sent, "42[\"%s\",%s]", event, object);
            reply_bytes = snprintf(reply, sizeof reply, "42[\"%s\",%s]", answer, object);
        }
        add_frame(i, 1, sent, (size_t)sent_bytes, reply, (size_t)reply_bytes);
    }
}

/* The same events as they stand in a payload of long polling. */
void pool_packets(const char *event) {
    pool_socketio(event, false);
    for (int i = 0; i < pool.count; i++) {
        char *at = pool.wire + pool.wire_at[i];
        size_t header = (at[1] & 0x7f) < 126 ? 6 : 8;
        frame_mask(at + header, at + header, pool.wire_end[i] - pool.wire_at[i] - header, (unsigned char *)at + header - 4);
        pool.wire_at[i] += header;
    }
}

void pool_http(void) {
    char request[1024];
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s:%d\r\nAccept: */*\r\n\r\n", options.path,
                          options.host, options.port);
    size_t expected = strlen(options.expect);
    reserve(1, (size_t)length, expected);
    add(0, request, (size_t)length, options.expect, expected);
}

bool pool_matches(int index, const char *data, size_t length) {
    size_t expected = pool.reply_end[index] - pool.reply_at[index];
    return length == expected && !memcmp(data, pool.reply + pool.reply_at[index], length);
}
