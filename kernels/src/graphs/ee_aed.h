/* ee_aed.h: the tensors of an attention decoder, as its graph lists them and its steps take them. */
#ifndef EE_AED_H
#define EE_AED_H

#include "ee_conformer.h"

/* The tensors of the stem behind the Conformer's, in their order. Of a matrix of an int8 model the
 * scales of its rows follow. */
typedef struct {
    const void *positions, *embedding, *norm_weight, *norm_bias;
    const float *positions_scale, *embedding_scale;
} ee_aed_shared;

/* A matrix and what belongs to it; scale is NULL in float32. */
typedef struct {
    const void *weight;
    const float *scale, *bias;
} ee_affine;

typedef struct {
    const float *weight, *bias;
} ee_norm;

typedef struct {
    ee_norm norm;
    ee_affine in, out;
} ee_aed_module; /* of the feed-forward module, in is up and out is down */

typedef struct {
    ee_aed_module own, cross, ff;
} ee_aed_layer;

ee_aed_shared ee_aed_shared_of(const ee_model *model);
/* layer: from 0. */
ee_aed_layer ee_aed_layer_of(const ee_model *model, uint32_t exit, uint32_t layer);
ee_affine ee_aed_head_of(const ee_model *model, uint32_t exit);

#endif
