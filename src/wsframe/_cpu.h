/* What the processor that runs us has beyond the one we were compiled for, asked once a call.
 * It must not know what the vectors are used for. */
#ifndef WSFRAME_CPU_H
#define WSFRAME_CPU_H

/* AVX2 chosen at run time, where the compiler can: the wheel still runs on any x86-64. WSF_AVX2 marks a function that
 * may use it, and is called only where wsf_has_avx2 says so. */
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define WSF_AVX2_POSSIBLE 1
#define WSF_AVX2 __attribute__((target("avx2")))
static inline int wsf_has_avx2(void) { return __builtin_cpu_supports("avx2"); }
#elif defined(_M_X64) && !defined(_M_ARM64EC)
#include <immintrin.h>
#include <intrin.h>
#define WSF_AVX2_POSSIBLE 1
#define WSF_AVX2
/* The processor has it (leaf 7, EBX bit 5), and the operating system keeps the registers (XCR0 bits 1 and 2, which leaf
 * 1, ECX bit 27 lets us read). */
static inline int wsf_has_avx2(void) {
    static int known; /* 0: not asked yet; 1: no; 2: yes. Two threads that ask find the same. */
    if (!known) {
        int words[4];
        __cpuid(words, 0);
        const int leaves = words[0];
        __cpuid(words, 1);
        int has = leaves >= 7 && (words[2] & (1 << 27)) && (_xgetbv(0) & 6) == 6;
        if (has) {
            __cpuidex(words, 7, 0);
            has = (words[1] & (1 << 5)) != 0;
        }
        known = 1 + has;
    }
    return known == 2;
}
#else
#define WSF_AVX2_POSSIBLE 0
static inline int wsf_has_avx2(void) { return 0; }
#endif

#endif
