/* The early-exit Conformer with bidirectional LSTMs in its heads, in float32 and in int8 mode. */
#include <string.h>

#include "../common/ee_qs8.h"
#include "../common/ee_size.h"
#include "ee_conformer.h"

#define MATRIX EE_ROW_MATRIX
#define FLOATS EE_ROW_FLOATS

/* Letters of the sizes of LSTM n, from 0, which are 0 where a head has not so many: the first of
 * each, and n more. */
enum {
    GATES = 'a',                           /* of both directions */
    DIRECTION = GATES + EE_MAX_LSTM_LAYERS, /* the gates of one */
    PRESENT = DIRECTION + EE_MAX_LSTM_LAYERS, /* 1 */
    BEHIND = PRESENT + EE_MAX_LSTM_LAYERS
};

#define LSTM(number, in)                                                              \
    {"lstm." #number ".in.weight", GATES + number - 1, in, MATRIX},                   \
    {"lstm." #number ".in.bias", PRESENT + number - 1, 'G', FLOATS},                  \
    {"lstm." #number ".forward.weight", DIRECTION + number - 1, 'W', MATRIX},         \
    {"lstm." #number ".backward.weight", DIRECTION + number - 1, 'W', MATRIX}

static const ee_tensor_row HEAD[] = {
    LSTM(1, 'D'), LSTM(2, 'Y'), LSTM(3, 'Y'), LSTM(4, 'Y'),
    LSTM(5, 'Y'), LSTM(6, 'Y'), LSTM(7, 'Y'), LSTM(8, 'Y'),
    {"weight", 'V', 'Y', MATRIX}, {"bias", '1', 'V', FLOATS},
};

typedef char head_has_rows_for_every_lstm[
    sizeof(HEAD) / sizeof(HEAD[0]) == 4 * EE_MAX_LSTM_LAYERS + 2 ? 1 : -1];

static const ee_tensor_table head_table = {HEAD, sizeof(HEAD) / sizeof(HEAD[0])};

static size_t size(const ee_config *config, uint8_t letter, uint32_t exit)
{
    const size_t width = config->lstm_width;

    if (letter >= GATES && letter < BEHIND) {
        const size_t of_one[] = {8 * width, 4 * width, 1};
        const size_t lstm = (size_t)(letter - GATES) % EE_MAX_LSTM_LAYERS;

        return lstm < config->lstm_layers ? of_one[(letter - GATES) / EE_MAX_LSTM_LAYERS] : 0;
    }
    switch (letter) {
    case 'G':
        return 8 * width;
    case 'W':
        return width;
    case 'Y': /* what an LSTM gives */
        return 2 * width;
    default:
        return ee_conformer_size(config, letter, exit);
    }
}

static ee_status check(const ee_config *config)
{
    return config->lstm_layers >= 1 && config->lstm_layers <= EE_MAX_LSTM_LAYERS
                   && config->lstm_width >= 1 && config->lstm_width <= EE_MAX_SIZE / 8
                   && config->chunk == 0
               ? ee_conformer_check(config)
               : EE_ERR_CONFIG;
}

/* ---- Sizes: log-probabilities, what two LSTMs give, and what an LSTM or the head needs ---- */

static size_t floats_of(size_t rows, size_t columns)
{
    return ee_whole_lines(ee_size_mul(ee_size_mul(rows, columns), sizeof(float)));
}

static size_t lstm_bytes(const ee_config *config, size_t rows, size_t in, const ee_team *team)
{
#ifndef EE_NO_F32
    if (config->dtype == EE_DTYPE_F32) {
        return ee_size_mul(ee_lstm_f32_scratch(rows, in, config->lstm_width, team),
                           sizeof(float));
    }
#endif
    return ee_lstm_qs8_scratch(rows, in, config->lstm_width, team);
}

static size_t head_bytes(const ee_config *config, size_t rows, const ee_team *team)
{
    const size_t columns = 2 * (size_t)config->lstm_width;
    const size_t widest = config->lstm_layers > 1 ? ee_size_max(config->dim, columns)
                                                  : config->dim;
    const size_t lstm = lstm_bytes(config, rows, widest, team);
    const size_t linear = config->dtype == EE_DTYPE_F32
                              ? 0
                              : ee_exit_head_qs8_scratch(rows, columns, config->vocab, team);

    return ee_size_add(ee_size_add(floats_of(rows, config->vocab),
                                   ee_size_mul(2, floats_of(rows, columns))),
                       ee_size_max(lstm, linear));
}

static size_t scratch_bytes(const ee_config *config, size_t rows, const ee_team *team)
{
    return ee_size_max(ee_conformer_scratch(config, rows, team), head_bytes(config, rows, team));
}

/* ---- Heads ---- */

#ifndef EE_NO_F32

typedef struct {
    const float *in_weight, *in_bias, *forward_weight, *backward_weight;
} lstm_f32;

typedef struct {
    const float *weight, *bias;
} linear_f32;

#endif

typedef struct {
    const int8_t *in_weight;
    const float *in_weight_scale, *in_bias;
    const int8_t *forward_weight;
    const float *forward_weight_scale;
    const int8_t *backward_weight;
    const float *backward_weight_scale;
} lstm_qs8;

typedef struct {
    const int8_t *weight;
    const float *weight_scale, *bias;
} linear_qs8;

/* The next tensors into the members of a struct. */
static const void *const *take(void *members, size_t bytes, const void *const *tensors)
{
    memcpy(members, tensors, bytes);
    return tensors + bytes / sizeof(void *);
}

/* out (rows, 2*lstm_width); returns the tensors behind those of this LSTM. */
static const void *const *run_lstm(const ee_model *model, const void *const *tensors, float *out,
                                   const float *x, size_t rows, size_t in, void *scratch,
                                   const ee_team *team)
{
    const size_t width = model->config.lstm_width;

#ifndef EE_NO_F32
    if (model->config.dtype == EE_DTYPE_F32) {
        lstm_f32 w;

        tensors = take(&w, sizeof(w), tensors);
        ee_lstm_f32_c(out, x, w.in_weight, w.in_bias, w.forward_weight, w.backward_weight, rows,
                      in, width, scratch, model->ops->f32, team);
        return tensors;
    }
#endif
    lstm_qs8 w;

    tensors = take(&w, sizeof(w), tensors);
    ee_lstm_qs8_c(out, x, w.in_weight, w.in_weight_scale, w.in_bias, w.forward_weight,
                  w.forward_weight_scale, w.backward_weight, w.backward_weight_scale, rows, in,
                  width, scratch, model->ops->qs8, team);
    return tensors;
}

static void run_linear(const ee_model *model, const void *const *tensors, float *out,
                       const float *x, size_t rows, void *scratch, const ee_team *team)
{
    const size_t columns = 2 * (size_t)model->config.lstm_width;
    const size_t vocab = model->config.vocab;

#ifndef EE_NO_F32
    if (model->config.dtype == EE_DTYPE_F32) {
        linear_f32 w;

        (void)take(&w, sizeof(w), tensors);
        ee_exit_head_f32_c(out, x, w.weight, w.bias, rows, columns, vocab, model->ops->f32, team);
        return;
    }
#endif
    linear_qs8 w;

    (void)take(&w, sizeof(w), tensors);
    ee_exit_head_qs8_c(out, x, w.weight, w.weight_scale, w.bias, rows, columns, vocab, scratch,
                       model->ops->qs8, team);
}

static void head(const ee_model *model, uint32_t exit, ee_output *out, const float *x, size_t rows,
                 void *scratch, const ee_team *team)
{
    const ee_config *const c = &model->config;
    const size_t columns = 2 * (size_t)c->lstm_width;
    const void *const *tensors = ee_tensors_of(model, exit, model->graph->layers(c, exit));
    char *rest = scratch;
    float *const log_probs = ee_take(&rest, floats_of(rows, c->vocab));
    float *const given[] = {ee_take(&rest, floats_of(rows, columns)),
                            ee_take(&rest, floats_of(rows, columns))};
    size_t in = c->dim;

    for (uint32_t n = 0; n < c->lstm_layers; n++) {
        tensors = run_lstm(model, tensors, given[n % 2], x, rows, in, rest, team);
        x = given[n % 2];
        in = columns;
    }
    run_linear(model, tensors, log_probs, x, rows, rest, team);
    out->kind = EE_OUTPUT_LOG_PROBS;
    out->columns = c->vocab;
    out->data = log_probs;
}

const ee_graph ee_graph_conformer_lstm = {
    .architecture = EE_ARCH_CONFORMER_LSTM,
    .stem_tensors = &ee_conformer_stem_table,
    .layer_tensors = &ee_conformer_layer_table,
    .head_tensors = &head_table,
    .own_offset = offsetof(ee_config, lstm_layers),
    .own_bytes = 2 * sizeof(uint32_t),
    .check = check,
    .size = size,
    .window = ee_conformer_window,
    .frames = ee_as_many_rows,
    .x_rows = ee_as_many_rows,
    .layers = ee_conformer_layers,
    .reach = ee_conformer_reach,
    .cache_bytes = ee_conformer_group_cache_bytes,
    .scratch = scratch_bytes,
    .stem = ee_conformer_stem,
    .place = ee_conformer_place,
    .group = ee_conformer_group,
    .head = head,
};
