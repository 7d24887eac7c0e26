#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX512

#include <math.h>

#include "../../common/ee_exact_avx2.h"
#include "../../common/ee_exact_avx512.h"

/* The eight lanes of SUM are a chain of additions that wait for each other. So that others are done
 * meanwhile, ROWS rows go side by side. */
enum { ROWS = 4 };

EE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl")

static inline __m512 centre(const float *x, size_t count, float mean)
{
    const __m512 v = _mm512_maskz_loadu_ps(ee_exact_lanes(count), x);

    return ee_exact_flush16(_mm512_sub_ps(v, _mm512_set1_ps(mean)));
}

/* `rows` rows, a constant where this is called. */
static inline __attribute__((always_inline)) void
norm_rows(float *out, const float *x, const float *weight, const float *bias, size_t rows,
          size_t dim, float eps)
{
    const float one_over_dim = 1.0f / (float)dim;
    __m256 lanes[ROWS];
    float mean[ROWS];
    __m512 inverse[ROWS];

    EE_UNROLL
    for (size_t t = 0; t < rows; t++) {
        lanes[t] = _mm256_setzero_ps();
    }
    for (size_t d = 0; d < dim; d += 16) {
        const __mmask16 exists = ee_exact_lanes(dim - d);
        EE_UNROLL
        for (size_t t = 0; t < rows; t++) {
            lanes[t] = ee_exact_add16(lanes[t], _mm512_maskz_loadu_ps(exists, x + t * dim + d));
        }
    }
    EE_UNROLL
    for (size_t t = 0; t < rows; t++) {
        mean[t] = ee_exact_sum(lanes[t]) * one_over_dim;
        lanes[t] = _mm256_setzero_ps();
    }
    for (size_t d = 0; d < dim; d += 16) {
        const __mmask16 exists = ee_exact_lanes(dim - d);
        EE_UNROLL
        for (size_t t = 0; t < rows; t++) {
            const __m512 centred = centre(x + t * dim + d, dim - d, mean[t]);
            lanes[t] = ee_exact_add16(lanes[t], _mm512_maskz_mul_ps(exists, centred, centred));
        }
    }
    EE_UNROLL
    for (size_t t = 0; t < rows; t++) {
        const float variance = ee_exact_sum(lanes[t]) * one_over_dim;
        inverse[t] = _mm512_set1_ps(1.0f / sqrtf(variance + eps));
    }
    for (size_t d = 0; d < dim; d += 16) {
        const __mmask16 exists = ee_exact_lanes(dim - d);
        const __m512 w = _mm512_maskz_loadu_ps(exists, weight + d);
        const __m512 b = _mm512_maskz_loadu_ps(exists, bias + d);
        EE_UNROLL
        for (size_t t = 0; t < rows; t++) {
            const __m512 centred = centre(x + t * dim + d, dim - d, mean[t]);
            const __m512 y = _mm512_mul_ps(_mm512_mul_ps(centred, inverse[t]), w);
            _mm512_mask_storeu_ps(out + t * dim + d, exists,
                                  _mm512_add_ps(ee_exact_flush16(y), b));
        }
    }
}

void ee_layer_norm_exact_avx512(float *out, const float *x, const float *weight, const float *bias,
                                size_t rows, size_t dim, float eps)
{
    size_t t = 0;

    for (; rows - t >= ROWS; t += ROWS) {
        norm_rows(out + t * dim, x + t * dim, weight, bias, ROWS, dim, eps);
    }
    for (; t < rows; t++) {
        norm_rows(out + t * dim, x + t * dim, weight, bias, 1, dim, eps);
    }
}

EE_TARGET_END

#endif
