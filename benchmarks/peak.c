/* peak.c: what this core can do at most. Prints one JSON object, GFLOP/s, GOP/s and GB/s.
 *
 *   cc -O2 -std=gnu99 peak.c -o peak && ./peak
 *
 * Two operations a multiply-add. Each measurement keeps twelve independent chains in registers,
 * more than latency times throughput of any core so far; the best of several counts, in CPU time.
 * Reading goes
 * through memory four times as large as common last-level caches.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHAINS 12
#define ROUNDS 1000000L
#define REPEATS 9
#define READ_BYTES ((size_t)128 << 20)

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* NAME: rate in 1e9 operations a second of STEP(vector), OPERATIONS in each; b and c are the other
 * factors. The empty asm makes the compiler do every step, for all that it knows with another b. */
#define CHAIN(CONSTRAINT, STEP, x)                                                                 \
    x = STEP(x);                                                                                   \
    __asm__ volatile("" : "+" CONSTRAINT(x), "+" CONSTRAINT(b));
#define PEAK(NAME, TARGET, VECTOR, ZERO, CONSTRAINT, STEP, OPERATIONS)                             \
    PEAK_OF(NAME, TARGET, VECTOR, ZERO, VECTOR, ZERO, CONSTRAINT, STEP, OPERATIONS)
#define PEAK_OF(NAME, TARGET, VECTOR, ZERO, FACTOR, NONE, CONSTRAINT, STEP, OPERATIONS)            \
    TARGET static double NAME(void)                                                                \
    {                                                                                              \
        VECTOR x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11;                                   \
        FACTOR b = NONE, c = NONE;                                                                 \
        double best = 0;                                                                           \
        x0 = x1 = x2 = x3 = x4 = x5 = x6 = x7 = x8 = x9 = x10 = x11 = ZERO;                        \
        __asm__ volatile("" : "+" CONSTRAINT(b), "+" CONSTRAINT(c));                               \
        for (int repeat = 0; repeat < REPEATS; repeat++) {                                         \
            double start = now(), rate;                                                            \
            for (long round = 0; round < ROUNDS; round++) {                                        \
                CHAIN(CONSTRAINT, STEP, x0) CHAIN(CONSTRAINT, STEP, x1)                            \
                CHAIN(CONSTRAINT, STEP, x2) CHAIN(CONSTRAINT, STEP, x3)                            \
                CHAIN(CONSTRAINT, STEP, x4) CHAIN(CONSTRAINT, STEP, x5)                            \
                CHAIN(CONSTRAINT, STEP, x6) CHAIN(CONSTRAINT, STEP, x7)                            \
                CHAIN(CONSTRAINT, STEP, x8) CHAIN(CONSTRAINT, STEP, x9)                            \
                CHAIN(CONSTRAINT, STEP, x10) CHAIN(CONSTRAINT, STEP, x11)                          \
            }                                                                                      \
            rate = 1e-9 * (double)ROUNDS * CHAINS * (OPERATIONS) / (now() - start);                \
            if (rate > best) best = rate;                                                          \
        }                                                                                          \
        return best;                                                                               \
    }

#if defined(__x86_64__)
#include <immintrin.h>
#define FOR(FEATURES) __attribute__((target(FEATURES)))
#define FMA_256(x) _mm256_fmadd_ps(b, c, x)
#define FMA_512(x) _mm512_fmadd_ps(b, c, x)
#define MADD_256(x) _mm256_add_epi32(x, _mm256_madd_epi16(b, c))
#define MADD_512(x) _mm512_add_epi32(x, _mm512_madd_epi16(b, c))
#define DPBUSD_512(x) _mm512_dpbusd_epi32(x, b, c)
PEAK(fma_f32_256, FOR("avx2,fma"), __m256, _mm256_setzero_ps(), "x", FMA_256, 16)
PEAK(fma_f32_512, FOR("avx512f"), __m512, _mm512_setzero_ps(), "v", FMA_512, 32)
PEAK(madd_i16_256, FOR("avx2"), __m256i, _mm256_setzero_si256(), "x", MADD_256, 32)
PEAK(madd_i16_512, FOR("avx512bw"), __m512i, _mm512_setzero_si512(), "v", MADD_512, 64)
PEAK(dpbusd_512, FOR("avx512f,avx512vnni"), __m512i, _mm512_setzero_si512(), "v", DPBUSD_512, 128)
#if defined(__linux__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#define HAS_TILES
/* Whether the CPU has tiles and their products of int8, and Linux grants them to this process. */
static int tiles_are_granted(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d >> 24 & 1 && d >> 25 & 1
           && syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18) == 0;
}

/* As above with whole tiles, of which there are eight: six chains. */
FOR("amx-tile,amx-int8") static double tdpbssd(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    double best = 0;
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    __asm__ volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        double start = now(), rate;
        for (long round = 0; round < ROUNDS / 8; round++) {
            _tile_dpbssd(0, 6, 7);
            _tile_dpbssd(1, 6, 7);
            _tile_dpbssd(2, 6, 7);
            _tile_dpbssd(3, 6, 7);
            _tile_dpbssd(4, 6, 7);
            _tile_dpbssd(5, 6, 7);
        }
        rate = 1e-9 * (double)(ROUNDS / 8) * 6 * 2 * 16 * 16 * 64 / (now() - start);
        if (rate > best) best = rate;
    }
    _tile_release();
    return best;
}
#endif
#elif defined(__aarch64__)
#include <arm_neon.h>
#include <sys/auxv.h>
#ifndef HWCAP_ASIMDDP
#define HWCAP_ASIMDDP (1UL << 20)
#endif
#define FOR(FEATURES) __attribute__((target(FEATURES)))
#define FMA_128(x) vfmaq_f32(x, b, c)
#define ADALP_128(x) vpadalq_s16(x, vmull_s8(vget_low_s8(b), vget_low_s8(c)))
#define SDOT_128(x) vdotq_s32(x, b, c)
PEAK(fma_f32_128, , float32x4_t, vdupq_n_f32(0), "w", FMA_128, 8)
PEAK_OF(adalp_i8_128, , int32x4_t, vdupq_n_s32(0), int8x16_t, vdupq_n_s8(0), "w", ADALP_128, 16)
PEAK_OF(sdot_128, FOR("arch=armv8.2-a+dotprod"), int32x4_t, vdupq_n_s32(0), int8x16_t,
        vdupq_n_s8(0), "w", SDOT_128, 32)
#endif

/* GB/s of summing READ_BYTES, eight sums at a time. */
static double read_bandwidth(void)
{
    size_t count = READ_BYTES / sizeof(uint64_t);
    uint64_t *data = malloc(READ_BYTES), sums[8] = {0};
    double best = 0;
    if (!data) return 0;
    memset(data, 1, READ_BYTES);
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        double start = now(), rate;
        for (size_t i = 0; i < count; i += 8)
            for (size_t j = 0; j < 8; j++) sums[j] += data[i + j];
        __asm__ volatile("" : : "r"(sums) : "memory");
        rate = 1e-9 * (double)READ_BYTES / (now() - start);
        if (rate > best) best = rate;
    }
    free(data);
    return best;
}

int main(void)
{
    printf("{\"read\": %.2f", read_bandwidth());
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        printf(", \"fma_f32_256\": %.2f", fma_f32_256());
        printf(", \"madd_i16_256\": %.2f", madd_i16_256());
    }
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")) {
        printf(", \"fma_f32_512\": %.2f", fma_f32_512());
        printf(", \"madd_i16_512\": %.2f", madd_i16_512());
        if (__builtin_cpu_supports("avx512vnni")) printf(", \"dpbusd_512\": %.2f", dpbusd_512());
    }
#ifdef HAS_TILES
    if (tiles_are_granted()) printf(", \"tdpbssd\": %.2f", tdpbssd());
#endif
#elif defined(__aarch64__)
    printf(", \"fma_f32_128\": %.2f, \"adalp_i8_128\": %.2f", fma_f32_128(), adalp_i8_128());
    if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) printf(", \"sdot_128\": %.2f", sdot_128());
#endif
    puts("}");
    return 0;
}
