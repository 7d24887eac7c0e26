#include <math.h>

#include "../../common/ee_composites_f32.h"

enum { GATE_OUTS = 8 };

size_t ee_gates_f32_block_scratch(size_t block, size_t heads)
{
    return ee_size_mul(ee_size_mul(block, heads), GATE_OUTS);
}

static float sigmoid_of_sum(const float z[GATE_OUTS / 2])
{
    return 1.0f / (1.0f + expf(-(z[0] + z[1] + z[2] + z[3])));
}

void ee_gates_f32_block(const ee_gates_f32 *op, const float *x, size_t first, size_t count,
                        float *scratch)
{
    const size_t width = op->dim / op->heads;
    float *const gates = op->gates + first * op->heads;

    /* The columns of a head are a row of their own. */
    op->ops->linear(scratch, x, op->weight, op->bias, count * op->heads, width, GATE_OUTS,
                    GATE_OUTS, width, ee_weight_stride(op->ops, width));
    for (size_t t = 0; t < count; t++) {
        for (size_t h = 0; h < op->heads; h++, scratch += GATE_OUTS) {
            const float u = sigmoid_of_sum(scratch);
            const float r = sigmoid_of_sum(scratch + GATE_OUTS / 2);
            gates[t * op->heads + h] = u * (r * op->scale[h] - 1.0f) + 2.0f;
        }
    }
}

static size_t worker_scratch(const ee_attention_frames *frames, size_t dim, size_t heads,
                             const ee_team *team)
{
    return ee_size_max(
        ee_multi_head_attention_f32_block_scratch(frames, dim, team),
        ee_gates_f32_block_scratch(ee_block_frames(frames->rows, team), heads));
}

/* The gates, what attention shares, and that of the workers. */
size_t ee_gated_attention_f32_scratch(size_t rows, size_t dim, size_t heads, const ee_team *team)
{
    const ee_attention_frames frames = ee_attention_frames_of(rows, 0, 0, 0, team);
    const size_t shared = ee_size_add(ee_size_mul(rows, heads),
                                      ee_multi_head_attention_f32_shared(&frames, dim));

    return ee_size_add(shared, ee_size_mul(ee_workers(team),
                                           worker_scratch(&frames, dim, heads, team)));
}

typedef struct {
    ee_multi_head_attention_f32 op;
    ee_gates_f32 gates;
    ee_blocks blocks;
    float *out;
    const float *x;
} job;

static void project_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    const float *const x = j->x + b.first * j->op.dim;

    ee_gates_f32_block(&j->gates, x, b.first, b.count, b.scratch);
    ee_multi_head_attention_f32_project(&j->op, x, b.first, b.count, b.scratch);
}

static void attend_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;

    ee_multi_head_attention_f32_attend(&j->op, item, ee_worker_scratch(&j->blocks, worker));
}

static void output_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);

    ee_multi_head_attention_f32_output(&j->op, j->out + b.first * j->op.dim, b.first, b.count);
}

void ee_gated_attention_f32_c(float *out, const float *x, const float *in_weight,
                              const float *in_bias, const float *out_weight, const float *out_bias,
                              const float *gate_weight, const float *gate_bias,
                              const float *gate_scale, const float *distances, size_t rows,
                              size_t dim, size_t heads, float *scratch, const ee_ops_f32 *ops,
                              const ee_team *team)
{
    job j = {
        .op = {.in_weight = in_weight, .in_bias = in_bias, .out_weight = out_weight,
               .out_bias = out_bias, .dim = dim, .heads = heads,
               .frames = ee_attention_frames_of(rows, 0, 0, 0, team),
               .gates = scratch, .distances = distances, .ops = ops},
        .gates = {gate_weight, gate_bias, gate_scale, dim, heads, scratch, ops},
        .out = out, .x = x,
    };
    float *const rest = ee_multi_head_attention_f32_place(&j.op, scratch + rows * heads);

    j.blocks = ee_blocks_f32(rows, ee_block_frames(rows, team), rest,
                             worker_scratch(&j.op.frames, dim, heads, team));
    ee_for_blocks(team, &j.blocks, project_task, &j);
    ee_run(team, attend_task, &j, ee_query_items(&j.op.frames, heads));
    ee_for_blocks(team, &j.blocks, output_task, &j);
}
