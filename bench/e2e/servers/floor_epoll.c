/* The floor under any server: `floor_epoll PORT echo|broadcast`, a WebSocket server in C on epoll and nothing else.
 * It knows RFC 6455's happy path only (data frames of one fragment, ping, close); it is no server to expose. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SHARED_BYTES = 256 << 10, EVENTS = 512 };

struct bytes {
    char *at;
    size_t length, capacity;
};

struct client {
    int fd;
    bool upgraded, wants_write;
    struct client *previous, *next;
    struct bytes in, out;
};

static struct client everyone = {.previous = &everyone, .next = &everyone};
static char shared[SHARED_BYTES];
static int epoll_fd;
static bool broadcasts;

static void append(struct bytes *to, const void *data, size_t length) {
    if (to->length + length > to->capacity) {
        to->capacity = 2 * (to->length + length);
        to->at = realloc(to->at, to->capacity);
        if (!to->at) abort();
    }
    memcpy(to->at + to->length, data, length);
    to->length += length;
}

static void release(struct bytes *b) {
    free(b->at);
    *b = (struct bytes){0};
}

static uint32_t rotate(uint32_t x, int by) { return x << by | x >> (32 - by); }

/* SHA-1 (RFC 3174) of less than 120 bytes: all that the accept key of RFC 6455 section 4.2.2 needs. */
static void sha1(const char *data, size_t length, unsigned char *out) {
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    unsigned char padded[128] = {0};
    size_t blocks = (length + 9 + 63) / 64;
    memcpy(padded, data, length);
    padded[length] = 0x80;
    padded[blocks * 64 - 2] = (unsigned char)(length * 8 >> 8);
    padded[blocks * 64 - 1] = (unsigned char)(length * 8);
    for (size_t block = 0; block < blocks; block++) {
        uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 16; i++) {
            memcpy(&w[i], padded + block * 64 + i * 4, 4);
            w[i] = ntohl(w[i]);
        }
        for (int i = 16; i < 80; i++) w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t f, k;
            if (i < 20) f = (b & c) | (~b & d), k = 0x5A827999;
            else if (i < 40) f = b ^ c ^ d, k = 0x6ED9EBA1;
            else if (i < 60) f = (b & c) | (b & d) | (c & d), k = 0x8F1BBCDC;
            else f = b ^ c ^ d, k = 0xCA62C1D6;
            uint32_t t = rotate(a, 5) + f + e + k + w[i];
            e = d, d = c, c = rotate(b, 30), b = a, a = t;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
    for (int i = 0; i < 5; i++) {
        uint32_t word = htonl(h[i]);
        memcpy(out + i * 4, &word, 4);
    }
}

static void base64(const unsigned char *data, size_t length, char *out) {
    static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < length; i += 3) {
        uint32_t v = (uint32_t)data[i] << 16 | (i + 1 < length ? (uint32_t)data[i + 1] << 8 : 0) |
                     (i + 2 < length ? data[i + 2] : 0);
        *out++ = LETTERS[v >> 18];
        *out++ = LETTERS[v >> 12 & 63];
        *out++ = i + 1 < length ? LETTERS[v >> 6 & 63] : '=';
        *out++ = i + 2 < length ? LETTERS[v & 63] : '=';
    }
    *out = 0;
}

static void close_client(struct client *c) {
    close(c->fd);
    c->previous->next = c->next;
    c->next->previous = c->previous;
    release(&c->in);
    release(&c->out);
    free(c);
}

static void watch(struct client *c, int operation) {
    struct epoll_event event = {.events = EPOLLIN | (c->wants_write ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(epoll_fd, operation, c->fd, &event);
}

static bool flush(struct client *c) {
    size_t sent = 0;
    while (sent < c->out.length) {
        ssize_t n = send(c->fd, c->out.at + sent, c->out.length - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) return false;
        sent += (size_t)n;
    }
    c->out.length -= sent;
    if (c->out.length && sent) memmove(c->out.at, c->out.at + sent, c->out.length);
    if (!c->out.length && c->out.capacity > SHARED_BYTES) release(&c->out);
    if ((c->out.length > 0) != c->wants_write) {
        c->wants_write = c->out.length > 0;
        watch(c, EPOLL_CTL_MOD);
    }
    return true;
}

static size_t header(unsigned char *out, int opcode, size_t length) {
    size_t at = 2;
    out[0] = (unsigned char)(0x80 | opcode);
    out[1] = (unsigned char)(length < 126 ? length : length < 65536 ? 126 : 127);
    if (length >= 126)
        for (int shift = length < 65536 ? 8 : 56; shift >= 0; shift -= 8) out[at++] = (unsigned char)(length >> shift);
    return at;
}

static void unmask(char *data, size_t length, const unsigned char *mask) {
    uint64_t wide, word;
    uint32_t four;
    memcpy(&four, mask, 4);
    wide = (uint64_t)four << 32 | four;
    size_t i = 0;
    for (; i + 8 <= length; i += 8) {
        memcpy(&word, data + i, 8);
        word ^= wide;
        memcpy(data + i, &word, 8);
    }
    for (; i < length; i++) data[i] ^= (char)mask[i & 3];
}

static bool upgrade(struct client *c, char *data, size_t *used, size_t length) {
    char text[128], answer[256], *end = memmem(data, length, "\r\n\r\n", 4);
    unsigned char digest[20];
    if (!end) return true;
    *end = 0;
    char *key = strcasestr(data, "sec-websocket-key:");
    if (!key) return false;
    key += 18;
    while (*key == ' ') key++;
    int bytes = snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1(text, (size_t)bytes, digest);
    base64(digest, sizeof digest, text);
    bytes = snprintf(answer, sizeof answer,
                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Accept: %s\r\n\r\n", text);
    append(&c->out, answer, (size_t)bytes);
    c->upgraded = true;
    *used = (size_t)(end - data) + 4;
    return true;
}

static void deliver(struct client *c, int opcode, const char *payload, size_t length) {
    unsigned char head[10];
    size_t head_bytes = header(head, opcode, length);
    if (!broadcasts || opcode > 7) {
        append(&c->out, head, head_bytes);
        append(&c->out, payload, length);
        return;
    }
    for (struct client *other = everyone.next; other != &everyone; other = other->next) {
        if (!other->upgraded) continue;
        append(&other->out, head, head_bytes);
        append(&other->out, payload, length);
    }
}

/* Returns the bytes done with, or -1 to close. */
static ssize_t receive(struct client *c, char *data, size_t length) {
    size_t at = 0;
    if (!c->upgraded && !upgrade(c, data, &at, length)) return -1;
    if (!c->upgraded) return 0;
    while (length - at >= 6) {
        unsigned char *head = (unsigned char *)data + at;
        size_t payload = head[1] & 127, bytes = 2;
        int opcode = head[0] & 15;
        if (!(head[1] & 128) || opcode == 8) return -1;
        if (payload >= 126) {
            int wide = payload == 126 ? 2 : 8;
            if (length - at < (size_t)wide + 6) break;
            payload = 0;
            for (int i = 0; i < wide; i++) payload = payload << 8 | head[bytes++];
        }
        if (length - at - bytes - 4 < payload) break;
        unmask((char *)head + bytes + 4, payload, head + bytes);
        deliver(c, opcode == 9 ? 10 : opcode, (char *)head + bytes + 4, payload);
        at += bytes + 4 + payload;
    }
    return (ssize_t)at;
}

static bool readable(struct client *c) {
    char *data = shared;
    ssize_t received, used;
    if (c->in.length) {
        if (c->in.capacity - c->in.length < SHARED_BYTES / 2) {
            c->in.capacity = 2 * c->in.capacity + SHARED_BYTES;
            c->in.at = realloc(c->in.at, c->in.capacity);
        }
        received = recv(c->fd, c->in.at + c->in.length, c->in.capacity - c->in.length, 0);
        data = c->in.at;
    } else {
        received = recv(c->fd, shared, sizeof shared - 1, 0);
    }
    if (received < 0 && errno == EAGAIN) return true;
    if (received <= 0) return false;
    size_t length = c->in.length + (size_t)received;
    if ((used = receive(c, data, length)) < 0) return false;
    if (data == shared) {
        c->in.length = 0;
        append(&c->in, data + used, length - (size_t)used);
    } else {
        memmove(data, data + used, length - (size_t)used);
        c->in.length = length - (size_t)used;
        if (!c->in.length) release(&c->in);
    }
    return true;
}

static void accept_all(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct client *c = calloc(1, sizeof *c);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c->fd = fd;
        c->next = &everyone;
        c->previous = everyone.previous;
        everyone.previous->next = c;
        everyone.previous = c;
        watch(c, EPOLL_CTL_ADD);
    }
}

static void flush_everyone(void) {
    for (struct client *c = everyone.next, *next; c != &everyone; c = next) {
        next = c->next;
        if (c->out.length && !c->wants_write && !flush(c)) close_client(c);
    }
}

int main(int argc, char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN, .data.ptr = NULL};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (argc < 3) return fprintf(stderr, "usage: floor_epoll PORT echo|broadcast\n"), 2;
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    broadcasts = !strcmp(argv[2], "broadcast");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) return perror("bind"), 1;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct client *c = events[i].data.ptr;
            bool alive = true;
            if (!c) {
                accept_all(listener);
                continue;
            }
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) alive = readable(c);
            if (alive && (events[i].events & EPOLLOUT || !broadcasts)) alive = flush(c);
            if (!alive) close_client(c);
        }
        if (broadcasts) flush_everyone();
    }
}
