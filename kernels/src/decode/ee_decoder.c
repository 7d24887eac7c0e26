/* The attention decoder of an exit, a step at a time, in float32 and in int8 mode. The weights are
 * read once a step, for all hypotheses. */
#include <math.h>
#include <string.h>

#include "../common/ee_composites_qs8.h"
#include "../common/ee_exact.h"
#include "../common/ee_memory.h"
#include "../graphs/ee_aed.h"
#include "ee_decoder.h"

/* Keys and values of the rows that attention sees, of one layer. A key is a row, of each head in
 * int8 mode; values are transposed, so that their product with probabilities is a linear op. */
typedef struct {
    void *key;          /* float (rows, dim), or int8 (heads, rows, width) */
    void *value;        /* (dim, rows) */
    float *key_scale;   /* int8 mode: (heads, rows) */
    float *value_scale; /* likewise */
} seen_rows;

struct ee_decoder {
    const ee_model *model;
    uint32_t exit;
    size_t rows, labels, width; /* capacities */
    size_t steps, count;        /* steps done, hypotheses of the last one */
    char *memory, *kept;        /* seen_rows of the exit's rows, of each layer; of labels, of each
                                   place and layer */
    uint32_t *place, *next_place; /* of each hypothesis: where its labels are kept */
    uint32_t *length;             /* of each place: how many labels are kept */
    uint8_t *taken;               /* of each place: whether the next step has it */
    float *x, *normed, *wide, *context, *scores, *log_probs;
    float *scale, *query_scale;   /* int8 mode */
    int8_t *q, *query, *digits;
    void *product;
};

/* ---- Sizes ---- */

static int is_f32(const ee_config *config)
{
#ifdef EE_NO_F32
    (void)config;
    return 0;
#else
    return config->dtype == EE_DTYPE_F32;
#endif
}

static size_t floats(size_t rows, size_t columns)
{
    return ee_whole_lines(ee_size_mul(ee_size_mul(rows, columns), sizeof(float)));
}

static size_t key_bytes(const ee_config *c, size_t rows)
{
    return is_f32(c) ? floats(rows, c->dim)
                     : ee_whole_lines(ee_bytes_qs8(ee_size_mul(c->heads, rows),
                                                   c->dim / c->heads));
}

/* Floats, or bytes of int8, from one value of a row to the next row's. */
static size_t value_stride(const ee_config *c, size_t rows)
{
    return is_f32(c) ? rows : ee_row_stride_qs8(rows);
}

static size_t value_bytes(const ee_config *c, size_t rows)
{
    return is_f32(c) ? floats(c->dim, rows) : ee_whole_lines(ee_bytes_qs8(c->dim, rows));
}

static size_t scale_bytes(const ee_config *c, size_t rows)
{
    return is_f32(c) ? 0 : floats(c->heads, rows);
}

/* Of one layer. */
static size_t seen_bytes(const ee_config *c, size_t rows)
{
    return ee_size_add(ee_size_add(key_bytes(c, rows), value_bytes(c, rows)),
                       ee_size_mul(2, scale_bytes(c, rows)));
}

static seen_rows seen_at(const ee_config *c, char *at, size_t rows)
{
    seen_rows seen;

    seen.key = ee_take(&at, key_bytes(c, rows));
    seen.value = ee_take(&at, value_bytes(c, rows));
    seen.key_scale = ee_take(&at, scale_bytes(c, rows));
    seen.value_scale = ee_take(&at, scale_bytes(c, rows));
    return seen;
}

static seen_rows memory_of(const ee_decoder *d, size_t layer)
{
    const ee_config *const c = &d->model->config;

    return seen_at(c, d->memory + layer * seen_bytes(c, d->rows), d->rows);
}

static seen_rows kept_of(const ee_decoder *d, size_t place, size_t layer)
{
    const ee_config *const c = &d->model->config;
    const size_t number = place * c->decoder_layers + layer;

    return seen_at(c, d->kept + number * seen_bytes(c, d->labels), d->labels);
}

/* Rows of the most that are worked on at once; that many need the most scratch. */
static size_t block_rows(size_t rows)
{
    return ee_size_min(rows, EE_BLOCK_FRAMES);
}

/* The next `bytes` of an arena, or, while it is only measured, no more than their number. */
static void *part(char *base, size_t *used, size_t bytes)
{
    const size_t at = *used;

    *used = ee_size_add(at, ee_whole_lines(bytes));
    return base != NULL ? base + at : NULL;
}

/* Lays a decoder out in its arena, or only says how many bytes that takes. */
static size_t lay_out(ee_decoder *d, const ee_config *c, char *base)
{
    const size_t dim = c->dim, layers = c->decoder_layers, width = d->width;
    const size_t most = ee_size_max(width, block_rows(d->rows));
    const size_t widest = ee_size_max(3 * dim, c->ff);
    const size_t seen = ee_size_max(d->rows, d->labels);
    const int int8 = !is_f32(c);
    const size_t head = int8 ? ee_exit_head_qs8_scratch(block_rows(width), dim, c->vocab,
                                                       NULL) : 0;
    const size_t product = int8 ? ee_digits_product_qs8_scratch(width, dim / c->heads) : 0;
    size_t used = ee_whole_lines(sizeof(ee_decoder));

    d->memory = part(base, &used, ee_size_mul(layers, seen_bytes(c, d->rows)));
    d->kept = part(base, &used,
                   ee_size_mul(ee_size_mul(width, layers), seen_bytes(c, d->labels)));
    d->place = part(base, &used, width * sizeof(uint32_t));
    d->next_place = part(base, &used, width * sizeof(uint32_t));
    d->length = part(base, &used, width * sizeof(uint32_t));
    d->taken = part(base, &used, width);
    d->x = part(base, &used, floats(width, dim));
    d->normed = part(base, &used, floats(width, dim));
    d->wide = part(base, &used, floats(most, widest));
    d->context = part(base, &used, floats(width, dim));
    d->scores = part(base, &used, floats(width, seen));
    d->log_probs = part(base, &used, floats(width, c->vocab));
    if (int8) {
        d->scale = part(base, &used, floats(most, 1));
        d->query_scale = part(base, &used, floats(width, 1));
        d->q = part(base, &used, ee_bytes_qs8(most, widest));
        d->query = part(base, &used, ee_bytes_qs8(most, dim / c->heads));
        d->digits = part(base, &used, ee_bytes_qs8(2 * width, seen));
        d->product = part(base, &used, ee_size_max(head, product));
    }
    return used;
}

ee_status ee_decoder_size(const ee_config *config, size_t rows, size_t labels, size_t width,
                          size_t *bytes)
{
    const ee_status status = ee_config_check(config);
    ee_decoder measured = {.rows = rows, .labels = labels, .width = width};

    if (status != EE_OK) {
        return status;
    }
    if (bytes == NULL) {
        return EE_ERR_ARGUMENT;
    }
    if (ee_graph_for(config->architecture)->decoder_tensors == NULL) {
        return EE_ERR_CONFIG;
    }
    if (rows < 1 || labels < 1 || labels > config->max_tokens || width < 1
        || width > EE_MAX_HYPOTHESES) {
        return EE_ERR_RANGE;
    }
    *bytes = lay_out(&measured, config, NULL);
    return *bytes == SIZE_MAX ? EE_ERR_TOO_LARGE : EE_OK;
}

/* ---- Products ---- */

/* out (count, outs) = x (count, in) times rows first..first+outs-1 of a matrix of the model, plus
 * their bias. */
static void affine(ee_decoder *d, float *out, const float *x, const ee_affine *matrix, size_t count,
                   size_t in, size_t outs, size_t first)
{
    const ee_ops *const ops = d->model->ops;

#ifndef EE_NO_F32
    if (is_f32(&d->model->config)) {
        const ee_ops_f32 *const f32 = ops->f32;
        const float *const weight = (const float *)matrix->weight + first * ee_row_stride(in);
        const int few = f32->linear_few != NULL && !f32->is_packed;

        (few ? f32->linear_few : f32->linear)(out, x, weight, matrix->bias + first, count, in, outs,
                                              outs, in, ee_weight_stride(f32, in));
        return;
    }
#endif
    const ee_ops_qs8 *const qs8 = ops->qs8;
    const size_t stride = ee_row_stride_qs8(in);
    const size_t each = qs8->is_packed ? ee_packed_stride_qs8(in) : stride;

    qs8->quantize(d->q, d->scale, x, count, in, stride, in);
    qs8->linear(out, d->q, d->scale, (const int8_t *)matrix->weight + first * each,
                matrix->scale + first, matrix->bias + first, count, in, outs, outs, stride,
                ee_weight_stride_qs8(qs8, in));
}

static void norm(ee_decoder *d, const float *weight, const float *bias)
{
    const ee_config *const c = &d->model->config;
    const ee_ops *const ops = d->model->ops;

#ifndef EE_NO_F32
    if (is_f32(c)) {
        ops->f32->layer_norm(d->normed, d->x, weight, bias, d->count, c->dim, c->norm_eps);
        return;
    }
#endif
    ops->qs8->layer_norm(d->normed, d->x, weight, bias, d->count, c->dim, c->norm_eps);
}

/* ---- Attention ---- */

/* Keys and values of `count` rows become those `at`, at + 1, ... of `rows`; `stride` floats from a
 * row to the next. */
static void remember(ee_decoder *d, const seen_rows *seen, size_t rows, size_t at,
                     const float *keys, const float *values, size_t count, size_t stride)
{
    const ee_config *const c = &d->model->config;
    const size_t dim = c->dim, width = dim / c->heads;

#ifndef EE_NO_F32
    if (is_f32(c)) {
        float *const key = (float *)seen->key + at * dim;

        for (size_t t = 0; t < count; t++) {
            memcpy(key + t * dim, keys + t * stride, dim * sizeof(float));
        }
        ee_transpose((float *)seen->value + at, values, count, dim, rows, stride);
        return;
    }
#endif
    const ee_ops_qs8 *const ops = d->model->ops->qs8;
    const size_t row = ee_row_stride_qs8(width), across = value_stride(c, rows);

    for (size_t h = 0; h < c->heads; h++) {
        int8_t *const key = (int8_t *)seen->key + (h * rows + at) * row;
        int8_t *const value = (int8_t *)seen->value + h * width * across + at;

        ops->quantize(key, seen->key_scale + h * rows + at, keys + h * width, count, width, row,
                      stride);
        ops->quantize(d->query, seen->value_scale + h * rows + at, values + h * width, count, width,
                      row, stride);
        for (size_t t = 0; t < count; t++) {
            for (size_t i = 0; i < width; i++) {
                value[i * across + t] = d->query[t * row + i];
            }
        }
    }
}

/* The context of `count` queries of one head, each seeing the first `seen_count` of `rows`. */
static void attend_head(ee_decoder *d, float *context, const float *queries, size_t query_stride,
                        size_t count, const seen_rows *seen, size_t rows, size_t seen_count,
                        size_t head)
{
    const ee_config *const c = &d->model->config;
    const ee_ops *const ops = d->model->ops;
    const size_t dim = c->dim, width = dim / c->heads;
    const float one_over_root = 1.0f / sqrtf((float)width);

#ifndef EE_NO_F32
    if (is_f32(c)) {
        ee_linear_f32 *const linear =
            ops->f32->linear_few != NULL ? ops->f32->linear_few : ops->f32->linear;

        linear(d->scores, queries, (const float *)seen->key + head * width, NULL, count, width,
               seen_count, seen_count, query_stride, dim);
        for (size_t i = 0; i < count * seen_count; i++) {
            d->scores[i] *= one_over_root;
        }
        ops->f32->softmax(d->scores, d->scores, count, seen_count);
        linear(context, d->scores, (const float *)seen->value + head * width * rows, NULL, count,
               seen_count, width, dim, seen_count, rows);
        return;
    }
#endif
    const ee_ops_qs8 *const qs8 = ops->qs8;
    const size_t row = ee_row_stride_qs8(width), across = value_stride(c, rows);
    const size_t digits = ee_row_stride_qs8(seen_count);

    qs8->quantize(d->query, d->query_scale, queries, count, width, row, query_stride);
    for (size_t t = 0; t < count; t++) {
        d->query_scale[t] *= one_over_root;
    }
    qs8->linear(d->scores, d->query, d->query_scale, (const int8_t *)seen->key + head * rows * row,
                seen->key_scale + head * rows, NULL, count, width, seen_count, seen_count, row, row);
    qs8->softmax(d->digits, d->digits + count * digits, d->scale, d->scores,
                 seen->value_scale + head * rows, count, seen_count, digits);
    ee_digits_product_qs8(context, d->digits, d->scale,
                          (const int8_t *)seen->value + head * width * across, NULL, NULL, count,
                          seen_count, width, dim, across, d->product, qs8);
}

/* d->wide (count, 3 dim): queries, keys and values of the labels; -> d->context. */
static void attend_to_labels(ee_decoder *d, size_t layer, const uint32_t *labels)
{
    const ee_config *const c = &d->model->config;
    const size_t dim = c->dim, width = dim / c->heads;

    for (size_t n = 0; n < d->count; n++) {
        const seen_rows kept = kept_of(d, d->place[n], layer);
        const float *const row = d->wide + n * 3 * dim;
        size_t length = d->length[d->place[n]];

        if (labels[n] != c->pad_token) {
            remember(d, &kept, d->labels, length, row + dim, row + 2 * dim, 1, 3 * dim);
            length++;
        }
        for (size_t h = 0; h < c->heads; h++) {
            attend_head(d, d->context + n * dim + h * width, row + h * width, 3 * dim, 1, &kept,
                        d->labels, length, h);
        }
    }
}

/* d->wide (count, dim): queries; -> d->context. */
static void attend_to_rows(ee_decoder *d, size_t layer)
{
    const ee_config *const c = &d->model->config;
    const size_t dim = c->dim, width = dim / c->heads;
    const seen_rows memory = memory_of(d, layer);

    for (size_t h = 0; h < c->heads; h++) {
        attend_head(d, d->context + h * width, d->wide + h * width, dim, d->count, &memory, d->rows,
                    d->rows, h);
    }
}

/* ---- A step ---- */

/* Row `row` of a table of the model, added to x or, at first, put there. */
static void add_row(const ee_model *model, float *x, const void *table, const float *scale,
                    size_t row, int is_first)
{
    const size_t dim = model->config.dim;

    for (size_t i = 0; i < dim; i++) {
        float value;

        if (is_f32(&model->config)) {
            value = ((const float *)table)[row * ee_row_stride(dim) + i];
        } else {
            value = (float)((const int8_t *)table)[row * ee_row_stride_qs8(dim) + i] * scale[row];
        }
        x[i] = is_first ? value : x[i] + value;
    }
}

/* x += the output of a module, which lies in d->wide */
static void add_wide(ee_decoder *d)
{
    ee_add_scaled(d->x, d->x, d->wide, 1.0f, d->count * d->model->config.dim);
}

static void run_layer(ee_decoder *d, size_t layer, const uint32_t *labels)
{
    const ee_config *const c = &d->model->config;
    const size_t dim = c->dim;
    const ee_aed_layer own = ee_aed_layer_of(d->model, d->exit, (uint32_t)layer);

    norm(d, own.own.norm.weight, own.own.norm.bias);
    affine(d, d->wide, d->normed, &own.own.in, d->count, dim, 3 * dim, 0);
    attend_to_labels(d, layer, labels);
    affine(d, d->wide, d->context, &own.own.out, d->count, dim, dim, 0);
    add_wide(d);

    norm(d, own.cross.norm.weight, own.cross.norm.bias);
    affine(d, d->wide, d->normed, &own.cross.in, d->count, dim, dim, 0);
    attend_to_rows(d, layer);
    affine(d, d->wide, d->context, &own.cross.out, d->count, dim, dim, 0);
    add_wide(d);

    norm(d, own.ff.norm.weight, own.ff.norm.bias);
    affine(d, d->wide, d->normed, &own.ff.in, d->count, dim, c->ff, 0);
    for (size_t i = 0; i < d->count * c->ff; i++) {
        d->wide[i] = d->wide[i] > 0.0f ? d->wide[i] : 0.0f;
    }
    affine(d, d->context, d->wide, &own.ff.out, d->count, c->ff, dim, 0);
    ee_add_scaled(d->x, d->x, d->context, 1.0f, d->count * dim);
}

static void run_head(ee_decoder *d)
{
    const ee_model *const model = d->model;
    const ee_config *const c = &model->config;
    const ee_aed_shared shared = ee_aed_shared_of(model);
    const ee_affine head = ee_aed_head_of(model, d->exit);

    norm(d, shared.norm_weight, shared.norm_bias);
#ifndef EE_NO_F32
    if (is_f32(c)) {
        affine(d, d->log_probs, d->normed, &head, d->count, c->dim, c->vocab, 0);
        model->ops->f32->log_softmax(d->log_probs, d->log_probs, d->count, c->vocab);
        return;
    }
#endif
    ee_exit_head_qs8_c(d->log_probs, d->normed, head.weight, head.scale, head.bias, d->count,
                       c->dim, c->vocab, d->product, model->ops->qs8, NULL);
}

/* What one place keeps becomes what another one does. */
static void copy_place(ee_decoder *d, size_t to, size_t from)
{
    const ee_config *const c = &d->model->config;
    const size_t bytes = ee_size_mul(c->decoder_layers, seen_bytes(c, d->labels));

    memcpy(d->kept + to * bytes, d->kept + from * bytes, bytes);
    d->length[to] = d->length[from];
}

/* A place for each hypothesis: the first that continues another one has its place, the others have
 * copies in places that none has. */
static void take_places(ee_decoder *d, const uint32_t *parents, size_t count)
{
    size_t place = 0;

    memset(d->taken, 0, d->width);
    for (size_t n = 0; n < count; n++) {
        d->taken[d->place[parents[n]]] = 1;
    }
    for (size_t n = 0; n < count; n++) {
        const uint32_t from = d->place[parents[n]];

        if (d->taken[from] == 1) {
            d->next_place[n] = from;
            d->taken[from] = 2;
            continue;
        }
        while (d->taken[place]) {
            place++;
        }
        copy_place(d, place, from);
        d->next_place[n] = (uint32_t)place;
        d->taken[place] = 2;
    }
    memcpy(d->place, d->next_place, count * sizeof(*d->place));
}

/* A first label that pads would see no label at all, not even itself. */
static int is_step(const ee_decoder *d, const uint32_t *labels, const uint32_t *parents,
                   size_t count)
{
    const ee_config *const c = &d->model->config;

    if (count < 1 || count > d->width) {
        return 0;
    }
    for (size_t n = 0; n < count; n++) {
        if (labels[n] >= c->vocab || parents[n] >= d->count
            || (d->steps == 0 && labels[n] == c->pad_token)) {
            return 0;
        }
    }
    return 1;
}

ee_status ee_decoder_step(ee_decoder *decoder, const uint32_t *labels, const uint32_t *parents,
                          size_t count, const float **log_probs)
{
    ee_decoder *const d = decoder;

    if (d == NULL || labels == NULL || parents == NULL || log_probs == NULL) {
        return EE_ERR_ARGUMENT;
    }
    if (d->steps == d->labels) {
        return EE_DONE;
    }
    if (!is_step(d, labels, parents, count)) {
        return EE_ERR_RANGE;
    }
    const ee_model *const model = d->model;
    const ee_config *const c = &model->config;
    const ee_aed_shared shared = ee_aed_shared_of(model);

    take_places(d, parents, count);
    d->count = count;
    for (size_t n = 0; n < count; n++) {
        float *const x = d->x + n * c->dim;

        add_row(model, x, shared.embedding, shared.embedding_scale, labels[n], 1);
        add_row(model, x, shared.positions, shared.positions_scale, d->steps, 0);
    }
    for (size_t layer = 0; layer < c->decoder_layers; layer++) {
        run_layer(d, layer, labels);
    }
    for (size_t n = 0; n < count; n++) {
        d->length[d->place[n]] += labels[n] != c->pad_token;
    }
    run_head(d);
    d->steps++;
    *log_probs = d->log_probs;
    return EE_OK;
}

/* ---- Opening ---- */

/* Keys and values of the exit's rows, for every layer. */
static void run_memory(ee_decoder *d, const float *hidden)
{
    const ee_config *const c = &d->model->config;
    const size_t dim = c->dim;

    for (size_t layer = 0; layer < c->decoder_layers; layer++) {
        const ee_aed_layer own = ee_aed_layer_of(d->model, d->exit, (uint32_t)layer);
        const seen_rows memory = memory_of(d, layer);

        for (size_t first = 0; first < d->rows; first += EE_BLOCK_FRAMES) {
            const size_t count = ee_size_min(d->rows - first, EE_BLOCK_FRAMES);

            affine(d, d->wide, hidden + first * dim, &own.cross.in, count, dim, 2 * dim, dim);
            remember(d, &memory, d->rows, first, d->wide, d->wide + dim, count, 2 * dim);
        }
    }
}

ee_status ee_decoder_open(ee_decoder **decoder, const ee_model *model, uint32_t exit,
                          const float *hidden, size_t rows, size_t labels, size_t width,
                          void *arena, size_t bytes)
{
    size_t needed;

    if (decoder == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *decoder = NULL;
    if (model == NULL || hidden == NULL) {
        return EE_ERR_ARGUMENT;
    }
    ee_status status = ee_decoder_size(&model->config, rows, labels, width, &needed);
    if (status == EE_OK && (exit < 1 || exit > model->config.exits)) {
        status = EE_ERR_RANGE;
    }
    if (status == EE_OK) {
        status = ee_check_memory(arena, bytes, needed, EE_ERR_ARENA_TOO_SMALL);
    }
    for (size_t i = 0; status == EE_OK && i < rows * model->config.dim; i++) {
        status = ee_is_finite(hidden[i]) ? EE_OK : EE_ERR_NOT_FINITE;
    }
    if (status != EE_OK) {
        return status;
    }
    ee_decoder *const d = arena;

    memset(d, 0, sizeof(*d));
    d->model = model;
    d->exit = exit - 1;
    d->rows = rows;
    d->labels = labels;
    d->width = width;
    (void)lay_out(d, &model->config, arena);
    d->count = 1; /* what the first step continues */
    d->place[0] = 0;
    memset(d->length, 0, width * sizeof(*d->length));
    run_memory(d, hidden);
    *decoder = d;
    return EE_OK;
}
