#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX512

#include "../../common/ee_exact_avx2.h"
#include "../../common/ee_exact_avx512.h"

enum { GROUP = 8, PART = 16 * EE_EXP_VECTORS };

EE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl")

/* SUM(exp(x - max)) */
static inline float sum_of_exps(const float *x, size_t dim, float max)
{
    const __m512 maxes = _mm512_set1_ps(max);
    __m256 lanes = _mm256_setzero_ps();

    for (size_t d = 0; d < dim; d += PART) {
        __m512 e[EE_EXP_VECTORS];
        __mmask16 exists[EE_EXP_VECTORS];

        EE_UNROLL
        for (size_t v = 0; v < EE_EXP_VECTORS; v++) {
            exists[v] = ee_exact_lanes_at(dim - d, v);
            e[v] = _mm512_sub_ps(_mm512_maskz_loadu_ps(exists[v], x + d + 16 * v), maxes);
        }
        ee_exact_exps(e, EE_EXP_VECTORS);
        EE_UNROLL
        for (size_t v = 0; v < EE_EXP_VECTORS; v++) {
            lanes = ee_exact_add16(lanes, _mm512_maskz_mov_ps(exists[v], e[v]));
        }
    }
    return ee_exact_sum(lanes);
}

static inline void shift(float *out, const float *x, size_t dim, float max, float log_sum)
{
    for (size_t d = 0; d < dim; d += 16) {
        const __mmask16 exists = ee_exact_lanes(dim - d);
        const __m512 below = _mm512_sub_ps(_mm512_maskz_loadu_ps(exists, x + d),
                                           _mm512_set1_ps(max));
        _mm512_mask_storeu_ps(out + d, exists, _mm512_sub_ps(below, _mm512_set1_ps(log_sum)));
    }
}

/* As ee_softmax_qs8_avx512, each step for a few rows before the next. */
void ee_log_softmax_exact_avx512(float *out, const float *x, size_t rows, size_t dim)
{
    float max[GROUP], sum[GROUP], log_sum[GROUP];

    for (size_t t = 0; t < rows; t += GROUP) {
        const size_t count = ee_size_min(rows - t, GROUP);

        for (size_t i = 0; i < count; i++) {
            max[i] = ee_exact_max16(x + (t + i) * dim, dim);
        }
        for (size_t i = 0; i < count; i++) {
            sum[i] = sum_of_exps(x + (t + i) * dim, dim, max[i]);
        }
        for (size_t i = 0; i < count; i++) {
            log_sum[i] = ee_log(sum[i]);
        }
        for (size_t i = 0; i < count; i++) {
            shift(out + (t + i) * dim, x + (t + i) * dim, dim, max[i], log_sum[i]);
        }
    }
}

EE_TARGET_END

#endif
