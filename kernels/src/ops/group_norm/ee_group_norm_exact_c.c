#include <math.h>

#include "../../common/ee_composites_qs8.h"
#include "../../common/ee_exact.h"

void ee_moments_exact_add(ee_moments_exact *moments, const float *x, size_t rows, size_t channels,
                          size_t stride)
{
    const float before = (float)moments->rows, own = (float)rows;
    const float all = (float)(moments->rows + rows);
    const float one_over_own = 1.0f / own, part = own / all, weight = (before * own) / all;
    float mean[EE_MOMENTS_EXACT] = {0.0f}, squares[EE_MOMENTS_EXACT] = {0.0f};

    for (size_t t = 0; t < rows; t++) {
        for (size_t c = 0; c < channels; c++) {
            mean[c] += x[t * stride + c];
        }
    }
    for (size_t c = 0; c < channels; c++) {
        mean[c] *= one_over_own;
    }
    for (size_t t = 0; t < rows; t++) {
        for (size_t c = 0; c < channels; c++) {
            const float centred = ee_flush(x[t * stride + c] - mean[c]);
            squares[c] += centred * centred;
        }
    }
    for (size_t c = 0; c < channels; c++) {
        const float apart = ee_flush(mean[c] - moments->mean[c]);
        moments->mean[c] += apart * part;
        moments->squares[c] = (moments->squares[c] + squares[c]) + (apart * apart) * weight;
    }
    moments->rows += rows;
}

void ee_moments_exact_inverse(const ee_moments_exact *moments, float *inverse, size_t channels,
                              float eps)
{
    const float one_over_rows = 1.0f / (float)moments->rows;

    for (size_t c = 0; c < channels; c++) {
        inverse[c] = 1.0f / sqrtf(moments->squares[c] * one_over_rows + eps);
    }
}

void ee_group_norm_exact_rows(float *out, const float *x, const float *mean, const float *inverse,
                              const float *weight, const float *bias, size_t rows, size_t channels,
                              size_t stride)
{
    for (size_t t = 0; t < rows; t++) {
        for (size_t c = 0; c < channels; c++) {
            const float centred = ee_flush(x[t * stride + c] - mean[c]);
            out[t * stride + c] = ee_flush((centred * inverse[c]) * weight[c]) + bias[c];
        }
    }
}

typedef struct {
    float *out;
    const float *x, *weight, *bias;
    size_t rows, dim;
    float eps;
} job;

static void channels_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const size_t first = item * EE_MOMENTS_EXACT;
    const size_t channels = ee_size_min(j->dim - first, EE_MOMENTS_EXACT);
    ee_moments_exact moments = {.rows = 0};
    float inverse[EE_MOMENTS_EXACT];

    (void)worker;
    for (size_t t = 0; t < j->rows; t += EE_MOMENTS_ROWS) {
        ee_moments_exact_add(&moments, j->x + t * j->dim + first,
                             ee_size_min(j->rows - t, EE_MOMENTS_ROWS), channels, j->dim);
    }
    ee_moments_exact_inverse(&moments, inverse, channels, j->eps);
    ee_group_norm_exact_rows(j->out + first, j->x + first, moments.mean, inverse,
                             j->weight + first, j->bias + first, j->rows, channels, j->dim);
}

void ee_group_norm_exact_c(float *out, const float *x, const float *weight, const float *bias,
                           size_t rows, size_t dim, float eps, const ee_ops_qs8 *ops,
                           const ee_team *team)
{
    const job j = {out, x, weight, bias, rows, dim, eps};

    (void)ops;
    if (rows > 0) {
        ee_run(team, channels_task, &j, ee_block_count(dim, EE_MOMENTS_EXACT));
    }
}
