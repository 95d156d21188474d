/* UTF-8 (RFC 3629): validated as it arrives, and turned into sixteen-bit characters once it is known to be valid.
 * They must not know what a frame or a Python object is: bytes and lengths come in, nothing is allocated. */
#ifndef WSFRAME_UTF8_H
#define WSFRAME_UTF8_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "_cpu.h"

/* Below so many bytes the loops of vectors gain nothing (measured). */
#define WSF_UTF8_VECTORS_FROM 64

typedef struct {
    uint8_t missing; /* continuation bytes still to come */
    uint8_t lowest;  /* bounds of the next one */
    uint8_t highest;
} wsf_utf8;

/* The next n bytes by the table of RFC 3629 section 4; 0 at the first byte that no valid text can hold here. */
static inline int wsf_utf8_steps(wsf_utf8 *state, const uint8_t *p, size_t n) {
    uint8_t missing = state->missing, lowest = state->lowest, highest = state->highest;
    for (size_t i = 0; i < n;) {
        if (!missing) {
            uint64_t word;
            for (; i + 8 <= n; i += 8) {
                memcpy(&word, p + i, 8);
                if (word & UINT64_C(0x8080808080808080)) break;
            }
            if (i == n) break;
        }
        const uint8_t byte = p[i++];
        if (missing) {
            if (byte < lowest || byte > highest) return 0;
            missing--;
            lowest = 0x80;
            highest = 0xBF;
        } else if (byte >= 0x80) {
            if (byte < 0xC2 || byte > 0xF4) return 0;
            missing = (uint8_t)(byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3);
            lowest = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
            highest = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
        }
    }
    state->missing = missing;
    state->lowest = lowest;
    state->highest = highest;
    return 1;
}

#if WSF_AVX2_POSSIBLE

/* What a pair of bytes can break. Each of three tables names, for a half of a byte, what that half allows to be broken; a
 * fault is what all three name (Keiser and Lemire, "Validating UTF-8 in less than one instruction per byte", 2020). */
enum {
    WSF_SHORT = 1,      /* a lead byte without its continuation */
    WSF_LONG = 2,       /* a continuation behind ASCII */
    WSF_OVERLONG_3 = 4, /* E0 80..9F */
    WSF_ABOVE = 8,      /* F4 90..BF and F5.., beyond U+10FFFF */
    WSF_SURROGATE = 16, /* ED A0..BF */
    WSF_OVERLONG_2 = 32, /* C0, C1 */
    WSF_EDGE_4 = 64,    /* F0 80..8F, overlong; F5.. 80..8F, beyond U+10FFFF */
    WSF_TWO = 128,      /* two continuations: no fault where a lead of three or four bytes stands before */
    WSF_ALWAYS = WSF_SHORT | WSF_LONG | WSF_TWO,
    WSF_BEYOND = WSF_ALWAYS | WSF_ABOVE | WSF_EDGE_4,
    WSF_AFTER = WSF_LONG | WSF_OVERLONG_2 | WSF_TWO
};

#define WSF_TWICE(...) _mm256_setr_epi8(__VA_ARGS__, __VA_ARGS__)

/* Whole blocks of 32 bytes that begin at a character's border; what is unfinished behind them is not looked for. */
WSF_AVX2 static int wsf_utf8_blocks(const uint8_t *p, size_t n) {
    const __m256i of_first_high = WSF_TWICE(
        WSF_LONG, WSF_LONG, WSF_LONG, WSF_LONG, WSF_LONG, WSF_LONG, WSF_LONG, WSF_LONG,
        (char)WSF_TWO, (char)WSF_TWO, (char)WSF_TWO, (char)WSF_TWO, WSF_SHORT | WSF_OVERLONG_2, WSF_SHORT,
        WSF_SHORT | WSF_OVERLONG_3 | WSF_SURROGATE, WSF_SHORT | WSF_ABOVE | WSF_EDGE_4);
    const __m256i of_first_low = WSF_TWICE(
        (char)(WSF_ALWAYS | WSF_OVERLONG_2 | WSF_OVERLONG_3 | WSF_EDGE_4), (char)(WSF_ALWAYS | WSF_OVERLONG_2),
        (char)WSF_ALWAYS, (char)WSF_ALWAYS, (char)(WSF_ALWAYS | WSF_ABOVE), (char)WSF_BEYOND, (char)WSF_BEYOND,
        (char)WSF_BEYOND, (char)WSF_BEYOND, (char)WSF_BEYOND, (char)WSF_BEYOND, (char)WSF_BEYOND, (char)WSF_BEYOND,
        (char)(WSF_BEYOND | WSF_SURROGATE), (char)WSF_BEYOND, (char)WSF_BEYOND);
    const __m256i of_second_high = WSF_TWICE(
        WSF_SHORT, WSF_SHORT, WSF_SHORT, WSF_SHORT, WSF_SHORT, WSF_SHORT, WSF_SHORT, WSF_SHORT,
        (char)(WSF_AFTER | WSF_OVERLONG_3 | WSF_EDGE_4), (char)(WSF_AFTER | WSF_OVERLONG_3 | WSF_ABOVE),
        (char)(WSF_AFTER | WSF_SURROGATE | WSF_ABOVE), (char)(WSF_AFTER | WSF_SURROGATE | WSF_ABOVE),
        WSF_SHORT, WSF_SHORT, WSF_SHORT, WSF_SHORT);
    const __m256i half = _mm256_set1_epi8(0x0F);
    __m256i before = _mm256_setzero_si256(), faults = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i += 32) {
        const __m256i block = _mm256_loadu_si256((const __m256i *)(const void *)(p + i));
        if (!_mm256_movemask_epi8(_mm256_or_si256(block, before))) {
            before = block;
            continue;
        }
        /* The blocks that begin one, two and three bytes earlier. */
        const __m256i joint = _mm256_permute2x128_si256(before, block, 0x21);
        const __m256i first = _mm256_alignr_epi8(block, joint, 15);
        const __m256i second = _mm256_alignr_epi8(block, joint, 14), third = _mm256_alignr_epi8(block, joint, 13);
        const __m256i pairs = _mm256_and_si256(
            _mm256_and_si256(
                _mm256_shuffle_epi8(of_first_high, _mm256_and_si256(_mm256_srli_epi16(first, 4), half)),
                _mm256_shuffle_epi8(of_first_low, _mm256_and_si256(first, half))),
            _mm256_shuffle_epi8(of_second_high, _mm256_and_si256(_mm256_srli_epi16(block, 4), half)));
        /* The top bit where a lead of three bytes stands two before, or one of four three before: two continuations
         * must meet here, and only here. */
        const __m256i due = _mm256_or_si256(_mm256_subs_epu8(second, _mm256_set1_epi8(0xE0 - 0x80)),
                                            _mm256_subs_epu8(third, _mm256_set1_epi8(0xF0 - 0x80)));
        faults = _mm256_or_si256(
            faults, _mm256_xor_si256(_mm256_and_si256(due, _mm256_set1_epi8((char)0x80)), pairs));
        before = block;
    }
    return _mm256_testz_si256(faults, faults);
}

/* Characters are counted by their first bytes; *top is the largest byte, which tells how wide the widest is. */
WSF_AVX2 static size_t wsf_utf8_count(const uint8_t *p, size_t n, uint8_t *top) {
    __m256i most = _mm256_setzero_si256();
    uint64_t sums[4], chars = 0;
    size_t i = 0;
    while (i + 32 <= n) {
        __m256i found = _mm256_setzero_si256();
        /* 255 times at most: the counts are bytes. */
        const size_t end = n - i > 255 * 32 ? i + 255 * 32 : i + (n - i) / 32 * 32;
        for (; i < end; i += 32) {
            const __m256i block = _mm256_loadu_si256((const __m256i *)(const void *)(p + i));
            found = _mm256_sub_epi8(found, _mm256_cmpgt_epi8(block, _mm256_set1_epi8(-65)));
            most = _mm256_max_epu8(most, block);
        }
        _mm256_storeu_si256((__m256i *)(void *)sums, _mm256_sad_epu8(found, _mm256_setzero_si256()));
        chars += sums[0] + sums[1] + sums[2] + sums[3];
    }
    uint8_t bytes[32], largest = 0;
    _mm256_storeu_si256((__m256i *)(void *)bytes, most);
    for (int at = 0; at < 32; at++) largest = bytes[at] > largest ? bytes[at] : largest;
    for (; i < n; i++) {
        chars += (int8_t)p[i] > -65;
        largest = p[i] > largest ? p[i] : largest;
    }
    *top = largest;
    return (size_t)chars;
}

/* How the first characters of twelve bytes are spread over a vector: six of up to two bytes to sixteen bits each, else
 * four of up to three bytes to 32 bits each. Looked up by where characters end, a bit for each of the twelve bytes. */
enum { WSF_SIXES = 64, WSF_FOURS = 81 };
static uint8_t wsf_spreads[WSF_SIXES + WSF_FOURS][16];
static struct {
    uint8_t spread, nbytes;
} wsf_spread_of[4096];

static void wsf_utf8_make_tables(void) {
    for (int spread = 0; spread < WSF_SIXES + WSF_FOURS; spread++) {
        const int six = spread < WSF_SIXES, base = six ? 2 : 3, lane = six ? 2 : 4;
        int rest = six ? spread : spread - WSF_SIXES, at = 0;
        memset(wsf_spreads[spread], 0x80, 16); /* 0x80: a zero */
        for (int character = 0; character < (six ? 6 : 4); character++, rest /= base) {
            const int size = 1 + rest % base;
            for (int byte = 0; byte < size; byte++) /* the last byte is the lowest */
                wsf_spreads[spread][character * lane + byte] = (uint8_t)(at + size - 1 - byte);
            at += size;
        }
    }
    for (int ends = 0; ends < 4096; ends++) {
        int sizes[6] = {1, 1, 1, 1, 1, 1}, size = 0, count = 0, spread = 0, nbytes = 0;
        for (int byte = 0; byte < 12 && count < 6; byte++) {
            size++;
            if (ends >> byte & 1) sizes[count++] = size < 3 ? size : 3, size = 0;
        }
        int six = count == 6;
        for (int at = 0; at < 6; at++) six &= sizes[at] <= 2;
        for (int at = six ? 5 : 3; at >= 0; at--) {
            spread = spread * (six ? 2 : 3) + sizes[at] - 1;
            nbytes += sizes[at];
        }
        wsf_spread_of[ends].spread = (uint8_t)(six ? spread : WSF_SIXES + spread);
        wsf_spread_of[ends].nbytes = (uint8_t)nbytes;
    }
}

/* Valid text whose characters have three bytes at most, into exactly `chars` characters. */
WSF_AVX2 static void wsf_utf8_widen(const uint8_t *p, size_t n, uint16_t *out, size_t chars) {
    const uint8_t *const end = p + n;
    const uint16_t *const out_end = out + chars;
    const __m256i continuation = _mm256_set1_epi8(-64);
    /* 24 bytes that hold eight characters of three bytes, as two times four lanes of 32 bits. */
    const __m256i triples = WSF_TWICE(2, 1, 0, -1, 5, 4, 3, -1, 8, 7, 6, -1, 11, 10, 9, -1);
    /* 64 bytes at a time, of which all but the last few are used; a store may be too long, and is written over. */
    while (end - p >= 64 && out_end - out >= 64 + 16) {
        const uint32_t low = (uint32_t)_mm256_movemask_epi8(_mm256_cmpgt_epi8(
            continuation, _mm256_loadu_si256((const __m256i *)(const void *)p)));
        const uint32_t high = (uint32_t)_mm256_movemask_epi8(_mm256_cmpgt_epi8(
            continuation, _mm256_loadu_si256((const __m256i *)(const void *)(p + 32))));
        /* A character ends before a byte that is no continuation; whether one ends with byte 63 is not known. */
        uint64_t ends = ~((uint64_t)high << 32 | low) >> 1;
        const uint8_t *const begun = p;
        while (p - begun <= 64 - 28) {
            const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
            unsigned used;
            if ((ends & 0xFFFFFF) == 0x924924) {
                const __m256i both = _mm256_inserti128_si256(
                    _mm256_castsi128_si256(bytes), _mm_loadu_si128((const __m128i *)(const void *)(p + 12)), 1);
                const __m256i lanes = _mm256_shuffle_epi8(both, triples);
                const __m256i found = _mm256_or_si256(
                    _mm256_or_si256(_mm256_and_si256(lanes, _mm256_set1_epi32(0x3F)),
                                    _mm256_srli_epi32(_mm256_and_si256(lanes, _mm256_set1_epi32(0x3F00)), 2)),
                    _mm256_srli_epi32(_mm256_and_si256(lanes, _mm256_set1_epi32(0x0F0000)), 4));
                _mm_storeu_si128((__m128i *)(void *)out, _mm_packus_epi32(_mm256_castsi256_si128(found),
                                                                          _mm256_extracti128_si256(found, 1)));
                used = 24;
                out += 8;
            } else if ((ends & 0xFFFF) == 0xFFFF) {
                _mm256_storeu_si256((__m256i *)(void *)out, _mm256_cvtepu8_epi16(bytes));
                used = 16;
                out += 16;
            } else {
                const unsigned spread = wsf_spread_of[ends & 0xFFF].spread;
                const __m128i lanes =
                    _mm_shuffle_epi8(bytes, _mm_loadu_si128((const __m128i *)(const void *)wsf_spreads[spread]));
                used = wsf_spread_of[ends & 0xFFF].nbytes;
                if (spread < WSF_SIXES) {
                    _mm_storeu_si128((__m128i *)(void *)out,
                                     _mm_or_si128(_mm_and_si128(lanes, _mm_set1_epi16(0x7F)),
                                                  _mm_srli_epi16(_mm_and_si128(lanes, _mm_set1_epi16(0x1F00)), 2)));
                    out += 6;
                } else {
                    const __m128i found = _mm_or_si128(
                        _mm_or_si128(_mm_and_si128(lanes, _mm_set1_epi32(0x7F)),
                                     _mm_srli_epi32(_mm_and_si128(lanes, _mm_set1_epi32(0x3F00)), 2)),
                        _mm_srli_epi32(_mm_and_si128(lanes, _mm_set1_epi32(0x0F0000)), 4));
                    _mm_storel_epi64((__m128i *)(void *)out, _mm_packus_epi32(found, found));
                    out += 4;
                }
            }
            p += used;
            ends >>= used;
        }
    }
    while (p < end) {
        if (*p < 0x80) {
            *out++ = *p++;
        } else if (*p < 0xE0) {
            *out++ = (uint16_t)((p[0] & 0x1F) << 6 | (p[1] & 0x3F));
            p += 2;
        } else {
            *out++ = (uint16_t)((p[0] & 0x0F) << 12 | (p[1] & 0x3F) << 6 | (p[2] & 0x3F));
            p += 3;
        }
    }
}

#else

static void wsf_utf8_make_tables(void) {}
static size_t wsf_utf8_count(const uint8_t *p, size_t n, uint8_t *top) {
    (void)p, (void)n;
    *top = 0xFF;
    return 0;
}
static void wsf_utf8_widen(const uint8_t *p, size_t n, uint16_t *out, size_t chars) {
    (void)p, (void)n, (void)out, (void)chars;
}

#endif

/* As wsf_utf8_steps. Faults of one call are told alike wherever they stand in it. */
static inline int wsf_utf8_ok(wsf_utf8 *state, const uint8_t *p, size_t n) {
#if WSF_AVX2_POSSIBLE
    if (n >= WSF_UTF8_VECTORS_FROM && wsf_has_avx2()) {
        size_t begin = 0, end;
        for (; state->missing && begin < 3; begin++)
            if (!wsf_utf8_steps(state, p + begin, 1)) return 0;
        end = begin + (n - begin) / 32 * 32;
        if (!wsf_utf8_blocks(p + begin, end - begin)) return 0;
        /* A character that reaches over the blocks' end is looked at once more, with its rest. */
        for (size_t back = 1; back <= 3 && back <= end - begin; back++) {
            const uint8_t byte = p[end - back];
            if (byte >= 0x80 && byte < 0xC0) continue;
            if (back < (size_t)(byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4)) end -= back;
            break;
        }
        p += end;
        n -= end;
    }
#endif
    return wsf_utf8_steps(state, p, n);
}

#endif
