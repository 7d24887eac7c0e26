#include <math.h>

#include "../../common/ee_team.h"

/* Channels of a task: a cache line of each row. */
enum { CHANNELS = 16 };

typedef struct {
    float *out;
    const float *x, *weight, *bias;
    size_t rows, dim;
    float eps;
} job;

/* Summed twice, the second time around the mean: sum(x^2) - mean^2 would cancel when that is large.
 * In double precision, as there are as many terms as frames. */
static void channels_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const size_t first = item * CHANNELS, channels = ee_size_min(j->dim - first, CHANNELS);
    const double rows = (double)j->rows;
    double mean[CHANNELS] = {0.0}, squares[CHANNELS] = {0.0};
    float scale[CHANNELS];

    (void)worker;
    for (size_t t = 0; t < j->rows; t++) {
        for (size_t c = 0; c < channels; c++) {
            mean[c] += j->x[t * j->dim + first + c];
        }
    }
    for (size_t c = 0; c < channels; c++) {
        mean[c] /= rows;
    }
    for (size_t t = 0; t < j->rows; t++) {
        for (size_t c = 0; c < channels; c++) {
            const double centred = j->x[t * j->dim + first + c] - mean[c];
            squares[c] += centred * centred;
        }
    }
    for (size_t c = 0; c < channels; c++) {
        scale[c] = j->weight[first + c] / sqrtf((float)(squares[c] / rows) + j->eps);
    }
    for (size_t t = 0; t < j->rows; t++) {
        const size_t at = t * j->dim + first;
        for (size_t c = 0; c < channels; c++) {
            const float centred = (float)(j->x[at + c] - mean[c]);
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
        ee_run(team, channels_task, &j, ee_block_count(dim, CHANNELS));
    }
}
