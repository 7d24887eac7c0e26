#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_VNNI

#define EE_DIGITS 1
#include "../../common/ee_products_vnni.h"

void ee_linear_qs8_vnni(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                        const float *weight_scale, const float *bias,
                        size_t rows, size_t in, size_t outs,
                        size_t out_stride, size_t q_stride, size_t weight_stride)
{
    products_vnni(out, q, NULL, scale, weight, weight_scale, bias, rows, in, outs, out_stride,
                  q_stride, weight_stride);
}

EE_TARGET_BEGIN(EE_VNNI_TARGET)

void ee_pack_linear_vnni(int8_t *to, const int8_t *weight, size_t in, size_t outs,
                         size_t weight_stride)
{
    for (size_t o = 0; o < outs; o += TILE_OUTS) {
        pack_weights(to + o * ee_packed_stride_qs8(in), weight + o * weight_stride,
                     ee_size_min(outs - o, TILE_OUTS), ee_row_stride_qs8(in), weight_stride);
    }
}

EE_TARGET_END

#endif
