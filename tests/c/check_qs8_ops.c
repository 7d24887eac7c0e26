/* Every primitive of int8 mode of every instruction set against portable C, and every composite, at
 * sizes around the tiles: the same bytes, nothing written outside or read past the end, in place
 * where allowed. */
#include "check.h"
#include "check_teams.h"
#include "ee.h"

static const size_t SIZES[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 31, 32, 33, 47,
                               48, 49, 63, 64, 65};
enum { SIZE_COUNT = sizeof(SIZES) / sizeof(SIZES[0]) };

static const char *isa_name;
static const ee_ops_qs8 *isa;
static const ee_ops_qs8 *portable;

/* Rows of int8 as the kernels want them: they end at the unreadable page, and begin aligned because
 * the stride is a multiple of 16. */
static guarded guarded_rows(size_t rows, size_t stride)
{
    return guarded_floats(rows * stride / sizeof(float));
}

static int8_t *bytes_of(const guarded *g)
{
    return (int8_t *)(void *)g->data;
}

/* (rows, columns) of -127..127; behind each row zeros, or junk as behind weights. */
static guarded random_rows(size_t rows, size_t columns, size_t stride, int is_weight)
{
    guarded g = guarded_rows(rows, stride);

    for (size_t i = 0; i < rows * stride; i++) {
        const int is_padding = i % stride >= columns;
        bytes_of(&g)[i] = (int8_t)(is_padding && !is_weight ? 0.0f : random_float() * 127.99f);
    }
    return g;
}

static void expect(const char *op, const guarded *actual, const guarded *expected, size_t rows,
                   size_t dim)
{
    CHECK(memcmp(actual->data, expected->data, expected->count * sizeof(float)) == 0,
          "%s %s (%zu, %zu): other bytes", isa_name, op, rows, dim);
    CHECK(sentinels_intact(actual), "%s %s (%zu, %zu): wrote before out", isa_name, op, rows, dim);
}

static void check_linear(size_t rows, size_t in, size_t outs, size_t padding, int has_bias)
{
    const size_t out_stride = outs + padding;
    const size_t q_stride = ee_row_stride_qs8(in) + 16 * padding;
    const size_t w_stride = ee_row_stride_qs8(in) + 32 * padding;
    guarded q = random_rows(rows, in, q_stride, 0);
    guarded weight = random_rows(outs, in, w_stride, 1);
    guarded scale = random_floats(rows, 0.1f);
    guarded weight_scale = random_floats(outs, 0.01f);
    guarded bias = random_floats(outs, 1.0f);
    guarded out = guarded_floats((rows - 1) * out_stride + outs);
    guarded expected = guarded_floats((rows - 1) * out_stride + outs);
    const float *const b = has_bias ? bias.data : NULL;

    portable->linear(expected.data, bytes_of(&q), scale.data, bytes_of(&weight), weight_scale.data,
                     b, rows, in, outs, out_stride, q_stride, w_stride);
    isa->linear(out.data, bytes_of(&q), scale.data, bytes_of(&weight), weight_scale.data, b, rows,
                in, outs, out_stride, q_stride, w_stride);
    /* Between rows both have their sentinels. */
    expect("linear", &out, &expected, rows, in);
    if (isa->pack != NULL) {
        const size_t panels = (outs + isa->panel - 1) / isa->panel;
        const size_t each_output = (in + EE_PACKED_IN - 1) / EE_PACKED_IN * EE_PACKED_IN;
        guarded packed = guarded_rows(panels * isa->panel, each_output);
        guarded again = guarded_floats((rows - 1) * out_stride + outs);

        isa->pack(bytes_of(&packed), bytes_of(&weight), in, outs, w_stride);
        isa->linear(again.data, bytes_of(&q), scale.data, bytes_of(&packed), weight_scale.data, b,
                    rows, in, outs, out_stride, q_stride, 0);
        expect("packed linear", &again, &expected, rows, in);
        CHECK(sentinels_intact(&packed), "%s packed %zu x %zu", isa_name, outs, in);
        guarded_free(&packed);
        guarded_free(&again);
    }
    guarded_free(&q);
    guarded_free(&weight);
    guarded_free(&scale);
    guarded_free(&weight_scale);
    guarded_free(&bias);
    guarded_free(&out);
    guarded_free(&expected);
}

static void check_quantize(size_t rows, size_t in, size_t padding)
{
    const size_t x_stride = in + padding;
    const size_t q_stride = ee_row_stride_qs8(in) + 16 * padding;
    guarded x = random_floats((rows - 1) * x_stride + in, 30.0f);
    guarded q = guarded_rows(rows, q_stride), expected_q = guarded_rows(rows, q_stride);
    guarded scale = guarded_floats(rows), expected_scale = guarded_floats(rows);

    for (size_t i = 0; i < in; i++) {
        x.data[i] *= 1e-33f; /* a row below the smallest scale */
    }
    portable->quantize(bytes_of(&expected_q), expected_scale.data, x.data, rows, in, q_stride,
                       x_stride);
    isa->quantize(bytes_of(&q), scale.data, x.data, rows, in, q_stride, x_stride);
    CHECK(scale.data[0] == 0.0f, "%s quantize: scale %g", isa_name, (double)scale.data[0]);
    expect("quantize", &q, &expected_q, rows, in);
    expect("quantize", &scale, &expected_scale, rows, in);
    for (size_t t = 0; t < rows; t++) {
        for (size_t i = in; i < ee_row_stride_qs8(in); i++) {
            CHECK(bytes_of(&q)[t * q_stride + i] == 0, "%s quantize: padding", isa_name);
        }
    }
    guarded_free(&x);
    guarded_free(&q);
    guarded_free(&expected_q);
    guarded_free(&scale);
    guarded_free(&expected_scale);
}

static void check_quantize_digits(size_t rows, size_t in, size_t padding)
{
    const size_t x_stride = in + padding;
    const size_t stride = ee_row_stride_qs8(in) + 16 * padding;
    guarded x = random_floats((rows - 1) * x_stride + in, 30.0f);
    guarded high = guarded_rows(rows, stride), expected_high = guarded_rows(rows, stride);
    guarded low = guarded_rows(rows, stride), expected_low = guarded_rows(rows, stride);
    guarded scale = guarded_floats(rows), expected_scale = guarded_floats(rows);

    for (size_t i = 0; i < in; i++) {
        x.data[i] *= 1e-33f; /* a row below the smallest scale */
    }
    portable->quantize_digits(bytes_of(&expected_high), bytes_of(&expected_low),
                              expected_scale.data, x.data, rows, in, stride, x_stride);
    isa->quantize_digits(bytes_of(&high), bytes_of(&low), scale.data, x.data, rows, in, stride,
                         x_stride);
    CHECK(scale.data[0] == 0.0f, "%s quantize_digits: scale %g", isa_name, (double)scale.data[0]);
    expect("quantize_digits high", &high, &expected_high, rows, in);
    expect("quantize_digits low", &low, &expected_low, rows, in);
    expect("quantize_digits scale", &scale, &expected_scale, rows, in);
    for (size_t t = 0; t < rows; t++) {
        for (size_t i = in; i < ee_row_stride_qs8(in); i++) {
            CHECK(bytes_of(&high)[t * stride + i] == 0 && bytes_of(&low)[t * stride + i] == 0,
                  "%s quantize_digits: padding", isa_name);
        }
    }
    guarded_free(&x);
    guarded_free(&high);
    guarded_free(&expected_high);
    guarded_free(&low);
    guarded_free(&expected_low);
    guarded_free(&scale);
    guarded_free(&expected_scale);
}

static void check_softmax(size_t rows, size_t dim, int is_zero)
{
    const size_t stride = ee_row_stride_qs8(dim);
    guarded x = random_floats(rows * dim, 9.0f), expected_x = guarded_floats(rows * dim);
    guarded value_scale = random_floats(dim, 0.1f);
    guarded high = guarded_rows(rows, stride), expected_high = guarded_rows(rows, stride);
    guarded low = guarded_rows(rows, stride), expected_low = guarded_rows(rows, stride);
    guarded scale = guarded_floats(rows), expected_scale = guarded_floats(rows);

    for (size_t d = 0; d < dim; d++) { /* as quantize gives them, some of rows of zeros */
        const float drawn = value_scale.data[d];
        value_scale.data[d] = is_zero || drawn < -0.05f ? 0.0f : drawn < 0.0f ? -drawn : drawn;
    }
    memcpy(expected_x.data, x.data, rows * dim * sizeof(float));
    portable->softmax(bytes_of(&expected_high), bytes_of(&expected_low), expected_scale.data,
                      expected_x.data, value_scale.data, rows, dim, stride);
    isa->softmax(bytes_of(&high), bytes_of(&low), scale.data, x.data, value_scale.data, rows, dim,
                 stride);
    expect("softmax high", &high, &expected_high, rows, dim);
    expect("softmax low", &low, &expected_low, rows, dim);
    expect("softmax scale", &scale, &expected_scale, rows, dim);
    CHECK(sentinels_intact(&x), "%s softmax: wrote before x", isa_name);
    guarded_free(&x);
    guarded_free(&expected_x);
    guarded_free(&value_scale);
    guarded_free(&high);
    guarded_free(&expected_high);
    guarded_free(&low);
    guarded_free(&expected_low);
    guarded_free(&scale);
    guarded_free(&expected_scale);
}

/* Weights may make a float overflow: what comes out is unspecified, but nothing undefined is done. */
static void check_softmax_not_finite(void)
{
    const float odd[] = {NAN, INFINITY, -INFINITY};

    for (size_t i = 0; i < 3; i++) {
        guarded x = guarded_floats(37), value_scale = guarded_floats(37);
        guarded high = guarded_rows(1, 48), low = guarded_rows(1, 48), scale = guarded_floats(1);
        for (size_t d = 0; d < 37; d++) {
            x.data[d] = odd[i];
            value_scale.data[d] = odd[(i + d) % 3];
        }
        isa->softmax(bytes_of(&high), bytes_of(&low), scale.data, x.data, value_scale.data, 1, 37,
                     48);
        CHECK(sentinels_intact(&high) && sentinels_intact(&low) && sentinels_intact(&scale), "%g",
              (double)odd[i]);
        guarded_free(&x);
        guarded_free(&high);
        guarded_free(&low);
        guarded_free(&scale);
        guarded_free(&value_scale);
    }
}

enum { ROW_RANGE = 120 };
#include "check_rows.h"

static void check_primitives(void)
{
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        const size_t n = SIZES[i];

        check_linear(n, 13, 11, 0, 1);
        check_linear(5, n, 9, 1, 0);
        check_linear(7, 40, n, 3, 1);
        check_linear(n, n, n, 0, 1);
        check_quantize(3, n, 0);
        check_quantize(2, n, 1);
        check_quantize_digits(3, n, 0);
        check_quantize_digits(2, n, 1);
        check_softmax(3, n, 0);
        check_softmax(2, n, 1);
        check_layer_norm(3, n);
        check_row_op("silu", silu_isa, silu_portable, 1, n, n, 1);
        check_row_op("gelu", gelu_isa, gelu_portable, 1, n, n, 1);
        check_row_op("glu", isa->glu, portable->glu, 3, n, 2 * n, 0);
        check_row_op("log_softmax", isa->log_softmax, portable->log_softmax, 3, n, n, 1);
        check_depthwise_conv(n, 9, 5, n % 5);
        check_depthwise_conv(20, n, 31, 15);
    }
    check_softmax_not_finite();
    /* Beyond one block of `in` and one block of rows. */
    check_linear(13, 257, 10, 0, 1);
    check_linear(11, 1025, 5, 2, 1);
    check_linear(101, 513, 35, 1, 0);
    check_linear(129, 257, 17, 0, 1);
    check_linear(257, 520, 33, 1, 1);
    for (size_t rows = 1; rows <= 26; rows++) { /* every height of a tile, three blocks of `in` */
        check_linear(rows, 1040, 40, 1, rows % 2 == 0);
    }
}

typedef enum {
    FEED_FORWARD, ATTENTION, CONV_MODULE, CONFORMER_LAYER, GROUP_NORM, GATED_ATTENTION,
    GROUPED_CONV, LINEAR_DIGITS, STEM_CONV, EXIT_HEAD, LSTM, COMPOSITE_COUNT
} composite;

static const char *const COMPOSITES[] = {"feed_forward", "multi_head_attention", "conv_module",
                                         "conformer_layer", "group_norm", "gated_attention",
                                         "grouped_conv", "linear_digits", "stem_conv",
                                         "exit_head", "lstm"};

typedef struct {
    size_t rows, dim, heads, ff, kernel;
    viewing viewing;
    const float *past;
    const int8_t *matrix;
    const float *floats;
    ee_conformer_weights_qs8 layer;
} shape;

static size_t outputs(composite op, const shape *s)
{
    if (op == LSTM) {
        return 2 * s->kernel;
    }
    return op >= LINEAR_DIGITS ? s->ff : s->dim;
}

/* What a frame of the grouped convolution sees: an even number of taps. */
static size_t positional_window(size_t dim, size_t groups, size_t kernel)
{
    return (kernel + 1) * (dim / groups);
}

/* The composite with scratch of exactly the size asked for. */
static void run_composite(composite op, float *out, const float *x, const shape *s,
                          const ee_ops_qs8 *table, const ee_team *team)
{
    const size_t rows = s->rows, dim = s->dim, heads = s->heads, ff = s->ff, kernel = s->kernel;
    const viewing *const v = &s->viewing;
    const ee_view view = view_of(v, kernel);
    const size_t chunk = v->chunk, left = v->left, past = v->past;
    const size_t positional = positional_window(s->dim, heads, kernel);
    const int8_t *const m = s->matrix;
    const float *const f = s->floats;
    const size_t sizes[COMPOSITE_COUNT] = {
        ee_feed_forward_qs8_scratch(rows, dim, ff, team),
        ee_multi_head_attention_qs8_scratch(rows, dim, heads, chunk, left, past, team),
        ee_conv_module_qs8_scratch(rows, dim, kernel, view.ahead, past, team),
        ee_conformer_layer_qs8_scratch(&view, rows, dim, heads, ff, kernel, team),
        0,
        ee_gated_attention_qs8_scratch(rows, dim, heads, team),
        ee_grouped_conv_qs8_scratch(rows, dim, positional, heads, team),
        ee_linear_digits_qs8_scratch(rows, dim, ff, team),
        ee_stem_conv_qs8_scratch(rows, dim, ff, 1, 1, team),
        ee_exit_head_qs8_scratch(rows, dim, ff, team),
        ee_lstm_qs8_scratch(rows, dim, kernel, team),
    };
    guarded g = guarded_floats(sizes[op] / sizeof(float));
    guarded more = guarded_floats(rows * 2 * dim);

    CHECK(sizes[op] % 16 == 0, "%zu bytes of scratch", sizes[op]);
    switch (op) {
    case FEED_FORWARD:
        ee_feed_forward_qs8_c(out, x, f, f, m, f, f, m, f, f, rows, dim, ff, 1e-5f, g.data, table,
                              team);
        break;
    case ATTENTION:
        ee_multi_head_attention_qs8_c(out, more.data, x, m, f, f, m, f, f, s->past, rows, dim, heads,
                                      chunk, left, past, g.data, table, team);
        break;
    case CONV_MODULE:
        ee_conv_module_qs8_c(out, more.data, x, f, f, m, f, f, f, f, m, f, f, s->past, rows, dim, kernel,
                             1e-5f, view.ahead, chunk, past, g.data, table, team);
        break;
    case CONFORMER_LAYER: {
        layer_past kept = take_past(v, s->past, dim, kernel);
        ee_conformer_layer_qs8_c(out, x, &s->layer, chunk > 0 ? &kept.rows : NULL, &view, rows,
                                 dim, heads, ff, kernel, 1e-5f, g.data, table, team);
        check_past(&kept, v, rows, kernel);
        break;
    }
    case GROUP_NORM:
        ee_group_norm_exact_c(out, x, f, f, rows, dim, 1e-5f, table, team);
        break;
    case GATED_ATTENTION:
        ee_gated_attention_qs8_c(out, x, m, f, f, m, f, f, m, f, f, f, f, rows, dim, heads, g.data,
                                 table, team);
        break;
    case GROUPED_CONV:
        ee_grouped_conv_qs8_c(out, x, m, f, f, rows, dim, positional, heads, g.data, table, team);
        break;
    case LINEAR_DIGITS:
        ee_linear_digits_qs8_c(out, x, m, f, f, rows, dim, ff, dim, g.data, table, team);
        break;
    case STEM_CONV:
        ee_stem_conv_qs8_c(out, x, m, f, f, rows, dim, ff, 1, 1, g.data, table, team);
        break;
    case EXIT_HEAD:
        ee_exit_head_qs8_c(out, x, m, f, f, rows, dim, ff, g.data, table, team);
        break;
    default:
        ee_lstm_qs8_c(out, x, m, f, f, m, f, m + 16, f + 1, rows, dim, kernel, g.data, table,
                      team);
    }
    CHECK(sentinels_intact(&g) && sentinels_intact(&more), "%s wrote before scratch",
          COMPOSITES[op]);
    guarded_free(&g);
    guarded_free(&more);
}

/* Every composite: the same bytes from every table and every team, in place too. */
static void check_composites(size_t rows, size_t dim, size_t heads, size_t ff, size_t kernel,
                             const viewing *viewing)
{
    const size_t gates = 8 * kernel, wide = 3 * dim > ff ? 3 * dim : ff;
    const size_t widest = wide > gates ? wide : gates;
    const size_t positional = positional_window(dim, heads, kernel);
    const size_t matrix_row = dim > ff ? dim : ff;
    const size_t row = ee_row_stride_qs8(matrix_row > positional ? matrix_row : positional);
    guarded matrix = random_rows(widest, row, row, 1);
    guarded floats = random_floats(kernel * ee_row_stride(dim) + widest + heads * 2 * rows,
                                   0.02f);
    guarded past = random_floats(viewing->past * 2 * dim, 1.0f);
    shape s = {.rows = rows, .dim = dim, .heads = heads, .ff = ff, .kernel = kernel,
               .matrix = bytes_of(&matrix), .floats = floats.data, .viewing = *viewing,
               .past = past.data};
    const void **const members = (const void **)(void *)&s.layer;

    for (size_t i = 0; i < sizeof(s.layer) / sizeof(*members); i++) {
        members[i] = s.floats;
    }
    s.layer.ff1_up_weight = s.layer.ff1_down_weight = s.layer.attn_in_weight = s.matrix;
    s.layer.attn_out_weight = s.layer.conv_in_weight = s.layer.conv_out_weight = s.matrix;
    s.layer.ff2_up_weight = s.layer.ff2_down_weight = s.matrix;
    for (composite op = 0; op < COMPOSITE_COUNT; op++) {
        const size_t count = rows * outputs(op, &s);
        guarded x = random_floats(rows * dim, 1.0f);
        guarded expected = guarded_floats(count);

        run_composite(op, expected.data, x.data, &s, portable, NULL);
        for (int t = 0; t < TEAM_COUNT; t++) {
            guarded out = guarded_floats(count);
            run_composite(op, out.data, x.data, &s, isa, TEAMS[t]);
            expect(COMPOSITES[op], &out, &expected, rows, dim);
            if (op < GROUPED_CONV) {
                memcpy(out.data, x.data, count * sizeof(float));
                run_composite(op, out.data, out.data, &s, isa, TEAMS[t]);
                expect(COMPOSITES[op], &out, &expected, rows, dim);
            }
            guarded_free(&out);
        }
        guarded_free(&x);
        guarded_free(&expected);
    }
    guarded_free(&matrix);
    guarded_free(&floats);
    guarded_free(&past);
}

static void check_sizes(void)
{
    CHECK(ee_row_stride_qs8(1) == 16 && ee_row_stride_qs8(16) == 16, "one group");
    CHECK(ee_row_stride_qs8(17) == 32, "two groups");
    CHECK(ee_feed_forward_qs8_scratch(10 * EE_BLOCK_FRAMES, 16, 64, NULL)
          == (size_t)EE_BLOCK_FRAMES * (4 + 4 * 64 + 64), "scratch of one block");
    CHECK(ee_multi_head_attention_qs8_scratch(SIZE_MAX / 2, 8, 2, 0, 0, 0, NULL) == SIZE_MAX, "saturation");
    CHECK(ee_conv_module_qs8_scratch(SIZE_MAX / 4, 8, 3, 1, 0, NULL) == SIZE_MAX, "saturation");
    const ee_view full = {0, 0, 15}, wide = {16, SIZE_MAX, 15};
    CHECK(ee_conformer_layer_qs8_scratch(&full, SIZE_MAX / 4, 256, 8, 2048, 31, NULL) == SIZE_MAX,
          "saturation");
    CHECK(ee_conformer_layer_qs8_scratch(&wide, 16, 256, 8, 2048, 31, NULL) == SIZE_MAX,
          "saturation");
}

int main(void)
{
    check_sizes();
    portable = ee_ops_for(EE_ISA_C)->qs8;
    for (int i = EE_ISA_C; i <= (int)ee_isa_best(); i++) {
        if (ee_ops_for((ee_isa)i) == NULL) {
            continue;
        }
        isa = ee_ops_for((ee_isa)i)->qs8;
        isa_name = ee_isa_name((ee_isa)i);
        CHECK(i == EE_ISA_C || isa->linear != portable->linear, "%s: its own kernels", isa_name);
        check_primitives();
        for (size_t n = 0; n < SIZE_COUNT; n++) {
            check_composites(SIZES[n], 12, 3, 20, 5, VIEWINGS);
            check_composites(5, SIZES[n], 1, 7, 3, VIEWINGS);
        }
        check_composites(0, 12, 3, 20, 5, VIEWINGS);
        check_composites(97, 20, 4, 37, 5, VIEWINGS);
        check_composites(50, 144, 4, 36, 15, VIEWINGS);
        check_composites(271, 20, 4, 37, 5, VIEWINGS);
        for (const viewing *v = VIEWINGS + 1; v < VIEWINGS + VIEWING_COUNT; v++) {
            check_composites(1, 12, 3, 20, 5, v);
            check_composites(17, 12, 3, 20, 5, v);
            check_composites(97, 20, 4, 37, 5, v);
        }
    }
    return check_result("check_qs8_ops");
}
