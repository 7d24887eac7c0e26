#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_NEON

#include "../../common/ee_exact.h"
#include "../../common/ee_exact_neon.h"

void ee_log_softmax_exact_neon(float *out, const float *x, size_t rows, size_t dim)
{
    const size_t whole = dim - dim % 8, left = dim % 8;

    for (size_t t = 0; t < rows; t++, out += dim, x += dim) {
        const float max = ee_exact_max(x, dim);
        const ee_lanes8 last = ee_exact_sub(ee_exact_load(x + whole, left), max);

        ee_lanes8 lanes = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)};
        for (size_t d = 0; d < whole; d += 8) {
            const ee_lanes8 shifted = ee_exact_sub(ee_exact_load(x + d, 8), max);
            lanes = ee_exact_add(lanes, ee_exact_exp(shifted));
        }
        lanes = ee_exact_add(lanes, ee_exact_keep(ee_exact_exp(last), left));
        const float log_sum = ee_log(ee_exact_sum(lanes));

        for (size_t d = 0; d < whole; d += 8) {
            const ee_lanes8 shifted = ee_exact_sub(ee_exact_load(x + d, 8), max);
            ee_exact_store(out + d, ee_exact_sub(shifted, log_sum), 8);
        }
        ee_exact_store(out + whole, ee_exact_sub(last, log_sum), left);
    }
}

#endif
