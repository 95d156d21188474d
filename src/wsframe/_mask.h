/* The XOR loops of RFC 6455 section 5.3, for any alignment, in place or from one buffer into another.
 * They must not know what a frame is: bytes, a length and four mask bytes come in, nothing is allocated. */
#ifndef WSFRAME_MASK_H
#define WSFRAME_MASK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "_cpu.h"

/* Sixteen bytes at a time, with what every processor of the architecture has. */
#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
typedef __m128i wsf_vec;
#define WSF_MASK_BASE "sse2"
static inline wsf_vec wsf_load(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }
static inline void wsf_store(uint8_t *p, wsf_vec v) { _mm_storeu_si128((__m128i *)(void *)p, v); }
static inline wsf_vec wsf_xor2(wsf_vec a, wsf_vec b) { return _mm_xor_si128(a, b); }
static inline wsf_vec wsf_or2(wsf_vec a, wsf_vec b) { return _mm_or_si128(a, b); }
static inline wsf_vec wsf_fill(uint32_t m) { return _mm_set1_epi32((int)m); }
static inline int wsf_top_bits(wsf_vec v) { return _mm_movemask_epi8(v); }
#elif defined(__ARM_NEON) || defined(_M_ARM64)
#include <arm_neon.h>
typedef uint8x16_t wsf_vec;
#define WSF_MASK_BASE "neon"
static inline wsf_vec wsf_load(const uint8_t *p) { return vld1q_u8(p); }
static inline void wsf_store(uint8_t *p, wsf_vec v) { vst1q_u8(p, v); }
static inline wsf_vec wsf_xor2(wsf_vec a, wsf_vec b) { return veorq_u8(a, b); }
static inline wsf_vec wsf_or2(wsf_vec a, wsf_vec b) { return vorrq_u8(a, b); }
static inline wsf_vec wsf_fill(uint32_t m) { return vreinterpretq_u8_u32(vdupq_n_u32(m)); }
static inline int wsf_top_bits(wsf_vec v) {
    uint64x2_t w = vreinterpretq_u64_u8(v);
    return ((vgetq_lane_u64(w, 0) | vgetq_lane_u64(w, 1)) & UINT64_C(0x8080808080808080)) != 0;
}
#else
typedef struct { uint64_t a, b; } wsf_vec;
#define WSF_MASK_BASE "words"
static inline wsf_vec wsf_load(const uint8_t *p) { wsf_vec v; memcpy(&v, p, 16); return v; }
static inline void wsf_store(uint8_t *p, wsf_vec v) { memcpy(p, &v, 16); }
static inline wsf_vec wsf_xor2(wsf_vec x, wsf_vec y) { wsf_vec v = {x.a ^ y.a, x.b ^ y.b}; return v; }
static inline wsf_vec wsf_or2(wsf_vec x, wsf_vec y) { wsf_vec v = {x.a | y.a, x.b | y.b}; return v; }
static inline wsf_vec wsf_fill(uint32_t m) {
    uint64_t w = ((uint64_t)m << 32) | m;
    wsf_vec v = {w, w};
    return v;
}
static inline int wsf_top_bits(wsf_vec v) { return ((v.a | v.b) & UINT64_C(0x8080808080808080)) != 0; }
#endif

/* The mask as a word in memory order, beginning at payload byte `offset` (section 5.3: j = i MOD 4). */
static inline uint32_t wsf_mask_at(const uint8_t *mask, uint64_t offset) {
    uint8_t turned[4];
    uint32_t word;
    for (unsigned i = 0; i < 4; i++) turned[i] = mask[(offset + i) & 3];
    memcpy(&word, turned, 4);
    return word;
}

static inline uint32_t wsf_turn(uint32_t word, uint64_t offset) {
    uint8_t mask[4];
    memcpy(mask, &word, 4);
    return (offset & 3) ? wsf_mask_at(mask, offset) : word;
}

/* Fewer than sixteen bytes. Both loads come before both stores, so that the halves may overlap in place.
 * Returns a word whose 0x80 bits say whether any byte written has its top bit set. */
static inline uint64_t wsf_xor_short(uint8_t *dst, const uint8_t *src, size_t n, uint32_t m) {
    if (n >= 8) {
        uint64_t a, b, m2 = ((uint64_t)m << 32) | m, t = wsf_turn(m, n);
        t = (t << 32) | t; /* n - 8 and n leave the same remainder by 4 */
        memcpy(&a, src, 8);
        memcpy(&b, src + n - 8, 8);
        a ^= m2;
        b ^= t;
        memcpy(dst, &a, 8);
        memcpy(dst + n - 8, &b, 8);
        return a | b;
    }
    if (n >= 4) {
        uint32_t a, b, t = wsf_turn(m, n);
        memcpy(&a, src, 4);
        memcpy(&b, src + n - 4, 4);
        a ^= m;
        b ^= t;
        memcpy(dst, &a, 4);
        memcpy(dst + n - 4, &b, 4);
        return a | b;
    }
    uint8_t mask[4], seen = 0;
    memcpy(mask, &m, 4);
    for (size_t i = 0; i < n; i++) {
        dst[i] = src[i] ^ mask[i];
        seen |= dst[i];
    }
    return seen;
}

/* Twice the speed of SSE2 within the caches (docs/benchmarks/codec.md). AVX-512 was measured too and gains nothing over
 * it. */
#if WSF_AVX2_POSSIBLE
#define WSF_WIDE_FROM 256
#define WSF_WIDE_STEP 128

WSF_AVX2 static inline __m256i wsf_load32(const uint8_t *p, __m256i w) {
    return _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(const void *)p), w);
}

/* The first n bytes, n a multiple of WSF_WIDE_STEP; returned as wsf_xor does. */
WSF_AVX2 static int wsf_xor_wide(uint8_t *dst, const uint8_t *src, size_t n, uint32_t m) {
    const __m256i w = _mm256_set1_epi32((int)m);
    __m256i seen = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i += WSF_WIDE_STEP) {
        const __m256i a = wsf_load32(src + i, w), b = wsf_load32(src + i + 32, w);
        const __m256i c = wsf_load32(src + i + 64, w), d = wsf_load32(src + i + 96, w);
        _mm256_storeu_si256((__m256i *)(void *)(dst + i), a);
        _mm256_storeu_si256((__m256i *)(void *)(dst + i + 32), b);
        _mm256_storeu_si256((__m256i *)(void *)(dst + i + 64), c);
        _mm256_storeu_si256((__m256i *)(void *)(dst + i + 96), d);
        seen = _mm256_or_si256(seen, _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d)));
    }
    return _mm256_movemask_epi8(seen) != 0;
}
#else
#define WSF_WIDE_FROM SIZE_MAX
#define WSF_WIDE_STEP 1
static inline int wsf_xor_wide(uint8_t *dst, const uint8_t *src, size_t n, uint32_t m) {
    (void)dst, (void)src, (void)n, (void)m;
    return 0;
}
#endif

static inline const char *wsf_mask_name(void) { return wsf_has_avx2() ? "avx2" : WSF_MASK_BASE; }

/* dst = src ^ mask with the vectors that every processor has. Returns 0 when every byte written is ASCII. */
static inline int wsf_xor_base(uint8_t *dst, const uint8_t *src, size_t n, uint32_t m) {
    if (n < 16) return (wsf_xor_short(dst, src, n, m) & UINT64_C(0x8080808080808080)) != 0;
    const wsf_vec w = wsf_fill(m);
    /* The last sixteen bytes may overlap the loop's: loaded before it, stored after it. */
    const wsf_vec last = wsf_xor2(wsf_load(src + n - 16), wsf_fill(wsf_turn(m, n)));
    wsf_vec seen = last;
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        wsf_vec a = wsf_xor2(wsf_load(src + i), w), b = wsf_xor2(wsf_load(src + i + 16), w);
        wsf_vec c = wsf_xor2(wsf_load(src + i + 32), w), d = wsf_xor2(wsf_load(src + i + 48), w);
        wsf_store(dst + i, a);
        wsf_store(dst + i + 16, b);
        wsf_store(dst + i + 32, c);
        wsf_store(dst + i + 48, d);
        seen = wsf_or2(seen, wsf_or2(wsf_or2(a, b), wsf_or2(c, d)));
    }
    for (; i + 16 < n; i += 16) {
        wsf_vec a = wsf_xor2(wsf_load(src + i), w);
        wsf_store(dst + i, a);
        seen = wsf_or2(seen, a);
    }
    wsf_store(dst + n - 16, last);
    return wsf_top_bits(seen) != 0;
}

/* A large buffer: the wide loop from the first aligned byte of dst on. Stores that straddle two cache lines halve its
 * speed (measured), and the objects of Python are aligned to sixteen bytes only. */
static int wsf_xor_large(uint8_t *dst, const uint8_t *src, size_t n, uint32_t m) {
    const size_t lead = (size_t)(0 - (uintptr_t)dst) & 31;
    int seen = wsf_xor_base(dst, src, lead, m);
    dst += lead, src += lead, n -= lead;
    m = wsf_turn(m, lead);
    const size_t wide = n - n % WSF_WIDE_STEP;
    seen |= wsf_xor_wide(dst, src, wide, m);
    return seen | wsf_xor_base(dst + wide, src + wide, n - wide, m);
}

/* dst = src ^ mask; dst == src, or the two do not overlap. Returns 0 when every byte written is ASCII. */
static inline int wsf_xor(uint8_t *dst, const uint8_t *src, size_t n, uint32_t m) {
    if (n >= WSF_WIDE_FROM && wsf_has_avx2()) return wsf_xor_large(dst, src, n, m);
    return wsf_xor_base(dst, src, n, m);
}

#endif
