/* wav2vec 2.0 (arXiv:2006.11477) and HuBERT (arXiv:2106.07447) with CTC heads at exits: tensors and
 * sizes, and float32 mode. */
#include "ee_wav2vec2.h"

#include <math.h>
#include <string.h>

#include "../common/ee_composites_f32.h"
#include "../common/ee_qs8.h"

/* ---- Tensors: names and order are those of the model file (weights_io/FORMAT.md) ---- */

#define TABLE(rows) {rows, sizeof(rows) / sizeof((rows)[0])}
#define MATRIX EE_ROW_MATRIX
#define FLOATS EE_ROW_FLOATS

/* Letters that FORMAT.md has no need of. Of convolution n, from 0: rows and columns of its weight,
 * and 1 row or none of its bias and of its norm. 1 row or none of the norm after the stem and of that
 * of a head. Of gates: the products, the rows and the width of a head. */
enum {
    CONV_ROWS = 128,
    CONV_COLUMNS = CONV_ROWS + EE_MAX_CONVS,
    CONV_BIAS = CONV_COLUMNS + EE_MAX_CONVS,
    CONV_NORM = CONV_BIAS + EE_MAX_CONVS,
    STEM_NORM = CONV_NORM + EE_MAX_CONVS,
    HEAD_NORM,
    POSITIONAL,
    GATE_OUTS,
    GATE_VECTOR
};

#define CONV(number, n, kind)                                    \
    {"conv" #number ".weight", CONV_ROWS + n, CONV_COLUMNS + n, kind}, \
    {"conv" #number ".bias", CONV_BIAS + n, 'C', FLOATS},        \
    {"conv" #number ".norm.weight", CONV_NORM + n, 'C', FLOATS}, \
    {"conv" #number ".norm.bias", CONV_NORM + n, 'C', FLOATS}

/* Products take the first convolution with a group norm folded in, and the positional one a group at
 * a time: neither is packed. */
static const ee_tensor_row STEM[] = {
    CONV(1, 0, EE_ROW_TABLE), CONV(2, 1, MATRIX), CONV(3, 2, MATRIX), CONV(4, 3, MATRIX),
    CONV(5, 4, MATRIX), CONV(6, 5, MATRIX), CONV(7, 6, MATRIX), CONV(8, 7, MATRIX),
    CONV(9, 8, MATRIX), CONV(10, 9, MATRIX), CONV(11, 10, MATRIX), CONV(12, 11, MATRIX),
    CONV(13, 12, MATRIX), CONV(14, 13, MATRIX), CONV(15, 14, MATRIX), CONV(16, 15, MATRIX),
    {"proj.norm.weight", '1', 'C', FLOATS}, {"proj.norm.bias", '1', 'C', FLOATS},
    {"proj.weight", 'D', 'C', MATRIX}, {"proj.bias", '1', 'D', FLOATS},
    {"positional.weight", 'D', POSITIONAL, EE_ROW_TABLE}, {"positional.bias", '1', 'D', FLOATS},
    {"norm.weight", STEM_NORM, 'D', FLOATS}, {"norm.bias", STEM_NORM, 'D', FLOATS},
    {"distances", 'B', 'H', FLOATS},
};

static const ee_tensor_row LAYER[] = {
    {"attn.in.weight", '3', 'D', MATRIX}, {"attn.in.bias", '1', '3', FLOATS},
    {"attn.out.weight", 'D', 'D', MATRIX}, {"attn.out.bias", '1', 'D', FLOATS},
    {"attn.norm.weight", '1', 'D', FLOATS}, {"attn.norm.bias", '1', 'D', FLOATS},
    {"ff.up.weight", 'F', 'D', MATRIX}, {"ff.up.bias", '1', 'F', FLOATS},
    {"ff.down.weight", 'D', 'F', MATRIX}, {"ff.down.bias", '1', 'D', FLOATS},
    {"ff.norm.weight", '1', 'D', FLOATS}, {"ff.norm.bias", '1', 'D', FLOATS},
    {"attn.gate.weight", GATE_OUTS, 'W', MATRIX}, {"attn.gate.bias", GATE_VECTOR, '8', FLOATS},
    {"attn.gate.scale", GATE_VECTOR, 'H', FLOATS},
};

static const ee_tensor_row HEAD[] = {
    {"norm.weight", HEAD_NORM, 'D', FLOATS}, {"norm.bias", HEAD_NORM, 'D', FLOATS},
    {"weight", 'V', 'D', MATRIX}, {"bias", '1', 'V', FLOATS},
};

const ee_tensor_table ee_wav2vec2_stem_table = TABLE(STEM);
const ee_tensor_table ee_wav2vec2_layer_table = TABLE(LAYER);
const ee_tensor_table ee_wav2vec2_head_table = TABLE(HEAD);

static size_t conv_size(const ee_config *config, uint8_t letter)
{
    const size_t n = (size_t)(letter - CONV_ROWS) % EE_MAX_CONVS;

    if (config->conv_kernel[n] == 0) {
        return 0;
    }
    switch (letter - n) {
    case CONV_ROWS:
        return config->channels;
    case CONV_COLUMNS:
        return conv_window(config, n);
    case CONV_BIAS:
        return config->conv_bias;
    default: /* CONV_NORM */
        return (size_t)has_norm(config, n);
    }
}

size_t ee_wav2vec2_size(const ee_config *config, uint8_t letter, uint32_t exit)
{
    if (letter >= CONV_ROWS && letter < STEM_NORM) {
        return conv_size(config, letter);
    }
    switch (letter) {
    case '1':
        return 1;
    case '3': /* queries, keys and values */
        return 3 * (size_t)config->dim;
    case '8':
        return 8;
    case 'B':
        return config->buckets;
    case 'C':
        return config->channels;
    case 'D':
        return config->dim;
    case 'F':
        return config->ff;
    case 'H':
        return config->heads;
    case 'V':
        return config->vocab;
    case 'W':
        return config->dim / config->heads;
    case STEM_NORM:
        return config->norm == EE_NORM_POST;
    case HEAD_NORM:
        return config->head_norm[exit];
    case POSITIONAL:
        return positional_window(config);
    case GATE_OUTS:
        return config->buckets > 0 ? 8 : 0;
    default: /* GATE_VECTOR */
        return config->buckets > 0;
    }
}

/* ---- Sizes ---- */

ee_status ee_wav2vec2_check(const ee_config *config)
{
    const uint32_t sizes[] = {config->heads, config->ff, config->kernel, config->channels,
                              config->groups};
    const size_t convs = conv_count(config);
    size_t span = 1, hop = 1;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (sizes[i] < 1 || sizes[i] > EE_MAX_SIZE) {
            return EE_ERR_CONFIG;
        }
    }
    for (size_t n = EE_MAX_CONVS; n-- > 0;) {
        const size_t kernel = config->conv_kernel[n], stride = config->conv_stride[n];

        if ((stride == 0) != (n >= convs) || (n >= convs && kernel > 0)) {
            return EE_ERR_CONFIG;
        }
        if (n < convs) {
            span = (span - 1) * stride + kernel;
            hop *= stride;
        }
        /* No sum of int8 products may be longer. */
        if (span > EE_MAX_SIZE || hop > EE_MAX_SIZE || conv_window(config, n) > EE_MAX_SIZE) {
            return EE_ERR_CONFIG;
        }
    }
    for (uint32_t e = 0; e < config->exits; e++) {
        if (config->head_norm[e] > 1) {
            return EE_ERR_CONFIG;
        }
    }
    if (config->dim % config->groups != 0 || positional_window(config) > EE_MAX_SIZE) {
        return EE_ERR_CONFIG;
    }
    /* NaN fails too. */
    const int has_eps = config->norm_eps >= 0x1p-40f && config->norm_eps <= 1.0f;
    const int is_whole = config->chunk == 0 && config->positions == EE_POSITIONS_NONE
                         && config->conv == EE_CONV_CENTRED;

    return has_eps && is_whole && convs > 0 && config->mels == 1
                   && config->dim % config->heads == 0
                   && config->conv_bias <= 1 && config->conv_norm <= EE_CONV_NORM_LAYER
                   && config->norm <= EE_NORM_PRE
               ? EE_OK
               : EE_ERR_CONFIG;
}

ee_window ee_wav2vec2_window(const ee_config *config)
{
    ee_window window = {1, 1};

    for (size_t n = conv_count(config); n-- > 0;) {
        window.span = (window.span - 1) * config->conv_stride[n] + config->conv_kernel[n];
        window.hop *= config->conv_stride[n];
    }
    return window;
}

uint32_t ee_wav2vec2_layers(const ee_config *config, uint32_t exit)
{
    return config->layers_per_exit[exit];
}

size_t ee_wav2vec2_nothing(const ee_config *config, uint32_t exit)
{
    (void)config;
    (void)exit;
    return 0;
}

void ee_wav2vec2_place(const ee_model *model, float *x, size_t first, size_t rows)
{
    (void)model;
    (void)x;
    (void)first;
    (void)rows;
}

#ifndef EE_NO_F32

/* ---- The feature encoder ---- */

typedef struct {
    const float *weight, *bias, *norm_weight, *norm_bias; /* NULL where there is none */
} conv_weights;

typedef struct {
    const float *norm_weight, *norm_bias, *weight, *bias;
} projection_weights;

typedef struct {
    conv_weights convs[EE_MAX_CONVS];
    projection_weights projection;
    const float *positional_weight, *positional_bias, *norm_weight, *norm_bias;
} stem_weights;

static stem_weights stem_weights_of(const ee_model *model)
{
    const ee_config *const c = &model->config;
    const float *const *next = (const float *const *)(const void *)model->tensors;
    stem_weights w;

    memset(&w, 0, sizeof(w));
    for (size_t n = 0; n < conv_count(c); n++) {
        conv_weights *const conv = &w.convs[n];
        conv->weight = *next++;
        conv->bias = c->conv_bias ? *next++ : NULL;
        if (has_norm(c, n)) {
            conv->norm_weight = *next++;
            conv->norm_bias = *next++;
        }
    }
    w.projection.norm_weight = *next++;
    w.projection.norm_bias = *next++;
    w.projection.weight = *next++;
    w.projection.bias = *next++;
    w.positional_weight = *next++;
    w.positional_bias = *next++;
    if (c->norm == EE_NORM_POST) {
        w.norm_weight = *next++;
        w.norm_bias = *next++;
    }
    return w;
}

typedef struct {
    const ee_model *model;
    stem_weights weights;
    ee_blocks blocks;
    const float *inputs;
    size_t frames; /* of the inputs */
    float *folded; /* the first convolution with a group norm folded in: weight, bias */
    float *x, *positional;
} stem_job;

/* out = gelu(norm?(convolution n (x))), `rows` of them */
static void convolve(const stem_job *j, size_t n, float *out, const float *x, size_t rows)
{
    const ee_config *const c = &j->model->config;
    const ee_ops_f32 *const ops = j->model->ops->f32;
    const conv_weights *const w = &j->weights.convs[n];
    const size_t channels = c->channels, window = conv_window(c, n);
    const size_t hop = (size_t)c->conv_stride[n] * (n > 0 ? channels : 1);

    for (size_t t = 0; t < rows; t += ENCODER_PIECE) {
        const size_t some = ee_size_min(rows - t, ENCODER_PIECE);
        float *const y = out + t * channels;

        if (n == 0 && j->folded != NULL) {
            ops->linear(y, x + t * hop, j->folded, j->folded + channels * window, some, window,
                        channels, channels, hop, window);
        } else {
            ops->linear(y, x + t * hop, w->weight, w->bias, some, window, channels, channels, hop,
                        n > 0 ? ee_weight_stride(ops, window) : ee_row_stride(window));
        }
        if (c->conv_norm == EE_CONV_NORM_LAYER) {
            ops->layer_norm(y, y, w->norm_weight, w->norm_bias, some, channels, c->norm_eps);
        }
        ops->gelu(y, y, some * channels);
    }
}

/* Rows of the block of x, from the samples. */
static void encode_task(void *context, size_t item, size_t worker)
{
    const stem_job *const j = context;
    const ee_config *const c = &j->model->config;
    const ee_ops_f32 *const ops = j->model->ops->f32;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    const encoder_places places = encoder_places_of(c, j->blocks.step);
    const size_t convs = conv_count(c), channels = c->channels, second = conv_rows(c, 1, b.count);
    const float *const inputs = j->inputs + b.first * ee_wav2vec2_window(c).hop;
    float *const piece = b.scratch, *const odd = piece + places.piece;
    float *encoded = convs > 1 ? odd : piece;

    if (convs == 1) {
        convolve(j, 0, encoded, inputs, b.count);
    }
    for (size_t t = 0; convs > 1 && t < second; t += ENCODER_PIECE) {
        const size_t some = ee_size_min(second - t, ENCODER_PIECE);

        convolve(j, 0, piece, inputs + t * c->conv_stride[1] * c->conv_stride[0],
                 piece_rows(c, some));
        convolve(j, 1, odd + t * channels, piece, some);
    }
    for (size_t n = 2; n < convs; n++) {
        float *const to = n % 2 == 0 ? odd + places.odd : odd;
        convolve(j, n, to, encoded, conv_rows(c, n, b.count));
        encoded = to;
    }

    const projection_weights *const w = &j->weights.projection;
    ops->layer_norm(encoded, encoded, w->norm_weight, w->norm_bias, b.count, channels, c->norm_eps);
    ops->linear(j->x + b.first * c->dim, encoded, w->weight, w->bias, b.count, channels, c->dim,
                c->dim, channels, ee_weight_stride(ops, channels));
}

/* A group norm is an affine map of each channel, which can be folded into the first convolution. The
 * mean and the variance of a channel follow from those of the windows that it sees, as it is a linear
 * map of them: nothing is convolved for them. mean (window), products (window, window): sums of
 * products of what differs from the mean, those with the second index at most the first. */
static void window_moments(const stem_job *j, double *mean, double *products, size_t rows)
{
    const size_t window = conv_window(&j->model->config, 0);
    const size_t hop = j->model->config.conv_stride[0];

    memset(mean, 0, window * sizeof *mean);
    memset(products, 0, window * window * sizeof *products);
    for (size_t t = 0; t < rows; t++) {
        for (size_t i = 0; i < window; i++) {
            mean[i] += j->inputs[t * hop + i];
        }
    }
    for (size_t i = 0; i < window; i++) {
        mean[i] /= (double)rows;
    }
    for (size_t t = 0; t < rows; t++) {
        const float *const x = j->inputs + t * hop;
        for (size_t i = 0; i < window; i++) {
            const double centred = x[i] - mean[i];
            for (size_t k = 0; k <= i; k++) {
                products[i * window + k] += centred * (x[k] - mean[k]);
            }
        }
    }
}

static void fold_group_norm(const stem_job *j, float *folded, double *mean)
{
    const ee_config *const c = &j->model->config;
    const conv_weights *const w = &j->weights.convs[0];
    const size_t window = conv_window(c, 0), rows = (j->frames - window) / c->conv_stride[0] + 1;
    double *const products = mean + window;

    window_moments(j, mean, products, rows);
    for (size_t n = 0; n < c->channels; n++) {
        const float *const weight = w->weight + n * ee_row_stride(window);
        double squares = 0.0, shift = 0.0; /* the bias is part of the mean, and goes with it */

        for (size_t i = 0; i < window; i++) {
            double sum = 0.5 * weight[i] * products[i * window + i];
            for (size_t k = 0; k < i; k++) {
                sum += weight[k] * products[i * window + k];
            }
            squares += 2.0 * weight[i] * sum;
            shift -= weight[i] * mean[i];
        }
        const float variance = (float)(squares > 0.0 ? squares / (double)rows : 0.0);
        const double scale = w->norm_weight[n] / sqrtf(variance + c->norm_eps);
        for (size_t i = 0; i < window; i++) {
            folded[n * window + i] = (float)(weight[i] * scale);
        }
        folded[c->channels * window + n] = (float)(shift * scale + w->norm_bias[n]);
    }
}

/* x = norm?(x + gelu(positional)) */
static void add_positional_task(void *context, size_t item, size_t worker)
{
    const stem_job *const j = context;
    const ee_config *const c = &j->model->config;
    const ee_ops_f32 *const ops = j->model->ops->f32;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    float *const x = j->x + b.first * c->dim;
    float *const positional = j->positional + b.first * c->dim;

    ops->gelu(positional, positional, b.count * c->dim);
    ee_add_scaled(x, x, positional, 1.0f, b.count * c->dim);
    if (c->norm == EE_NORM_POST) {
        ops->layer_norm(x, x, j->weights.norm_weight, j->weights.norm_bias, b.count, c->dim,
                        c->norm_eps);
    }
}

/* In turn: the folded convolution, and the moments that it is made of or the workers of the encoder;
 * what the positional convolution gives and its workers. */
static size_t folded_floats(const ee_config *config)
{
    const size_t floats = ee_size_mul(conv_window(config, 0) + 1, config->channels);

    return config->conv_norm == EE_CONV_NORM_GROUP ? floats + floats % 2 : 0; /* doubles follow */
}

static size_t moments_floats(const ee_config *config)
{
    const size_t window = conv_window(config, 0);

    return config->conv_norm == EE_CONV_NORM_GROUP
               ? window * (window + 1) * (sizeof(double) / sizeof(float)) : 0;
}

static size_t encoder_floats(const ee_config *config, size_t block)
{
    const encoder_places places = encoder_places_of(config, block);

    return ee_size_add(places.piece, ee_size_add(places.odd, places.even));
}

static size_t stem_f32_floats(const ee_config *config, size_t rows, const ee_team *team)
{
    const size_t encoder = ee_size_mul(ee_workers(team),
                                       encoder_floats(config, encoder_block(rows, team)));
    const size_t positional = ee_grouped_conv_f32_scratch(
        rows, config->dim, positional_window(config), config->groups, team);

    return ee_size_max(ee_size_add(folded_floats(config),
                                   ee_size_max(moments_floats(config), encoder)),
                       ee_size_add(ee_size_mul(rows, config->dim), positional));
}

static void stem_f32(const ee_model *model, float *x, const float *inputs, size_t frames,
                     size_t rows, float *scratch, const ee_team *team)
{
    const ee_config *const c = &model->config;
    const int is_folded = c->conv_norm == EE_CONV_NORM_GROUP;
    const size_t block = encoder_block(rows, team);
    stem_job j = {
        .model = model, .weights = stem_weights_of(model),
        .blocks = ee_blocks_f32(rows, block, scratch + folded_floats(c), encoder_floats(c, block)),
        .inputs = inputs, .frames = frames, .folded = is_folded ? scratch : NULL,
        .x = x, .positional = scratch,
    };

    if (is_folded) {
        fold_group_norm(&j, scratch, (double *)(void *)(scratch + folded_floats(c)));
    }
    ee_for_blocks(team, &j.blocks, encode_task, &j);
    ee_grouped_conv_f32_c(j.positional, x, j.weights.positional_weight, j.weights.positional_bias,
                          rows, c->dim, positional_window(c), c->groups, scratch + rows * c->dim,
                          model->ops->f32, team);
    ee_for_blocks(team, &j.blocks, add_positional_task, &j);
}

/* ---- Layers ---- */

/* The tensors of a layer; without gates these are NULL. */
typedef struct {
    const float *in_weight, *in_bias, *out_weight, *out_bias;
    const float *attention_norm_weight, *attention_norm_bias;
    const float *up_weight, *up_bias, *down_weight, *down_bias;
    const float *norm_weight, *norm_bias;
    const float *gate_weight, *gate_bias, *gate_scale;
} layer_weights_f32;

typedef char layer_has_a_member_a_row[
    sizeof(layer_weights_f32) == sizeof(LAYER) / sizeof(LAYER[0]) * sizeof(void *) ? 1 : -1];

typedef struct {
    const ee_model *model;
    layer_weights_f32 weights;
    ee_multi_head_attention_f32 attention;
    ee_gates_f32 gates;
    ee_blocks blocks;
    float *x;
} layer_job;

/* A worker, in turn: a block normed before attention, and behind it what projecting takes; the
 * scores; what a module gives, and the wide values. */
static size_t layer_worker(const ee_config *config, const ee_attention_frames *frames,
                           const ee_team *team)
{
    const size_t dim = config->dim, block = ee_block_frames(frames->rows, team);
    const size_t gates = config->buckets > 0
                             ? ee_gates_f32_block_scratch(block, config->heads) : 0;
    const size_t normed = config->norm == EE_NORM_PRE ? ee_size_mul(block, dim) : 0;
    const size_t projecting = ee_size_add(normed, ee_size_max(ee_size_mul(block, dim), gates));
    const size_t attention = ee_multi_head_attention_f32_block_scratch(frames, dim, team);
    const size_t wide = ee_size_mul(block, ee_size_add(dim, config->ff));

    return ee_size_max(ee_size_max(projecting, attention), wide);
}

static size_t layer_f32_floats(const ee_config *config, size_t rows, const ee_team *team)
{
    const ee_attention_frames frames = ee_attention_frames_of(rows, 0, 0, 0, team);
    const size_t gates = config->buckets > 0 ? ee_size_mul(rows, config->heads) : 0;
    const size_t shared = ee_size_add(
        gates, ee_multi_head_attention_f32_shared(&frames, config->dim));

    return ee_size_add(shared, ee_size_mul(ee_workers(team), layer_worker(config, &frames, team)));
}

static int is_pre(const layer_job *j)
{
    return j->model->config.norm == EE_NORM_PRE;
}

static void norm(const layer_job *j, float *out, const float *x, const float *weight,
                 const float *bias, size_t rows)
{
    const ee_config *const c = &j->model->config;

    j->model->ops->f32->layer_norm(out, x, weight, bias, rows, c->dim, c->norm_eps);
}

/* Queries, keys, values and gates of x, or of norm(x) */
static void project_task(void *context, size_t item, size_t worker)
{
    const layer_job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    const size_t dim = j->attention.dim;
    const float *x = j->x + b.first * dim;
    float *scratch = b.scratch;

    if (is_pre(j)) {
        norm(j, scratch, x, j->weights.attention_norm_weight, j->weights.attention_norm_bias,
             b.count);
        x = scratch;
        scratch += b.count * dim;
    }
    if (j->gates.gates != NULL) {
        ee_gates_f32_block(&j->gates, x, b.first, b.count, scratch);
    }
    ee_multi_head_attention_f32_project(&j->attention, x, b.first, b.count, scratch);
}

static void attend_task(void *context, size_t item, size_t worker)
{
    const layer_job *const j = context;

    ee_multi_head_attention_f32_attend(&j->attention, item, ee_worker_scratch(&j->blocks, worker));
}

/* x = norm(x + attention);  x = norm(x + feed_forward(x)), or
 * x = x + attention;  x = x + feed_forward(norm(x)) */
static void finish_task(void *context, size_t item, size_t worker)
{
    const layer_job *const j = context;
    const layer_weights_f32 *const w = &j->weights;
    const ee_ops_f32 *const ops = j->model->ops->f32;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    const size_t dim = j->attention.dim, ff = j->model->config.ff;
    float *const x = j->x + b.first * dim;
    float *const module = b.scratch;
    float *const hidden = module + b.count * dim;
    const float *seen = x;

    ee_multi_head_attention_f32_output(&j->attention, module, b.first, b.count);
    ee_add_scaled(x, x, module, 1.0f, b.count * dim);
    if (is_pre(j)) {
        norm(j, module, x, w->norm_weight, w->norm_bias, b.count);
        seen = module;
    } else {
        norm(j, x, x, w->attention_norm_weight, w->attention_norm_bias, b.count);
    }
    ops->linear(hidden, seen, w->up_weight, w->up_bias, b.count, dim, ff, ff, dim,
                ee_weight_stride(ops, dim));
    ops->gelu(hidden, hidden, b.count * ff);
    ops->linear(module, hidden, w->down_weight, w->down_bias, b.count, ff, dim, dim, ff,
                ee_weight_stride(ops, ff));
    ee_add_scaled(x, x, module, 1.0f, b.count * dim);
    if (!is_pre(j)) {
        norm(j, x, x, w->norm_weight, w->norm_bias, b.count);
    }
}

static void layer_f32(const ee_model *model, const void *const *tensors, float *x, size_t rows,
                      const float *distances, float *scratch, const ee_team *team)
{
    const ee_config *const c = &model->config;
    const ee_ops_f32 *const ops = model->ops->f32;
    const int is_gated = distances != NULL;
    layer_job j = {.model = model, .x = x};
    layer_weights_f32 *const w = &j.weights;

    memcpy(w, tensors, is_gated ? sizeof(*w) : offsetof(layer_weights_f32, gate_weight));
    j.gates = (ee_gates_f32){w->gate_weight, w->gate_bias, w->gate_scale, c->dim, c->heads,
                             is_gated ? scratch : NULL, ops};
    j.attention = (ee_multi_head_attention_f32){
        .in_weight = w->in_weight, .in_bias = w->in_bias, .out_weight = w->out_weight,
        .out_bias = w->out_bias, .dim = c->dim, .heads = c->heads,
        .frames = ee_attention_frames_of(rows, 0, 0, 0, team),
        .gates = j.gates.gates, .distances = distances, .ops = ops,
    };
    float *const shared = is_gated ? scratch + rows * c->heads : scratch;
    float *const rest = ee_multi_head_attention_f32_place(&j.attention, shared);

    j.blocks = ee_blocks_f32(rows, ee_block_frames(rows, team), rest,
                             layer_worker(c, &j.attention.frames, team));
    ee_for_blocks(team, &j.blocks, project_task, &j);
    ee_run(team, attend_task, &j, ee_query_items(&j.attention.frames, c->heads));
    ee_for_blocks(team, &j.blocks, finish_task, &j);
}

/* ---- Heads: the log-probabilities, and behind them the rows normed for a head ---- */

static size_t head_f32_floats(const ee_config *config, size_t rows)
{
    int has_norms = 0;

    for (uint32_t e = 0; e < config->exits; e++) {
        has_norms |= config->head_norm[e];
    }
    return ee_size_add(ee_size_mul(rows, config->vocab),
                       has_norms ? ee_size_mul(rows, config->dim) : 0);
}

static void head_f32(const ee_model *model, const void *const *tensors, int has_norm_of_its_own,
                     float *out, const float *x, size_t rows, const ee_team *team)
{
    const ee_config *const c = &model->config;
    const ee_ops_f32 *const ops = model->ops->f32;
    const float *const *next = (const float *const *)(const void *)tensors;

    if (has_norm_of_its_own) {
        float *const normed = out + rows * c->vocab;
        ops->layer_norm(normed, x, next[0], next[1], rows, c->dim, c->norm_eps);
        x = normed;
        next += 2;
    }
    ee_exit_head_f32_c(out, x, next[0], next[1], rows, c->dim, c->vocab, ops, team);
}

#endif

/* ---- The graph ---- */

size_t ee_wav2vec2_scratch(const ee_config *config, size_t rows, size_t before,
                           const ee_team *team)
{
#ifndef EE_NO_F32
    if (config->dtype == EE_DTYPE_F32) {
        const size_t others = ee_size_max(stem_f32_floats(config, rows, team),
                                          head_f32_floats(config, rows));
        const size_t layer = ee_size_mul(layer_f32_floats(config, rows, team), sizeof(float));
        return ee_size_max(ee_size_mul(others, sizeof(float)), ee_size_add(before, layer));
    }
#endif
    return ee_wav2vec2_qs8_scratch(config, rows, before, team);
}

void ee_wav2vec2_stem(const ee_model *model, float *x, const float *inputs, size_t frames,
                      size_t rows, void *scratch, const ee_team *team)
{
#ifndef EE_NO_F32
    if (model->config.dtype == EE_DTYPE_F32) {
        stem_f32(model, x, inputs, frames, rows, scratch, team);
        return;
    }
#endif
    ee_wav2vec2_qs8_stem(model, x, inputs, frames, rows, scratch, team);
}

void ee_wav2vec2_group(const ee_model *model, uint32_t exit, float *x, size_t rows,
                       const float *distances, void *scratch, const ee_team *team)
{
    for (uint32_t l = 0; l < model->config.layers_per_exit[exit]; l++) {
        const void *const *const tensors = ee_tensors_of(model, exit, l);

#ifndef EE_NO_F32
        if (model->config.dtype == EE_DTYPE_F32) {
            layer_f32(model, tensors, x, rows, distances, scratch, team);
            continue;
        }
#endif
        ee_wav2vec2_qs8_layer(model, tensors, x, rows, distances, scratch, team);
    }
}

void ee_wav2vec2_head(const ee_model *model, uint32_t exit, ee_output *out, const float *x,
                      size_t rows, void *scratch, const ee_team *team)
{
    const ee_config *const c = &model->config;
    const void *const *const tensors = ee_tensors_of(model, exit, c->layers_per_exit[exit]);

    out->kind = EE_OUTPUT_LOG_PROBS;
    out->columns = c->vocab;
    out->data = scratch;
#ifndef EE_NO_F32
    if (c->dtype == EE_DTYPE_F32) {
        head_f32(model, tensors, c->head_norm[exit], scratch, x, rows, team);
        return;
    }
#endif
    ee_wav2vec2_qs8_head(model, tensors, c->head_norm[exit], scratch, x, rows,
                         (char *)scratch + ee_floats_qs8(rows, c->vocab), team);
}

static size_t scratch_bytes(const ee_config *config, size_t rows, const ee_team *team)
{
    return ee_wav2vec2_scratch(config, rows, 0, team);
}

static ee_status check(const ee_config *config)
{
    return config->buckets == 0 ? ee_wav2vec2_check(config) : EE_ERR_CONFIG;
}

static void group(const ee_model *model, uint32_t exit, float *x, size_t rows,
                  const ee_cache *cache, void *scratch, const ee_team *team)
{
    (void)cache;
    ee_wav2vec2_group(model, exit, x, rows, NULL, scratch, team);
}

const ee_graph ee_graph_wav2vec2 = {
    .architecture = EE_ARCH_WAV2VEC2,
    .stem_tensors = &ee_wav2vec2_stem_table,
    .layer_tensors = &ee_wav2vec2_layer_table,
    .head_tensors = &ee_wav2vec2_head_table,
    .own_offset = EE_WAV2VEC2_OFFSET,
    .own_bytes = EE_WAV2VEC2_BYTES,
    .is_whole = 1,
    .check = check,
    .size = ee_wav2vec2_size,
    .window = ee_wav2vec2_window,
    .frames = ee_as_many_rows,
    .x_rows = ee_as_many_rows,
    .layers = ee_wav2vec2_layers,
    .reach = ee_wav2vec2_nothing,
    .cache_bytes = ee_wav2vec2_nothing,
    .scratch = scratch_bytes,
    .stem = ee_wav2vec2_stem,
    .place = ee_wav2vec2_place,
    .group = group,
    .head = ee_wav2vec2_head,
};
