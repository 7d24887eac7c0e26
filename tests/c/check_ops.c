/* Every primitive of every instruction set against portable C, and every composite, at sizes around
 * the tiles: results, nothing written outside or read past the end, in place where allowed. */
#include "check.h"
#include "check_teams.h"
#include "ee.h"

static const size_t SIZES[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 47, 48, 49};
enum { SIZE_COUNT = sizeof(SIZES) / sizeof(SIZES[0]) };

static const char *isa_name;
static const ee_ops_f32 *isa;
static const ee_ops_f32 *portable;

/* Largest difference over largest magnitude expected. */
static float error(const float *actual, const float *expected, size_t count)
{
    float difference = 0.0f, scale = 1e-30f;

    for (size_t i = 0; i < count; i++) {
        if (isnan(actual[i])) {
            return INFINITY;
        }
        difference = fmaxf(difference, fabsf(actual[i] - expected[i]));
        scale = fmaxf(scale, fabsf(expected[i]));
    }
    return difference / scale;
}

static void expect(const char *op, const guarded *actual, const guarded *expected, size_t rows,
                   size_t dim)
{
    const float found = error(actual->data, expected->data, expected->count);

    CHECK(found <= 1e-5f, "%s %s (%zu, %zu): error %g", isa_name, op, rows, dim, (double)found);
    CHECK(sentinels_intact(actual), "%s %s (%zu, %zu): wrote before out", isa_name, op, rows, dim);
}

/* Expects the bytes of a composite that one of TEAMS computed. */
static void expect_bytes(const char *op, const guarded *actual, const guarded *expected, int team)
{
    CHECK(memcmp(actual->data, expected->data, expected->count * sizeof(float)) == 0,
          "%s %s on team %d: other bytes", isa_name, op, team);
    CHECK(sentinels_intact(actual), "%s %s on team %d: wrote before out", isa_name, op, team);
}

/* linear, or linear_few. */
static void check_product(ee_linear_f32 *linear, const char *name, size_t rows, size_t in,
                          size_t outs, size_t padding, int has_bias)
{
    const size_t out_stride = outs + padding, x_stride = in + padding, w_stride = in + 2 * padding;
    /* The last row of each has no padding: what lies behind it is out of bounds. */
    guarded x = random_floats((rows - 1) * x_stride + in, 1.0f);
    guarded weight = random_floats((outs - 1) * w_stride + in, 1.0f);
    guarded bias = random_floats(outs, 1.0f);
    guarded out = guarded_floats((rows - 1) * out_stride + outs);
    guarded expected = guarded_floats((rows - 1) * out_stride + outs);
    const float *const b = has_bias ? bias.data : NULL;

    portable->linear(expected.data, x.data, weight.data, b, rows, in, outs, out_stride, x_stride,
                     w_stride);
    linear(out.data, x.data, weight.data, b, rows, in, outs, out_stride, x_stride, w_stride);
    for (size_t t = 0; t < rows; t++) {
        CHECK(error(out.data + t * out_stride, expected.data + t * out_stride, outs) <= 2e-5f,
              "%s %s %zu x %zu -> %zu, row %zu", isa_name, name, rows, in, outs, t);
        for (size_t o = outs; o < out_stride && t + 1 < rows; o++) {
            CHECK(out.data[t * out_stride + o] == SENTINEL, "%s %s %zu x %zu -> %zu wrote "
                  "between rows", isa_name, name, rows, in, outs);
        }
    }
    CHECK(sentinels_intact(&out), "%s %s %zu x %zu -> %zu", isa_name, name, rows, in, outs);

    if (linear == isa->linear && isa->pack != NULL) {
        guarded packed = guarded_floats((outs + isa->panel - 1) / isa->panel * isa->panel * in);
        guarded again = guarded_floats((rows - 1) * out_stride + outs);

        isa->pack(packed.data, weight.data, in, outs, w_stride);
        isa->linear(again.data, x.data, packed.data, b, rows, in, outs, out_stride, x_stride, 0);
        for (size_t t = 0; t < rows; t++) {
            CHECK(memcmp(again.data + t * out_stride, out.data + t * out_stride,
                         outs * sizeof(float)) == 0,
                  "%s linear %zu x %zu -> %zu, row %zu: packed weights give other bytes", isa_name,
                  rows, in, outs, t);
        }
        CHECK(sentinels_intact(&packed) && sentinels_intact(&again), "%s packed %zu x %zu -> %zu",
              isa_name, rows, in, outs);
        guarded_free(&packed);
        guarded_free(&again);
    }

    /* A row by itself: its values depend neither on the number of rows nor on its place. */
    guarded row = guarded_floats(outs);
    linear(row.data, x.data + (rows - 1) * x_stride, weight.data, b, 1, in, outs, outs, x_stride,
           w_stride);
    CHECK(memcmp(row.data, out.data + (rows - 1) * out_stride, outs * sizeof(float)) == 0,
          "%s %s %zu x %zu -> %zu: the last row differs by itself", isa_name, name, rows, in, outs);
    guarded_free(&row);
    guarded_free(&x);
    guarded_free(&weight);
    guarded_free(&bias);
    guarded_free(&out);
    guarded_free(&expected);
}

static void check_linear(size_t rows, size_t in, size_t outs, size_t padding, int has_bias)
{
    check_product(isa->linear, "linear", rows, in, outs, padding, has_bias);
    if (isa->linear_few != NULL) {
        check_product(isa->linear_few, "linear_few", rows, in, outs, padding, has_bias);
    }
}

enum { ROW_RANGE = 20 };
#include "check_rows.h"

static void check_primitives(void)
{
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        const size_t n = SIZES[i];

        check_linear(n, 13, 11, 0, 1);
        check_linear(5, n, 9, 1, 0);
        check_linear(7, 10, n, 3, 1);
        check_linear(n, n, n, 0, 1);
        check_layer_norm(3, n);
        check_row_op("silu", silu_isa, silu_portable, 1, n, n, 1);
        check_row_op("gelu", gelu_isa, gelu_portable, 1, n, n, 1);
        check_row_op("glu", isa->glu, portable->glu, 3, n, 2 * n, 0);
        check_row_op("softmax", isa->softmax, portable->softmax, 3, n, n, 1);
        check_row_op("log_softmax", isa->log_softmax, portable->log_softmax, 3, n, n, 1);
        check_depthwise_conv(n, 9, 5, n % 5);
        check_depthwise_conv(20, n, 31, 15);
        check_depthwise_conv(n, 8, 31, 0);
        check_depthwise_conv(n, 8, 31, 15);
    }
    /* Around the blocks of `in` and of rows, and tiles of every height. */
    check_linear(13, 351, 10, 0, 1);
    check_linear(11, 352, 33, 1, 0);
    check_linear(12, 353, 37, 1, 0);
    check_linear(14, 1025, 5, 2, 1);
    check_linear(257, 9, 65, 1, 1);
    for (size_t rows = 1; rows <= 30; rows++) {
        check_linear(rows, 19, 32, 0, 1);
        check_linear(rows, 360, 43, 1, 0);
    }
}

typedef enum {
    FEED_FORWARD, ATTENTION, GATED_ATTENTION, GROUP_NORM, CONV_MODULE, CONFORMER_LAYER, EXIT_HEAD,
    STEM_CONV, GROUPED_CONV, LSTM, COMPOSITE_COUNT
} composite;

static const char *const COMPOSITES[] = {
    "feed_forward", "multi_head_attention", "gated_attention", "group_norm", "conv_module",
    "conformer_layer", "exit_head", "stem_conv", "grouped_conv", "lstm"};

typedef struct {
    size_t rows, dim, heads, ff, kernel;
    viewing viewing;
    const float *past;
    const float *weights;
    ee_conformer_weights_f32 layer;
} shape;

static size_t outputs(composite op, const shape *s)
{
    if (op == STEM_CONV) {
        return ee_stem_conv_f32_frames(s->rows, 3, 2) * s->ff;
    }
    if (op == LSTM) {
        return s->rows * 2 * s->kernel;
    }
    return s->rows * (op == EXIT_HEAD ? s->ff : s->dim);
}

/* The composite with scratch of exactly the size asked for. */
static void run_composite(composite op, float *out, const float *x, const shape *s,
                          const ee_ops_f32 *table, const ee_team *team)
{
    const size_t rows = s->rows, dim = s->dim, heads = s->heads, ff = s->ff, kernel = s->kernel;
    const viewing *const v = &s->viewing;
    const ee_view view = view_of(v, kernel);
    const size_t chunk = v->chunk, left = v->left, past = v->past;
    const float *const w = s->weights;
    const size_t sizes[COMPOSITE_COUNT] = {
        ee_feed_forward_f32_scratch(rows, dim, ff, team),
        ee_multi_head_attention_f32_scratch(rows, dim, heads, chunk, left, past, team),
        ee_gated_attention_f32_scratch(rows, dim, heads, team), 0,
        ee_conv_module_f32_scratch(rows, dim, kernel, view.ahead, past, team),
        ee_conformer_layer_f32_scratch(&view, rows, dim, heads, ff, kernel, team), 0, 0,
        ee_grouped_conv_f32_scratch(rows, dim, kernel * (dim / heads), heads, team),
        ee_lstm_f32_scratch(rows, dim, kernel, team),
    };
    guarded g = guarded_floats(sizes[op]);
    guarded more = guarded_floats(rows * 2 * dim);

    switch (op) {
    case FEED_FORWARD:
        ee_feed_forward_f32_c(out, x, w, w, w, w, w, w, rows, dim, ff, 1e-5f, g.data, table, team);
        break;
    case ATTENTION:
        ee_multi_head_attention_f32_c(out, more.data, x, w, w, w, w, s->past, rows, dim, heads,
                                      chunk, left, past, g.data, table, team);
        break;
    case GATED_ATTENTION:
        ee_gated_attention_f32_c(out, x, w, w, w, w, w, w, w, w, rows, dim, heads, g.data, table,
                                 team);
        break;
    case GROUP_NORM:
        ee_group_norm_f32_c(out, x, w, w, rows, dim, 1e-5f, table, team);
        break;
    case GROUPED_CONV:
        ee_grouped_conv_f32_c(out, x, w, w, rows, dim, kernel * (dim / heads), heads, g.data, table,
                              team);
        break;
    case CONV_MODULE:
        ee_conv_module_f32_c(out, more.data, x, w, w, w, w, w, w, w, w, s->past, rows, dim, kernel,
                             1e-5f, view.ahead, chunk, past, g.data, table, team);
        break;
    case CONFORMER_LAYER: {
        layer_past kept = take_past(v, s->past, dim, kernel);
        ee_conformer_layer_f32_c(out, x, &s->layer, chunk > 0 ? &kept.rows : NULL, &view, rows,
                                 dim, heads, ff, kernel, 1e-5f, g.data, table, team);
        check_past(&kept, v, rows, kernel);
        break;
    }
    case EXIT_HEAD:
        ee_exit_head_f32_c(out, x, w, w, rows, dim, ff, table, team);
        break;
    case STEM_CONV:
        ee_stem_conv_f32_c(out, x, w, w, rows, dim, ff, 3, 2, table, team);
        break;
    default:
        ee_lstm_f32_c(out, x, w, w, w, w + 1, rows, dim, kernel, g.data, table, team);
    }
    CHECK(sentinels_intact(&g) && sentinels_intact(&more), "%s wrote before scratch",
          COMPOSITES[op]);
    guarded_free(&g);
    guarded_free(&more);
}

/* Every composite: compared between tables, and its bytes between teams, in place too. */
static void check_composites(size_t rows, size_t dim, size_t heads, size_t ff, size_t kernel,
                             const viewing *viewing)
{
    const size_t row = ee_row_stride(dim);
    const size_t matrix = 3 * dim * row + ff * 3 * row + dim * ee_row_stride(ff)
                          + 8 * kernel * row + 1 + 2 * rows * heads;
    guarded weights = random_floats(matrix, 0.3f);
    guarded past = random_floats(viewing->past * 2 * dim, 1.0f);
    shape s = {.rows = rows, .dim = dim, .heads = heads, .ff = ff, .kernel = kernel,
               .weights = weights.data, .viewing = *viewing,
               .past = past.data};
    const float **const members = (const float **)(void *)&s.layer;

    for (size_t i = 0; i < sizeof(s.layer) / sizeof(*members); i++) {
        members[i] = weights.data;
    }
    for (composite op = 0; op < COMPOSITE_COUNT; op++) {
        guarded x = random_floats(rows * dim, 1.0f);
        guarded out = guarded_floats(outputs(op, &s));
        guarded expected = guarded_floats(outputs(op, &s));

        run_composite(op, expected.data, x.data, &s, portable, NULL);
        run_composite(op, out.data, x.data, &s, isa, NULL);
        expect(COMPOSITES[op], &out, &expected, rows, dim);
        memcpy(expected.data, out.data, out.count * sizeof(float));
        for (int t = 0; t < TEAM_COUNT; t++) {
            guarded again = guarded_floats(out.count);
            run_composite(op, again.data, x.data, &s, isa, TEAMS[t]);
            expect_bytes(COMPOSITES[op], &again, &expected, t);
            guarded_free(&again);
        }
        for (int t = 0; t < TEAM_COUNT && op < EXIT_HEAD; t++) {
            guarded in_place = guarded_floats(out.count);
            memcpy(in_place.data, x.data, out.count * sizeof(float));
            run_composite(op, in_place.data, in_place.data, &s, isa, TEAMS[t]);
            expect_bytes(COMPOSITES[op], &in_place, &expected, t);
            guarded_free(&in_place);
        }
        guarded_free(&x);
        guarded_free(&out);
        guarded_free(&expected);
    }
    guarded_free(&weights);
    guarded_free(&past);
}

static void check_sizes(void)
{
    CHECK(ee_stem_conv_f32_frames(2, 3, 2) == 0, "too few frames");
    CHECK(ee_stem_conv_f32_frames(3, 3, 2) == 1, "one window");
    CHECK(ee_stem_conv_f32_frames(1001, 3, 2) == 500, "ten seconds");
    CHECK(ee_feed_forward_f32_scratch(10 * EE_BLOCK_FRAMES, 8, 32, NULL)
          == (size_t)EE_BLOCK_FRAMES * 40, "scratch of one block");
    CHECK(ee_feed_forward_f32_scratch(70, 8, 32, &SEVENS) == 3 * 7 * 40, "scratch of three");
    CHECK(ee_multi_head_attention_f32_scratch(SIZE_MAX / 2, 8, 2, 0, 0, 0, NULL) == SIZE_MAX, "saturation");
    const ee_view full = {0, 0, 15}, wide = {16, SIZE_MAX, 15};
    CHECK(ee_conformer_layer_f32_scratch(&full, SIZE_MAX / 4, 256, 8, 2048, 31, NULL) == SIZE_MAX,
          "saturation");
    CHECK(ee_conformer_layer_f32_scratch(&wide, 16, 256, 8, 2048, 31, NULL) == SIZE_MAX,
          "saturation");
    CHECK(ee_ops_for((ee_isa)99) == NULL, "no such instruction set");
    CHECK(ee_isa_name((ee_isa)99) == NULL, "no such instruction set");
    CHECK(ee_isa_find("c") == EE_ISA_C, "found by its name");
    CHECK(ee_isa_find(ee_isa_name(ee_isa_best())) == ee_isa_best(), "found by its name");
    CHECK(ee_isa_find("") == EE_ISA_COUNT && ee_isa_find("cc") == EE_ISA_COUNT, "no such name");
    for (int i = (int)ee_isa_best() + 1; i < EE_ISA_COUNT; i++) {
        CHECK(ee_isa_find(ee_isa_name((ee_isa)i)) == EE_ISA_COUNT, "not of this CPU");
    }
}

int main(void)
{
    check_sizes();
    portable = ee_ops_for(EE_ISA_C)->f32;
    for (int i = EE_ISA_C; i <= (int)ee_isa_best(); i++) {
        if (ee_ops_for((ee_isa)i) == NULL) {
            continue;
        }
        isa = ee_ops_for((ee_isa)i)->f32;
        isa_name = ee_isa_name((ee_isa)i);
        CHECK(i == EE_ISA_C || isa->linear != portable->linear, "%s: its own kernels", isa_name);
        check_primitives();
        for (size_t n = 0; n < SIZE_COUNT; n++) {
            check_composites(SIZES[n], 12, 3, 20, 5, VIEWINGS);
            check_composites(5, SIZES[n], 1, 7, 3, VIEWINGS);
        }
        check_composites(0, 12, 3, 20, 5, VIEWINGS);
        check_composites(97, 20, 4, 37, 5, VIEWINGS);
        check_composites(271, 20, 4, 37, 5, VIEWINGS);
        for (const viewing *v = VIEWINGS + 1; v < VIEWINGS + VIEWING_COUNT; v++) {
            check_composites(1, 12, 3, 20, 5, v);
            check_composites(17, 12, 3, 20, 5, v);
            check_composites(97, 20, 4, 37, 5, v);
        }
    }
    return check_result("check_ops");
}
