/* Every width of _mask.h against a loop over bytes: lengths, places in memory, offsets of the mask, the ASCII answer.
 * It must not know a frame. WITH_WORDS leaves the vectors of the architecture out; arguments: none, or "few" places. */
#define _DEFAULT_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "guarded_area.h"

#ifdef WITH_WORDS
#undef __SSE2__
#undef __x86_64__
#undef __ARM_NEON
#endif
#include "_mask.h"

enum { LONGEST = 600, PLACES = 64, CANARIES = 64, AREA = 3 * 4096 };

typedef int (*xor_function)(uint8_t *dst, const uint8_t *src, size_t n, uint32_t mask);

static int xor_short(uint8_t *dst, const uint8_t *src, size_t n, uint32_t mask) {
    return (wsf_xor_short(dst, src, n, mask) & UINT64_C(0x8080808080808080)) != 0;
}

static int xor_base(uint8_t *dst, const uint8_t *src, size_t n, uint32_t mask) {
    return wsf_xor_base(dst, src, n, mask);
}

static int xor_chosen(uint8_t *dst, const uint8_t *src, size_t n, uint32_t mask) {
    return wsf_xor(dst, src, n, mask);
}

/* What the functions take: the short one fewer than a vector, the large one at least what lies before an aligned byte,
 * the wide one whole steps. */
static const struct function {
    const char *name;
    xor_function call;
    size_t least, most, step;
    int wide;
} FUNCTIONS[] = {
    {"short", xor_short, 0, 15, 1, 0},
    {"base", xor_base, 0, LONGEST, 1, 0},
    {"chosen", xor_chosen, 0, LONGEST, 1, 0},
    {"large", wsf_xor_large, 31, LONGEST, 1, 1},
    {"wide", wsf_xor_wide, 0, LONGEST, WSF_WIDE_STEP, 1},
};

static uint8_t *from_area, *to_area;
static uint8_t payload[LONGEST], expected[LONGEST];
static unsigned long calls;

static void wrong(const char *what, const struct function *f, size_t n, const uint8_t *dst, const uint8_t *src) {
    printf("%s: %s, %zu bytes, to place %zu, from place %zu%s\n", f->name, what, n, (size_t)(dst - to_area),
           (size_t)(src - from_area), dst == src ? ", in place" : "");
    exit(1);
}

/* One call; what stands around `dst`, and `src` itself, stays as it was. */
static void check(const struct function *f, uint8_t *dst, uint8_t *src, size_t n, uint32_t mask, int answer) {
    uint8_t before[2 * CANARIES + LONGEST];
    const size_t ahead = dst >= to_area + CANARIES || dst == src ? CANARIES : (size_t)(dst - to_area);
    const size_t left = (size_t)(to_area + AREA - (dst + n));
    const size_t behind = dst == src || left > CANARIES ? CANARIES : left;
    memcpy(before, dst - ahead, ahead + n + behind);
    if (f->call(dst, src, n, mask) != answer) wrong("the ASCII answer is wrong", f, n, dst, src);
    if (memcmp(dst, expected, n)) wrong("the bytes are wrong", f, n, dst, src);
    if (memcmp(dst - ahead, before, ahead)) wrong("it wrote before them", f, n, dst, src);
    if (memcmp(dst + n, before + ahead + n, behind)) wrong("it wrote behind them", f, n, dst, src);
    if (dst != src && memcmp(src, payload, n)) wrong("it wrote to its source", f, n, dst, src);
    calls++;
}

/* Section 5.3, byte by byte. */
static void expect(const uint8_t *mask, size_t offset) {
    for (size_t i = 0; i < LONGEST; i++) expected[i] = payload[i] ^ mask[(i + offset) % 4];
}

static int not_ascii(size_t n) {
    for (size_t i = 0; i < n; i++)
        if (expected[i] >= 0x80) return 1;
    return 0;
}

static uint32_t number = 1;
static uint8_t by_chance(void) {
    number = number * 1664525u + 1013904223u;
    return (uint8_t)(number >> 24);
}

static void try_places(const struct function *f, size_t few, const uint8_t *mask, size_t offset) {
    const uint32_t word = wsf_mask_at(mask, offset);
    for (size_t n = f->least; n <= f->most; n += f->step) {
        const int answer = not_ascii(n);
        for (size_t to = 0; to < PLACES; to += few && to > 2 ? 13 : 1) {
            uint8_t *dst = to_area + CANARIES + to;
            for (size_t from = 0; from < PLACES; from += few && from > 2 ? 13 : 1) {
                uint8_t *src = from_area + CANARIES + from;
                memcpy(src, payload, n);
                memset(dst, 0xA5, n);
                check(f, dst, src, n, word, answer);
            }
            uint8_t *both = from_area + CANARIES + to;
            memcpy(both, payload, n);
            check(f, both, both, n, word, answer);
        }
        /* Beside the pages: both begin there, then both end there. */
        memcpy(from_area, payload, n);
        check(f, to_area, from_area, n, word, answer);
        memcpy(from_area + AREA - n, payload, n);
        check(f, to_area + AREA - n, from_area + AREA - n, n, word, answer);
    }
}

/* ASCII with one byte that is none, at each place of each length, wherever the bytes lie. */
static void try_answers(const struct function *f, size_t few, const uint8_t *mask) {
    const uint32_t word = wsf_mask_at(mask, 0);
    for (size_t i = 0; i < LONGEST; i++) payload[i] = (by_chance() & 0x7F) ^ mask[i % 4];
    expect(mask, 0);
    for (size_t n = f->least; n <= f->most; n += f->step)
        for (size_t to = 0; to < PLACES; to += few ? 13 : 1) {
            uint8_t *dst = to_area + CANARIES + to, *src = from_area + CANARIES + n % PLACES;
            memcpy(src, payload, n);
            if (f->call(dst, src, n, word)) wrong("ASCII is not seen", f, n, dst, src);
            for (size_t at = 0; at < n; at++) {
                src[at] ^= 0x80;
                if (!f->call(dst, src, n, word)) wrong("a byte above ASCII is not seen", f, n, dst, src);
                src[at] ^= 0x80;
                calls++;
            }
        }
}

static void try_offsets(const uint8_t *mask) {
    const uint64_t far[] = {UINT64_C(1) << 32, (UINT64_C(1) << 40) + 3, UINT64_MAX};
    for (uint64_t i = 0; i < 12; i++) {
        const uint64_t offset = i < 9 ? i : far[i - 9];
        const uint32_t turned = wsf_mask_at(mask, offset), again = wsf_turn(wsf_mask_at(mask, 0), offset);
        for (size_t j = 0; j < 4; j++)
            if (((const uint8_t *)&turned)[j] != mask[(j + offset) % 4] || turned != again) {
                printf("the mask is wrong at offset %llu\n", (unsigned long long)offset);
                exit(1);
            }
    }
}

int main(int count, char **arguments) {
    const uint8_t masks[2][4] = {{0x37, 0xFA, 0x21, 0x3D}, {0x81, 0x85, 0x00, 0xFF}};
    const size_t few = count > 1 && arguments[1][0] == 'f';
    from_area = guarded_area(AREA);
    to_area = guarded_area(AREA);
    for (size_t i = 0; i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++) {
        const struct function *f = FUNCTIONS + i;
        if (f->wide && !wsf_has_avx2()) continue;
        for (size_t offset = 0; offset < 4; offset++) {
            for (size_t j = 0; j < LONGEST; j++) payload[j] = by_chance();
            expect(masks[0], offset);
            try_places(f, few, masks[0], offset);
        }
        for (size_t j = 0; j < 2; j++) try_answers(f, few, masks[j]);
    }
    for (size_t j = 0; j < 2; j++) try_offsets(masks[j]);
    printf("%s %lu\n", wsf_mask_name(), calls);
    return 0;
}
