/* ee_model.h: the inside of a model, shared by the files of src/runtime. */
#ifndef EE_MODEL_H
#define EE_MODEL_H

#include "ee.h"

typedef struct {
    const float *weight, *bias;
} ee_affine_f32;

struct ee_model {
    ee_config config;
    const ee_ops_f32 *ops;
    const float *positions;
    ee_affine_f32 conv1, conv2;
    const ee_affine_f32 *heads;             /* one an exit */
    const ee_conformer_weights_f32 *layers; /* those of exit 1, then those of exit 2, ... */
};

/* EE_OK, EE_ERR_ARGUMENT for NULL, or EE_ERR_CONFIG. */
ee_status ee_config_check(const ee_config *config);

static inline int ee_is_aligned(const void *pointer, size_t alignment)
{
    return (uintptr_t)pointer % alignment == 0;
}

#endif
