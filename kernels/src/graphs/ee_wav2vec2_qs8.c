/* wav2vec 2.0, HuBERT and WavLM in int8 mode. */
#include <string.h>

#include "../common/ee_composites_qs8.h"
#include "ee_wav2vec2.h"

/* ---- The feature encoder ----
 *
 * Convolutions 1 and 2, counted from 0, have three quarters of the products and take their input in
 * one digit; the others, and the projection, in two. */

static int takes_one_digit(size_t n)
{
    return n == 1 || n == 2;
}

typedef struct {
    const int8_t *weight;
    const float *scale, *bias; /* bias NULL where there is none */
} affine;

typedef struct {
    affine matrix;
    const float *norm_weight, *norm_bias; /* NULL where there is no norm */
} conv_weights;

typedef struct {
    conv_weights convs[EE_MAX_CONVS];
    const float *projection_norm_weight, *projection_norm_bias;
    affine projection, positional;
    const float *norm_weight, *norm_bias;
} stem_weights;

static affine take_affine(const void *const **next, int has_bias)
{
    affine a = {.bias = NULL};

    a.weight = *(*next)++;
    a.scale = *(*next)++;
    if (has_bias) {
        a.bias = *(*next)++;
    }
    return a;
}

static stem_weights stem_weights_of(const ee_model *model)
{
    const ee_config *const c = &model->config;
    const void *const *next = (const void *const *)model->tensors;
    stem_weights w;

    memset(&w, 0, sizeof(w));
    for (size_t n = 0; n < conv_count(c); n++) {
        w.convs[n].matrix = take_affine(&next, (int)c->conv_bias);
        if (has_norm(c, n)) {
            w.convs[n].norm_weight = *next++;
            w.convs[n].norm_bias = *next++;
        }
    }
    w.projection_norm_weight = *next++;
    w.projection_norm_bias = *next++;
    w.projection = take_affine(&next, 1);
    w.positional = take_affine(&next, 1);
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
    size_t frames;         /* of the inputs */
    float *mean, *inverse; /* (channels) of a group norm */
    float *x, *positional;
} stem_job;

/* Floats from one window of convolution n to the next. */
static size_t conv_hop(const ee_config *config, size_t n)
{
    return (size_t)config->conv_stride[n] * (n > 0 ? config->channels : 1);
}

/* Bytes for convolution n of up to ENCODER_PIECE rows. */
static size_t convolve_scratch(const ee_config *config, size_t n)
{
    const size_t window = conv_window(config, n);

    return takes_one_digit(n)
               ? ee_size_add(ee_floats_qs8(ENCODER_PIECE, 1), ee_bytes_qs8(ENCODER_PIECE, window))
               : ee_linear_digits_qs8_block_scratch(ENCODER_PIECE, window, config->channels);
}

/* y (some, channels) = the convolution n of x */
static void convolve_piece(const stem_job *j, size_t n, float *y, const float *x, size_t some,
                           void *scratch)
{
    const ee_config *const c = &j->model->config;
    const ee_ops_qs8 *const ops = j->model->ops->qs8;
    const affine *const w = &j->weights.convs[n].matrix;
    const size_t channels = c->channels, window = conv_window(c, n), hop = conv_hop(c, n);
    const size_t stride = ee_row_stride_qs8(window);
    const size_t weight_stride = n > 0 ? ee_weight_stride_qs8(ops, window) : stride;

    if (takes_one_digit(n)) {
        char *rest = scratch;
        float *const scale = ee_take(&rest, ee_floats_qs8(some, 1));
        int8_t *const q = (int8_t *)rest;

        ops->quantize(q, scale, x, some, window, stride, hop);
        ops->linear(y, q, scale, w->weight, w->scale, w->bias, some, window, channels, channels,
                    stride, weight_stride);
    } else {
        ee_linear_digits_qs8_block(y, x, w->weight, w->scale, w->bias, some, window, channels, hop,
                                   weight_stride, scratch, ops);
    }
}

/* out = gelu(norm?(convolution n (x))), `rows` of them */
static void convolve(const stem_job *j, size_t n, float *out, const float *x, size_t rows,
                     void *scratch)
{
    const ee_config *const c = &j->model->config;
    const ee_ops_qs8 *const ops = j->model->ops->qs8;
    const conv_weights *const w = &j->weights.convs[n];
    const size_t channels = c->channels, hop = conv_hop(c, n);

    for (size_t t = 0; t < rows; t += ENCODER_PIECE) {
        const size_t some = ee_size_min(rows - t, ENCODER_PIECE);
        float *const y = out + t * channels;

        convolve_piece(j, n, y, x + t * hop, some, scratch);
        if (c->conv_norm == EE_CONV_NORM_LAYER) {
            ops->layer_norm(y, y, w->norm_weight, w->norm_bias, some, channels, c->norm_eps);
        } else if (n == 0) {
            ee_group_norm_exact_rows(y, y, j->mean, j->inverse, w->norm_weight, w->norm_bias, some,
                                     channels, channels);
        }
        ops->gelu(y, y, some * channels);
    }
}

/* Rows of the block of x, from the samples. */
static void encode_task(void *context, size_t item, size_t worker)
{
    const stem_job *const j = context;
    const ee_config *const c = &j->model->config;
    const ee_ops_qs8 *const ops = j->model->ops->qs8;
    const stem_weights *const w = &j->weights;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    const encoder_places places = encoder_places_of(c, j->blocks.step);
    const size_t convs = conv_count(c), channels = c->channels, second = conv_rows(c, 1, b.count);
    const float *const inputs = j->inputs + b.first * ee_wav2vec2_window(c).hop;
    char *rest = b.scratch;
    float *const piece = ee_take(&rest, ee_floats_qs8(places.piece, 1));
    float *const odd = ee_take(&rest, ee_floats_qs8(places.odd, 1));
    float *const even = ee_take(&rest, ee_floats_qs8(places.even, 1));
    float *encoded = convs > 1 ? odd : piece;

    if (convs == 1) {
        convolve(j, 0, encoded, inputs, b.count, rest);
    }
    for (size_t t = 0; convs > 1 && t < second; t += ENCODER_PIECE) {
        const size_t some = ee_size_min(second - t, ENCODER_PIECE);

        convolve(j, 0, piece, inputs + t * c->conv_stride[1] * c->conv_stride[0],
                 piece_rows(c, some), rest);
        convolve(j, 1, odd + t * channels, piece, some, rest);
    }
    for (size_t n = 2; n < convs; n++) {
        float *const to = n % 2 == 0 ? even : odd;
        convolve(j, n, to, encoded, conv_rows(c, n, b.count), rest);
        encoded = to;
    }
    ops->layer_norm(encoded, encoded, w->projection_norm_weight, w->projection_norm_bias, b.count,
                    channels, c->norm_eps);
    ee_linear_digits_qs8_block(j->x + b.first * c->dim, encoded, w->projection.weight,
                               w->projection.scale, w->projection.bias, b.count, channels, c->dim,
                               channels, ee_weight_stride_qs8(ops, channels), rest, ops);
}

/* Mean and 1 / deviation of these channels of the first convolution, which is computed for them. */
static void moments_task(void *context, size_t item, size_t worker)
{
    const stem_job *const j = context;
    const ee_config *const c = &j->model->config;
    const affine *const w = &j->weights.convs[0].matrix;
    const size_t window = conv_window(c, 0), hop = conv_hop(c, 0);
    const size_t stride = ee_row_stride_qs8(window);
    const size_t first = item * EE_MOMENTS_EXACT;
    const size_t channels = ee_size_min(c->channels - first, EE_MOMENTS_EXACT);
    const size_t rows = (j->frames - window) / hop + 1;
    char *rest = ee_worker_scratch(&j->blocks, worker);
    float *const y = ee_take(&rest, ee_floats_qs8(EE_MOMENTS_ROWS, channels));
    ee_moments_exact moments = {.rows = 0};

    for (size_t t = 0; t < rows; t += EE_MOMENTS_ROWS) {
        const size_t some = ee_size_min(rows - t, EE_MOMENTS_ROWS);

        ee_linear_digits_qs8_block(y, j->inputs + t * hop, w->weight + first * stride,
                                   w->scale + first, w->bias != NULL ? w->bias + first : NULL, some,
                                   window, channels, hop, stride, rest, j->model->ops->qs8);
        ee_moments_exact_add(&moments, y, some, channels, channels);
    }
    memcpy(j->mean + first, moments.mean, channels * sizeof(float));
    ee_moments_exact_inverse(&moments, j->inverse + first, channels, c->norm_eps);
}

/* x = norm?(x + gelu(positional)) */
static void add_positional_task(void *context, size_t item, size_t worker)
{
    const stem_job *const j = context;
    const ee_config *const c = &j->model->config;
    const ee_ops_qs8 *const ops = j->model->ops->qs8;
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

/* Of a worker: what a block has of each convolution and what one of them takes, or the projection;
 * before that, the first convolution of some channels. */
static size_t encoder_bytes(const ee_config *config, size_t block)
{
    const encoder_places places = encoder_places_of(config, block);
    const size_t floats = ee_size_add(
        ee_floats_qs8(places.piece, 1),
        ee_size_add(ee_floats_qs8(places.odd, 1), ee_floats_qs8(places.even, 1)));
    const size_t some = ee_size_min(config->channels, EE_MOMENTS_EXACT);
    const size_t moments = ee_size_add(
        ee_floats_qs8(EE_MOMENTS_ROWS, some),
        ee_linear_digits_qs8_block_scratch(EE_MOMENTS_ROWS, conv_window(config, 0), some));
    size_t products = ee_linear_digits_qs8_block_scratch(block, config->channels, config->dim);

    for (size_t n = 0; n < conv_count(config); n++) {
        products = ee_size_max(products, convolve_scratch(config, n));
    }
    return ee_size_max(ee_size_add(floats, products),
                       config->conv_norm == EE_CONV_NORM_GROUP ? moments : 0);
}

/* Mean and 1 / deviation of a group norm. */
static size_t moments_bytes(const ee_config *config)
{
    return config->conv_norm == EE_CONV_NORM_GROUP
               ? ee_size_mul(2, ee_floats_qs8(config->channels, 1))
               : 0;
}

/* In turn: the encoder; what the positional convolution gives, and what it takes. */
static size_t stem_bytes(const ee_config *config, size_t rows, const ee_team *team)
{
    const size_t encoder = ee_size_mul(ee_workers(team),
                                       encoder_bytes(config, encoder_block(rows, team)));
    const size_t positional = ee_grouped_conv_qs8_scratch(
        rows, config->dim, positional_window(config), config->groups, team);

    return ee_size_max(ee_size_add(moments_bytes(config), encoder),
                       ee_size_add(ee_floats_qs8(rows, config->dim), positional));
}

void ee_wav2vec2_qs8_stem(const ee_model *model, float *x, const float *inputs, size_t frames,
                          size_t rows, void *scratch, const ee_team *team)
{
    const ee_config *const c = &model->config;
    const size_t block = encoder_block(rows, team);
    stem_job j = {
        .model = model, .weights = stem_weights_of(model),
        .blocks = ee_blocks_qs8(rows, block, (char *)scratch + moments_bytes(c),
                                encoder_bytes(c, block)),
        .inputs = inputs, .frames = frames, .mean = scratch,
        .inverse = (float *)(void *)((char *)scratch + moments_bytes(c) / 2),
        .x = x, .positional = scratch,
    };

    if (c->conv_norm == EE_CONV_NORM_GROUP) {
        ee_run(team, moments_task, &j, ee_block_count(c->channels, EE_MOMENTS_EXACT));
    }
    ee_for_blocks(team, &j.blocks, encode_task, &j);
    ee_grouped_conv_qs8_c(j.positional, x, j.weights.positional.weight, j.weights.positional.scale,
                          j.weights.positional.bias, rows, c->dim, positional_window(c), c->groups,
                          (char *)scratch + ee_floats_qs8(rows, c->dim), model->ops->qs8, team);
    ee_for_blocks(team, &j.blocks, add_positional_task, &j);
}

/* ---- Layers ---- */

/* The tensors of a layer, in the order of the model file; without gates those of them are NULL. */
typedef struct {
    affine in, out;
    const float *attention_norm_weight, *attention_norm_bias;
    affine up, down;
    const float *norm_weight, *norm_bias;
    affine gate;
    const float *gate_scale;
} layer_weights;

static layer_weights layer_weights_of(const void *const *next, int has_gates)
{
    layer_weights w;

    memset(&w, 0, sizeof(w));
    w.in = take_affine(&next, 1);
    w.out = take_affine(&next, 1);
    w.attention_norm_weight = *next++;
    w.attention_norm_bias = *next++;
    w.up = take_affine(&next, 1);
    w.down = take_affine(&next, 1);
    w.norm_weight = *next++;
    w.norm_bias = *next++;
    if (has_gates) {
        w.gate = take_affine(&next, 1);
        w.gate_scale = *next++;
    }
    return w;
}

typedef struct {
    const ee_model *model;
    layer_weights weights;
    ee_multi_head_attention_qs8 attention;
    ee_gates_qs8 gates;
    ee_blocks blocks;
    float *x;
} layer_job;

static int is_pre(const ee_config *config)
{
    return config->norm == EE_NORM_PRE;
}

/* Scales, the wide values of a block as floats, and the input of either product. */
static size_t feed_forward_bytes(const ee_config *config, size_t block)
{
    const size_t widest = ee_size_max(config->dim, config->ff);

    return ee_size_add(ee_floats_qs8(block, 1),
                       ee_size_add(ee_bytes_qs8(block, widest), ee_floats_qs8(block, config->ff)));
}

/* A worker: the rows of a block normed, or what a module gives of them; behind these in turn what
 * attention and gates take, and feed-forward modules. */
static size_t layer_worker(const ee_config *config, const ee_attention_frames *frames,
                           const ee_team *team)
{
    const size_t dim = config->dim, block = ee_block_frames(frames->rows, team);
    const size_t gates = config->buckets > 0
                             ? ee_gates_qs8_block_scratch(block, dim, config->heads) : 0;
    const size_t attention = ee_multi_head_attention_qs8_block_scratch(frames, dim, config->heads,
                                                                       team);

    return ee_size_add(ee_floats_qs8(block, dim),
                       ee_size_max(ee_size_max(attention, gates),
                                   feed_forward_bytes(config, block)));
}

static size_t gates_bytes(const ee_config *config, size_t rows)
{
    return config->buckets > 0 ? ee_floats_qs8(rows, config->heads) : 0;
}

/* Gates, context, what attention shares; workers. */
static size_t layer_bytes(const ee_config *config, size_t rows, const ee_team *team)
{
    const ee_attention_frames frames = ee_attention_frames_of(rows, 0, 0, 0, team);
    const size_t shared = ee_size_add(
        ee_floats_qs8(rows, config->dim),
        ee_multi_head_attention_qs8_shared(&frames, config->dim, config->heads));

    return ee_size_add(ee_size_add(gates_bytes(config, rows), shared),
                       ee_size_mul(ee_workers(team), layer_worker(config, &frames, team)));
}

static void norm(const layer_job *j, float *out, const float *x, const float *weight,
                 const float *bias, size_t rows)
{
    const ee_config *const c = &j->model->config;

    j->model->ops->qs8->layer_norm(out, x, weight, bias, rows, c->dim, c->norm_eps);
}

/* Queries, keys, values and gates of x, or of norm(x) */
static void project_task(void *context, size_t item, size_t worker)
{
    const layer_job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    const size_t dim = j->attention.dim;
    const float *x = j->x + b.first * dim;
    char *rest = b.scratch;
    float *const normed = ee_take(&rest, ee_floats_qs8(b.count, dim));

    if (is_pre(&j->model->config)) {
        norm(j, normed, x, j->weights.attention_norm_weight, j->weights.attention_norm_bias,
             b.count);
        x = normed;
    }
    if (j->gates.gates != NULL) {
        ee_gates_qs8_block(&j->gates, x, b.first, b.count, rest);
    }
    ee_multi_head_attention_qs8_project(&j->attention, x, b.first, b.count, rest);
}

static void attend_task(void *context, size_t item, size_t worker)
{
    const layer_job *const j = context;

    ee_multi_head_attention_qs8_attend(&j->attention, item, ee_worker_scratch(&j->blocks, worker));
}

/* out = down @ gelu(up @ x), as floats; out may be x */
static void feed_forward(const layer_job *j, float *out, const float *x, size_t rows, char *rest)
{
    const ee_ops_qs8 *const ops = j->model->ops->qs8;
    const size_t dim = j->attention.dim, ff = j->model->config.ff;
    const size_t stride = ee_row_stride_qs8(dim), wide_stride = ee_row_stride_qs8(ff);
    const affine *const up = &j->weights.up, *const down = &j->weights.down;
    float *const scale = ee_take(&rest, ee_floats_qs8(rows, 1));
    float *const wide = ee_take(&rest, ee_floats_qs8(rows, ff));
    int8_t *const q = (int8_t *)rest;

    ops->quantize(q, scale, x, rows, dim, stride, dim);
    ops->linear(wide, q, scale, up->weight, up->scale, up->bias, rows, dim, ff, ff, stride,
                ee_weight_stride_qs8(ops, dim));
    ee_activate_quantize_qs8(ops->gelu, q, scale, wide, rows, ff, ops);
    ops->linear(out, q, scale, down->weight, down->scale, down->bias, rows, ff, dim, dim,
                wide_stride, ee_weight_stride_qs8(ops, ff));
}

/* x = norm(x + attention);  x = norm(x + feed_forward(x)), or
 * x = x + attention;  x = x + feed_forward(norm(x)) */
static void finish_task(void *context, size_t item, size_t worker)
{
    const layer_job *const j = context;
    const layer_weights *const w = &j->weights;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    const size_t values = b.count * j->attention.dim;
    float *const x = j->x + b.first * j->attention.dim;
    char *rest = b.scratch;
    float *const module = ee_take(&rest, ee_floats_qs8(values, 1));

    ee_multi_head_attention_qs8_output(&j->attention, module, b.first, b.count, rest);
    ee_add_scaled(x, x, module, 1.0f, values);
    if (is_pre(&j->model->config)) {
        norm(j, module, x, w->norm_weight, w->norm_bias, b.count);
        feed_forward(j, module, module, b.count, rest);
        ee_add_scaled(x, x, module, 1.0f, values);
    } else {
        norm(j, x, x, w->attention_norm_weight, w->attention_norm_bias, b.count);
        feed_forward(j, module, x, b.count, rest);
        ee_add_scaled(x, x, module, 1.0f, values);
        norm(j, x, x, w->norm_weight, w->norm_bias, b.count);
    }
}

void ee_wav2vec2_qs8_layer(const ee_model *model, const void *const *tensors, float *x, size_t rows,
                           const float *distances, void *scratch, const ee_team *team)
{
    const ee_config *const c = &model->config;
    const ee_ops_qs8 *const ops = model->ops->qs8;
    const layer_weights w = layer_weights_of(tensors, distances != NULL);
    char *rest = scratch;
    float *const gates = ee_take(&rest, gates_bytes(c, rows));
    float *const context = ee_take(&rest, ee_floats_qs8(rows, c->dim));
    layer_job j = {
        .model = model, .weights = w,
        .gates = {w.gate.weight, w.gate.scale, w.gate.bias, w.gate_scale, c->dim, c->heads,
                  distances != NULL ? gates : NULL, ops},
        .attention = {.in_weight = w.in.weight, .in_weight_scale = w.in.scale, .in_bias = w.in.bias,
                      .out_weight = w.out.weight, .out_weight_scale = w.out.scale,
                      .out_bias = w.out.bias, .dim = c->dim, .heads = c->heads,
                      .frames = ee_attention_frames_of(rows, 0, 0, 0, team), .context = context,
                      .gates = distances != NULL ? gates : NULL, .distances = distances,
                      .ops = ops},
        .x = x,
    };
    void *const workers = ee_multi_head_attention_qs8_place(&j.attention, rest);

    j.blocks = ee_blocks_qs8(rows, ee_block_frames(rows, team), workers,
                             layer_worker(c, &j.attention.frames, team));
    ee_for_blocks(team, &j.blocks, project_task, &j);
    ee_run(team, attend_task, &j, ee_query_items(&j.attention.frames, c->heads));
    ee_for_blocks(team, &j.blocks, finish_task, &j);
}

/* ---- Heads ---- */

/* The rows normed for a head, and what that takes. */
static size_t head_bytes(const ee_config *config, size_t rows, const ee_team *team)
{
    return ee_size_add(ee_floats_qs8(rows, config->dim),
                       ee_exit_head_qs8_scratch(rows, config->dim, config->vocab, team));
}

void ee_wav2vec2_qs8_head(const ee_model *model, const void *const *tensors, int has_norm_of_its_own,
                          float *out, const float *x, size_t rows, void *scratch,
                          const ee_team *team)
{
    const ee_config *const c = &model->config;
    const ee_ops_qs8 *const ops = model->ops->qs8;
    const void *const *next = tensors;
    char *rest = scratch;
    float *const normed = ee_take(&rest, ee_floats_qs8(rows, c->dim));

    if (has_norm_of_its_own) {
        ops->layer_norm(normed, x, next[0], next[1], rows, c->dim, c->norm_eps);
        x = normed;
        next += 2;
    }
    const affine w = take_affine(&next, 1);

    ee_exit_head_qs8_c(out, x, w.weight, w.scale, w.bias, rows, c->dim, c->vocab, rest, ops, team);
}

size_t ee_wav2vec2_qs8_scratch(const ee_config *config, size_t rows, size_t before,
                               const ee_team *team)
{
    const size_t head = ee_size_add(ee_floats_qs8(rows, config->vocab),
                                    head_bytes(config, rows, team));

    return ee_size_max(stem_bytes(config, rows, team),
                       ee_size_max(ee_size_add(before, layer_bytes(config, rows, team)), head));
}
