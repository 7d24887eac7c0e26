/* CRC-32 by carry-less multiplication, after Gopal et al., "Fast CRC Computation for Generic
 * Polynomials Using PCLMULQDQ Instruction" (Intel, 2009); constants for the reflected polynomial
 * from its section 6.
 *
 * A 128-bit piece of the message, d bits ahead of another one, may be replaced by its remainder:
 * multiplied by x^d mod P (two 64-bit halves, two constants) and added to the piece there. Four
 * pieces are folded side by side to hide the latency of the multiplier, then into one, then to 32
 * bits by Barrett reduction. */
#include "ee.h"

#ifdef EE_HAVE_AVX2

#include <immintrin.h>

#include "../common/ee_target.h"

EE_TARGET_BEGIN("pclmul,sse4.1")

static inline __m128i fold(__m128i piece, __m128i constants, __m128i next)
{
    const __m128i low = _mm_clmulepi64_si128(piece, constants, 0x00);
    const __m128i high = _mm_clmulepi64_si128(piece, constants, 0x11);

    return _mm_xor_si128(next, _mm_xor_si128(low, high));
}

static inline __m128i load(const unsigned char *data)
{
    return _mm_loadu_si128((const __m128i *)(const void *)data);
}

uint32_t ee_crc32_avx2(uint32_t crc, const void *data, size_t bytes)
{
    const unsigned char *next = data;
    const __m128i by_512 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
    const __m128i by_128 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    const __m128i by_64 = _mm_set_epi64x(0, 0x0163cd6124);
    const __m128i barrett = _mm_set_epi64x(0x01f7011641, 0x01db710641); /* mu, P */
    const __m128i low_32 = _mm_set_epi32(0, -1, 0, -1);

    if (bytes < 64) {
        return ee_crc32_c(crc, next, bytes);
    }

    __m128i a = _mm_xor_si128(load(next), _mm_cvtsi32_si128((int)~crc));
    __m128i b = load(next + 16);
    __m128i c = load(next + 32);
    __m128i d = load(next + 48);
    for (next += 64, bytes -= 64; bytes >= 64; next += 64, bytes -= 64) {
        /* A mapped file is read once, from end to end: stay ahead of the hardware prefetcher,
         * which stops at every 4 KB page. Prefetching past the end is harmless. */
        _mm_prefetch((const char *)next + 1024, _MM_HINT_T0);
        a = fold(a, by_512, load(next));
        b = fold(b, by_512, load(next + 16));
        c = fold(c, by_512, load(next + 32));
        d = fold(d, by_512, load(next + 48));
    }
    a = fold(a, by_128, b);
    a = fold(a, by_128, c);
    a = fold(a, by_128, d);
    for (; bytes >= 16; next += 16, bytes -= 16) {
        a = fold(a, by_128, load(next));
    }

    /* 128 bits -> 96 -> 64, each step appending 32 zero bits, as a CRC does to its message. */
    a = _mm_xor_si128(_mm_srli_si128(a, 8), _mm_clmulepi64_si128(a, by_128, 0x10));
    a = _mm_xor_si128(_mm_srli_si128(a, 4),
                      _mm_clmulepi64_si128(_mm_and_si128(a, low_32), by_64, 0x00));

    /* Barrett: the quotient by P from the low 32 bits, times P, taken away. */
    __m128i quotient = _mm_clmulepi64_si128(_mm_and_si128(a, low_32), barrett, 0x10);
    quotient = _mm_clmulepi64_si128(_mm_and_si128(quotient, low_32), barrett, 0x00);
    crc = (uint32_t)_mm_extract_epi32(_mm_xor_si128(a, quotient), 1);

    return ee_crc32_c(~crc, next, bytes);
}

EE_TARGET_END

#endif
