#include "../../common/ee_composites_qs8.h"
#include "../../common/ee_exact.h"

enum { GATE_OUTS = 8 };

/* The products of the gates, and what they take. */
size_t ee_gates_qs8_block_scratch(size_t block, size_t dim, size_t heads)
{
    const size_t each = ee_size_mul(block, heads);

    return ee_size_add(ee_floats_qs8(each, GATE_OUTS),
                       ee_linear_digits_qs8_block_scratch(each, dim / heads, GATE_OUTS));
}

static float sigmoid_of_sum(const float z[GATE_OUTS / 2])
{
    return 1.0f / (1.0f + ee_exp(-(((z[0] + z[1]) + z[2]) + z[3])));
}

void ee_gates_qs8_block(const ee_gates_qs8 *op, const float *x, size_t first, size_t count,
                        void *scratch)
{
    const size_t width = op->dim / op->heads;
    char *rest = scratch;
    float *z = ee_take(&rest, ee_floats_qs8(count * op->heads, GATE_OUTS));
    float *const gates = op->gates + first * op->heads;

    /* The columns of a head are a row of their own. */
    ee_linear_digits_qs8_block(z, x, op->weight, op->weight_scale, op->bias, count * op->heads,
                               width, GATE_OUTS, width, ee_weight_stride_qs8(op->ops, width), rest,
                               op->ops);
    for (size_t t = 0; t < count; t++) {
        for (size_t h = 0; h < op->heads; h++, z += GATE_OUTS) {
            const float u = sigmoid_of_sum(z);
            const float r = sigmoid_of_sum(z + GATE_OUTS / 2);
            gates[t * op->heads + h] = u * (r * op->scale[h] - 1.0f) + 2.0f;
        }
    }
}

static size_t worker_scratch(const ee_attention_frames *frames, size_t dim, size_t heads,
                             const ee_team *team)
{
    return ee_size_max(
        ee_multi_head_attention_qs8_block_scratch(frames, dim, heads, team),
        ee_gates_qs8_block_scratch(ee_block_frames(frames->rows, team), dim, heads));
}

/* The gates, what attention shares, and that of the workers. */
size_t ee_gated_attention_qs8_scratch(size_t rows, size_t dim, size_t heads, const ee_team *team)
{
    const ee_attention_frames frames = ee_attention_frames_of(rows, 0, 0, 0, team);
    const size_t shared = ee_size_add(ee_floats_qs8(rows, heads),
                                      ee_multi_head_attention_qs8_shared(&frames, dim, heads));

    return ee_size_add(shared, ee_size_mul(ee_workers(team),
                                           worker_scratch(&frames, dim, heads, team)));
}

typedef struct {
    ee_multi_head_attention_qs8 op;
    ee_gates_qs8 gates;
    ee_blocks blocks;
    float *out;
    const float *x;
} job;

static void project_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    const float *const x = j->x + b.first * j->op.dim;

    ee_gates_qs8_block(&j->gates, x, b.first, b.count, b.scratch);
    ee_multi_head_attention_qs8_project(&j->op, x, b.first, b.count, b.scratch);
}

static void attend_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;

    ee_multi_head_attention_qs8_attend(&j->op, item, ee_worker_scratch(&j->blocks, worker));
}

static void output_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);

    ee_multi_head_attention_qs8_output(&j->op, j->out + b.first * j->op.dim, b.first, b.count,
                                       b.scratch);
}

/* The context lies in `out`. */
void ee_gated_attention_qs8_c(float *out, const float *x, const int8_t *in_weight,
                              const float *in_weight_scale, const float *in_bias,
                              const int8_t *out_weight, const float *out_weight_scale,
                              const float *out_bias, const int8_t *gate_weight,
                              const float *gate_weight_scale, const float *gate_bias,
                              const float *gate_scale, const float *distances, size_t rows,
                              size_t dim, size_t heads, void *scratch, const ee_ops_qs8 *ops,
                              const ee_team *team)
{
    char *rest = scratch;
    float *const gates = ee_take(&rest, ee_floats_qs8(rows, heads));
    job j = {
        .op = {.in_weight = in_weight, .in_weight_scale = in_weight_scale, .in_bias = in_bias,
               .out_weight = out_weight, .out_weight_scale = out_weight_scale,
               .out_bias = out_bias, .dim = dim, .heads = heads,
               .frames = ee_attention_frames_of(rows, 0, 0, 0, team), .context = out,
               .gates = gates, .distances = distances, .ops = ops},
        .gates = {gate_weight, gate_weight_scale, gate_bias, gate_scale, dim, heads, gates, ops},
        .out = out, .x = x,
    };
    void *const blocks = ee_multi_head_attention_qs8_place(&j.op, rest);

    j.blocks = ee_blocks_qs8(rows, ee_block_frames(rows, team), blocks,
                             worker_scratch(&j.op.frames, dim, heads, team));
    ee_for_blocks(team, &j.blocks, project_task, &j);
    ee_run(team, attend_task, &j, ee_query_items(&j.op.frames, heads));
    ee_for_blocks(team, &j.blocks, output_task, &j);
}
