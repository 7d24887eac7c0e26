#include <math.h>

#include "../../common/ee_composites_f32.h"

/* Summed twice, the second time around the mean: sum(x^2) - mean^2 would cancel when that is large.
 * What the parts before had joins by the formula of Chan, Golub and LeVeque. */
void ee_moments_add(ee_moments *moments, const float *x, size_t rows, size_t channels,
                    size_t stride)
{
    double mean[EE_MOMENTS] = {0.0}, squares[EE_MOMENTS] = {0.0};
    const double all = (double)(moments->rows + rows);

    for (size_t t = 0; t < rows; t++) {
        for (size_t c = 0; c < channels; c++) {
            mean[c] += x[t * stride + c];
        }
    }
    for (size_t c = 0; c < channels; c++) {
        mean[c] /= (double)rows;
    }
    for (size_t t = 0; t < rows; t++) {
        for (size_t c = 0; c < channels; c++) {
            const double centred = x[t * stride + c] - mean[c];
            squares[c] += centred * centred;
        }
    }
    for (size_t c = 0; c < channels; c++) {
        const double apart = mean[c] - moments->mean[c];
        moments->mean[c] += apart * ((double)rows / all);
        moments->squares[c] +=
            squares[c] + apart * apart * ((double)moments->rows * (double)rows / all);
    }
    moments->rows += rows;
}

double ee_moments_scale(const ee_moments *moments, size_t channel, float eps)
{
    return 1.0 / sqrtf((float)(moments->squares[channel] / (double)moments->rows + eps));
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
    const size_t first = item * EE_MOMENTS;
    const size_t channels = ee_size_min(j->dim - first, EE_MOMENTS);
    ee_moments moments = {0};
    float scale[EE_MOMENTS];

    (void)worker;
    ee_moments_add(&moments, j->x + first, j->rows, channels, j->dim);
    for (size_t c = 0; c < channels; c++) {
        scale[c] = (float)(j->weight[first + c] * ee_moments_scale(&moments, c, j->eps));
    }
    for (size_t t = 0; t < j->rows; t++) {
        const size_t at = t * j->dim + first;
        for (size_t c = 0; c < channels; c++) {
            const float centred = (float)(j->x[at + c] - moments.mean[c]);
            j->out[at + c] = centred * scale[c] + j->bias[first + c];
        }
    }
}

void ee_group_norm_f32_c(float *out, const float *x, const float *weight, const float *bias,
                         size_t rows, size_t dim, float eps, const ee_ops_f32 *ops,
                         const ee_team *team)
{
    const job j = {out, x, weight, bias, rows, dim, eps};

    (void)ops;
    if (rows > 0) {
        ee_run(team, channels_task, &j, ee_block_count(dim, EE_MOMENTS));
    }
}
