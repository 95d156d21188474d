/* The UTF-8 of _utf8.h against a reading by code points: each sequence, beside each border of the vectors, each cut.
 * It must not know a message. WITH_WORDS leaves the vectors out; arguments: none, or "few" sequences. */
#define _DEFAULT_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <stdint.h>
#include <string.h>
#include "guarded_area.h"

#ifdef WITH_WORDS
#undef __x86_64__
#endif
#include "_utf8.h"

enum { INVALID, UNFINISHED, WHOLE };
enum { LONGEST = 3 * 4096, BLOCK = 32, LOOKED_AT = 96, FIRST_PLACE = 26, LAST_PLACE = 34 };

/* Values that differ in any rule of RFC 3629 section 4. */
static const uint8_t EDGES[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF,
                                0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF};
enum { EDGE_COUNT = sizeof EDGES };

static uint8_t *text_area, *out_area;
static unsigned long tried;
static int few;

static void wrong(const char *what, const uint8_t *p, size_t n) {
    printf("%s, %zu bytes:", what, n);
    for (size_t i = 0; i < n && i < 200; i++) printf(" %02x", p[i]);
    printf("\n");
    exit(1);
}

static uint32_t number = 1;
static uint32_t by_chance(uint32_t below) {
    number = number * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)number * below) >> 32);
}

static size_t encode(uint8_t *p, uint32_t c) {
    if (c < 0x80) return p[0] = (uint8_t)c, 1;
    if (c < 0x800) return p[0] = (uint8_t)(0xC0 | c >> 6), p[1] = (uint8_t)(0x80 | (c & 0x3F)), 2;
    if (c < 0x10000) {
        p[0] = (uint8_t)(0xE0 | c >> 12), p[1] = (uint8_t)(0x80 | (c >> 6 & 0x3F)), p[2] = (uint8_t)(0x80 | (c & 0x3F));
        return 3;
    }
    p[0] = (uint8_t)(0xF0 | c >> 18), p[1] = (uint8_t)(0x80 | (c >> 12 & 0x3F));
    p[2] = (uint8_t)(0x80 | (c >> 6 & 0x3F)), p[3] = (uint8_t)(0x80 | (c & 0x3F));
    return 4;
}

/* Whether one of the code points from `low` to `high` is a character's, and needs so many bytes. */
static int any_character(uint32_t low, uint32_t high, int nbytes) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (low < least[nbytes]) low = least[nbytes];
    if (high > 0x10FFFF) high = 0x10FFFF;
    return low <= high && !(low >= 0xD800 && high <= 0xDFFF);
}

/* What the bytes are by the code points that they could still become. *due: bytes missing of the last character. */
static int meaning(const uint8_t *p, size_t n, int *due) {
    *due = 0;
    for (size_t i = 0; i < n;) {
        const uint8_t lead = p[i++];
        if (lead < 0x80) continue;
        const int nbytes = lead >= 0xF8 ? 0 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 0;
        if (!nbytes) return INVALID;
        uint32_t low = lead & (0xFFu >> (nbytes + 1));
        int missing = nbytes - 1;
        for (;; missing--) {
            const uint32_t rest = (1u << 6 * missing) - 1;
            if (!any_character(low << 6 * missing, (low << 6 * missing) | rest, nbytes)) return INVALID;
            if (!missing) break;
            if (i == n) return *due = missing, UNFINISHED;
            if ((p[i] & 0xC0) != 0x80) return INVALID;
            low = low << 6 | (p[i++] & 0x3F);
        }
    }
    return WHOLE;
}

/* One call from the beginning of a text on. */
static void check(const uint8_t *p, size_t n, int wanted, int due) {
    wsf_utf8 state = {0, 0, 0};
    const int ok = wsf_utf8_ok(&state, p, n);
    tried++;
    if (ok != (wanted != INVALID)) wrong(ok ? "taken for text" : "not taken for text", p, n);
    if (ok && state.missing != due) wrong("another count is due", p, n);
}

/* The sequence with valid text around it, so long that vectors are used, at the place and at the very end. */
static void check_placed(const uint8_t *sequence, size_t size, const uint8_t *around, size_t unit) {
    int due;
    const int wanted = meaning(sequence, size, &due);
    for (size_t place = FIRST_PLACE; place <= LAST_PLACE; place += few ? 3 : 1) {
        uint8_t *p = text_area + LONGEST - LOOKED_AT;
        size_t n = 0;
        for (; n < place % unit; n++) p[n] = 'a';
        while (n < place) memcpy(p + n, around, unit), n += unit;
        memcpy(p + place, sequence, size);
        memset(p + place + size, 'z', LOOKED_AT - place - size);
        check(p, LOOKED_AT, wanted == WHOLE ? WHOLE : INVALID, 0);
        /* It ends 64 bytes that begin a few bytes later, and the area as well. */
        uint8_t *last = text_area + LONGEST - 64 - place % 4;
        memset(last, 'a', (size_t)(text_area + LONGEST - last));
        memcpy(text_area + LONGEST - size, sequence, size);
        check(last, (size_t)(text_area + LONGEST - last), wanted, due);
    }
}

static void try_sequences(void) {
    static const uint8_t arounds[3][3] = {"a", {0xC3, 0xBC}, {0xE2, 0x82, 0xAC}};
    for (size_t size = 1; size <= 4; size++) {
        size_t count = 1;
        for (size_t i = 0; i < size; i++) count *= EDGE_COUNT;
        for (size_t each = 0; each < count; each += few ? 7 : 1) {
            uint8_t sequence[4];
            for (size_t i = 0, rest = each; i < size; i++, rest /= EDGE_COUNT) sequence[i] = EDGES[rest % EDGE_COUNT];
            check_placed(sequence, size, arounds[each % 3], each % 3 + 1);
        }
    }
}

/* Each pair and each triple of bytes, alone and behind ASCII; each character. */
static void try_all(void) {
    uint8_t *p = text_area + LONGEST - LOOKED_AT;
    for (uint32_t each = 0; each < 1u << 24; each += few ? 251 : 1) {
        const uint8_t sequence[3] = {(uint8_t)(each >> 16), (uint8_t)(each >> 8), (uint8_t)each};
        int due;
        const int wanted = meaning(sequence, 3, &due);
        check(sequence, 3, wanted, due);
        memset(p, 'a', LOOKED_AT);
        memcpy(p + 30, sequence, 3);
        check(p, LOOKED_AT, wanted == WHOLE ? WHOLE : INVALID, 0);
    }
    for (uint32_t c = 0; c < 0x110000; c += few ? 257 : 1) {
        if (c >= 0xD800 && c <= 0xDFFF) continue;
        memset(p, 'a', LOOKED_AT);
        encode(p + 28 + c % 5, c);
        check(p, LOOKED_AT, WHOLE, 0);
    }
}

/* A text by chance: stretches of characters of one length, and mixed ones. */
static size_t any_text(uint8_t *p, size_t most, int widest) {
    size_t n = 0;
    while (n + 4 <= most) {
        const int kind = (int)by_chance(5);
        for (uint32_t count = 1 + by_chance(40); count && n + 4 <= most; count--) {
            const int nbytes = kind && kind <= widest ? kind : 1 + (int)by_chance((uint32_t)widest);
            const uint32_t c = nbytes == 1   ? by_chance(0x80)
                               : nbytes == 2 ? 0x80 + by_chance(0x780)
                               : nbytes == 3 ? 0x800 + by_chance(0xD000)
                                             : 0x10000 + by_chance(0x100000);
            n += encode(p + n, c);
        }
    }
    return n;
}

/* Cut in three at any places: the state carries over, and the faults stay where they are. */
static void try_cuts(void) {
    static uint8_t text[400];
    for (int round = 0; round < (few ? 20 : 400); round++) {
        const size_t n = any_text(text, 100 + by_chance(300), 4);
        if (round % 2) text[by_chance((uint32_t)n)] = (uint8_t)by_chance(256);
        for (size_t cut = 0; cut <= n; cut++) {
            const size_t next = cut + by_chance((uint32_t)(n - cut) + 1);
            const size_t ends[4] = {0, cut, next, n};
            wsf_utf8 state = {0, 0, 0};
            for (int part = 0; part < 3; part++) {
                const size_t size = ends[part + 1] - ends[part];
                uint8_t *p = text_area + LONGEST - size;
                memcpy(p, text + ends[part], size);
                int due;
                const int wanted = meaning(text, ends[part + 1], &due), ok = wsf_utf8_ok(&state, p, size);
                tried++;
                if (ok != (wanted != INVALID)) wrong("in pieces: taken otherwise", text, ends[part + 1]);
                if (!ok) break;
                if (state.missing != due) wrong("in pieces: another count is due", text, ends[part + 1]);
            }
        }
    }
}

static void check_widened(size_t n, int widest) {
    uint8_t *p = text_area + LONGEST - n, top = 0, largest = 0;
    static uint16_t expected[LONGEST];
    size_t chars = 0;
    for (size_t i = 0; i < n;) {
        const uint8_t lead = p[i];
        largest = lead > largest ? lead : largest;
        if (lead < 0x80) expected[chars] = lead, i += 1;
        else if (lead < 0xE0) expected[chars] = (uint16_t)((lead & 0x1F) << 6 | (p[i + 1] & 0x3F)), i += 2;
        else if (lead < 0xF0)
            expected[chars] = (uint16_t)((lead & 0xF) << 12 | (p[i + 1] & 0x3F) << 6 | (p[i + 2] & 0x3F)), i += 3;
        else i += 4;
        chars++;
    }
    if (wsf_utf8_count(p, n, &top) != chars) wrong("characters are miscounted", p, n);
    if (top != largest) wrong("another byte is the largest", p, n);
    tried++;
    if (widest > 3) return;
    uint16_t *out = (uint16_t *)(void *)(out_area + LONGEST - 2 * chars);
    memset(out_area, 0xA5, LONGEST);
    wsf_utf8_widen(p, n, out, chars);
    if (memcmp(out, expected, 2 * chars)) wrong("characters are wrong", p, n);
    for (uint8_t *ahead = out_area; ahead < (uint8_t *)out; ahead++)
        if (*ahead != 0xA5) wrong("it wrote before its place", p, n);
}

static void try_widening(void) {
    for (int widest = 1; widest <= 4; widest++)
        for (size_t most = 0; most < 1200; most += few ? 29 : 1) {
            const size_t n = any_text(text_area, most, widest);
            memmove(text_area + LONGEST - n, text_area, n);
            check_widened(n, widest);
        }
    /* More than 255 blocks, whose counts fill a byte. */
    for (size_t n = 255 * BLOCK - 2; n < 257 * BLOCK + 2; n++) {
        memset(text_area + LONGEST - n, 'a', n);
        check_widened(n, 4); /* out_area has no room for so many */
        for (size_t i = 0; i + 3 <= n; i += 3) memcpy(text_area + LONGEST - n + i, "\xE2\x82\xAC", 3);
        memset(text_area + LONGEST - n % 3, 'b', n % 3);
        check_widened(n, 3);
    }
    if (few) return;
    /* Each character of up to three bytes, among others. */
    for (uint32_t c = 0; c < 0x10000; c++) {
        if (c >= 0xD800 && c <= 0xDFFF) continue;
        uint8_t text[400];
        size_t n = 0;
        while (n < 200) n += encode(text + n, by_chance(3) ? c : 0x20 + by_chance(0x700));
        memcpy(text_area + LONGEST - n, text, n);
        check_widened(n, 3);
    }
}

int main(int count, char **arguments) {
    few = count > 1 && arguments[1][0] == 'f';
    text_area = guarded_area(LONGEST);
    out_area = guarded_area(LONGEST);
    wsf_utf8_make_tables();
    try_sequences();
    try_all();
    try_cuts();
    if (wsf_has_avx2()) try_widening();
    printf("%s %lu\n", wsf_has_avx2() ? "avx2" : "words", tried);
    return 0;
}
