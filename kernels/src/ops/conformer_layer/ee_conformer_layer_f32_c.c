#include "../../common/ee_composites_f32.h"

/* Scratch: module (past + rows, dim), what a module makes of all frames, behind what the convolution
 * sees of those before; behind it what attention shares, and behind that, or where attention is done
 * with, behind module, the scratch of the workers. */
static size_t attention_worker(const ee_attention_frames *frames, size_t dim, const ee_team *team)
{
    return ee_size_max(
        ee_multi_head_attention_f32_block_scratch(frames, dim, team),
        ee_conv_module_f32_block_scratch(ee_block_frames(frames->rows, team), dim));
}

static size_t worker(size_t rows, size_t dim, size_t ff, const ee_team *team)
{
    const size_t step = ee_block_frames(rows, team);

    return ee_size_max(ee_feed_forward_f32_block_scratch(step, dim, ff),
                       ee_conv_module_f32_block_scratch(step, dim));
}

size_t ee_conformer_layer_f32_scratch(const ee_view *view, size_t rows, size_t dim, size_t heads,
                                      size_t ff, size_t kernel, const ee_team *team)
{
    const ee_layer_frames f = ee_layer_frames_planned(view, rows, kernel, team);
    const size_t workers = ee_workers(team);
    const size_t attention = ee_size_add(
        ee_multi_head_attention_f32_shared(&f.attention, dim),
        ee_size_mul(workers, attention_worker(&f.attention, dim, team)));

    (void)heads;
    return ee_size_add(ee_size_mul(ee_size_add(f.conv.past, rows), dim),
                       ee_size_max(attention, ee_size_mul(workers, worker(rows, dim, ff, team))));
}

typedef struct {
    ee_feed_forward_f32 ff1, ff2;
    ee_multi_head_attention_f32 attention;
    ee_conv_module_f32 conv;
    const ee_conformer_weights_f32 *weights;
    ee_blocks blocks, attention_blocks;
    float *out;
    float *module; /* of the frames given */
    const float *x;
} job;

/* out = x + feed_forward_1(x)/2 */
static void feed_forward_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    const size_t dim = j->ff1.dim;
    const float *const x = j->x + b.first * dim;

    ee_feed_forward_f32_block(&j->ff1, b.scratch, x, b.count, b.scratch);
    ee_add_scaled(j->out + b.first * dim, x, b.scratch, 0.5f, b.count * dim);
}

/* Queries, keys and values of layer_norm(out) */
static void project_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->attention_blocks, item, worker);
    const size_t dim = j->attention.dim;
    float *const normed = j->module + b.first * dim;

    j->attention.ops->layer_norm(normed, j->out + b.first * dim, j->weights->attn_norm_weight,
                                 j->weights->attn_norm_bias, b.count, dim, j->conv.eps);
    ee_multi_head_attention_f32_project(&j->attention, normed, b.first, b.count, b.scratch);
}

static void attend_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;

    ee_multi_head_attention_f32_attend(&j->attention, item,
                                       ee_worker_scratch(&j->attention_blocks, worker));
}

/* out = out + attention; then the first half of the convolution module */
static void gate_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->attention_blocks, item, worker);
    const size_t dim = j->attention.dim;
    float *const out = j->out + b.first * dim;

    ee_multi_head_attention_f32_output(&j->attention, b.scratch, b.first, b.count);
    ee_add_scaled(out, out, b.scratch, 1.0f, b.count * dim);
    ee_conv_module_f32_gate(&j->conv, out, b.first, b.count, b.scratch);
}

/* out = out + conv_module;  out = layer_norm(out + feed_forward_2(out)/2) */
static void output_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    const size_t dim = j->conv.dim;
    float *const out = j->out + b.first * dim;

    ee_conv_module_f32_output(&j->conv, b.scratch, b.first, b.count, b.scratch);
    ee_add_scaled(out, out, b.scratch, 1.0f, b.count * dim);
    ee_feed_forward_f32_block(&j->ff2, b.scratch, out, b.count, b.scratch);
    ee_add_scaled(out, out, b.scratch, 0.5f, b.count * dim);
    j->conv.ops->layer_norm(out, out, j->weights->norm_weight, j->weights->norm_bias, b.count, dim,
                            j->conv.eps);
}

void ee_conformer_layer_f32_c(float *out, const float *x, const ee_conformer_weights_f32 *weights,
                              ee_layer_past *past, const ee_view *view, size_t rows, size_t dim,
                              size_t heads, size_t ff, size_t kernel, float eps, float *scratch,
                              const ee_ops_f32 *ops, const ee_team *team)
{
    const ee_conformer_weights_f32 *const w = weights;
    const ee_layer_frames f = ee_layer_frames_of(view, past, rows, kernel, team);
    const size_t step = ee_block_frames(rows, team);
    float *const gated = scratch;
    float *const module = gated + f.conv.past * dim;
    float *const rest = module + rows * dim;
    job j = {
        .ff1 = {w->ff1_norm_weight, w->ff1_norm_bias, w->ff1_up_weight, w->ff1_up_bias,
                w->ff1_down_weight, w->ff1_down_bias, dim, ff, eps, ops},
        .ff2 = {w->ff2_norm_weight, w->ff2_norm_bias, w->ff2_up_weight, w->ff2_up_bias,
                w->ff2_down_weight, w->ff2_down_bias, dim, ff, eps, ops},
        .attention = {.in_weight = w->attn_in_weight, .in_bias = w->attn_in_bias,
                      .out_weight = w->attn_out_weight, .out_bias = w->attn_out_bias,
                      .dim = dim, .heads = heads, .frames = f.attention, .ops = ops},
        .conv = {w->conv_norm_weight, w->conv_norm_bias, w->conv_in_weight, w->conv_in_bias,
                 w->conv_depthwise_weight, w->conv_depthwise_bias, w->conv_out_weight,
                 w->conv_out_bias, dim, f.conv, eps, gated, ops},
        .weights = w, .out = out, .module = module, .x = x,
    };
    float *const behind_attention = ee_multi_head_attention_f32_place(&j.attention, rest);

    j.blocks = ee_blocks_f32(rows, step, rest, worker(rows, dim, ff, team));
    j.attention_blocks = ee_blocks_f32(rows, step, behind_attention,
                                       attention_worker(&f.attention, dim, team));
    ee_for_blocks(team, &j.blocks, feed_forward_task, &j);
    if (past != NULL) {
        ee_multi_head_attention_f32_recall(&j.attention, past->kv, past->kv_rows);
        ee_conv_recall(&f.conv, gated, past->gated, past->gated_rows, dim);
    }
    j.attention.kept = ee_make_room(past, view, rows, dim);
    ee_for_blocks(team, &j.attention_blocks, project_task, &j);
    ee_run(team, attend_task, &j, ee_query_items(&f.attention, heads));
    ee_for_blocks(team, &j.attention_blocks, gate_task, &j);
    ee_keep_gated(past, view, &f.conv, gated, dim);
    ee_for_blocks(team, &j.blocks, output_task, &j);
}
