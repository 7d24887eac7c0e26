/* Every primitive of every instruction set against portable C, and every composite, at sizes around
 * the tiles: results, nothing written outside or read past the end, in place where allowed. */
#include "check.h"
#include "ee_kernels.h"

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

static void check_linear(size_t rows, size_t in, size_t outs, size_t padding, int has_bias)
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
    isa->linear(out.data, x.data, weight.data, b, rows, in, outs, out_stride, x_stride, w_stride);
    for (size_t t = 0; t < rows; t++) {
        CHECK(error(out.data + t * out_stride, expected.data + t * out_stride, outs) <= 2e-5f,
              "%s linear %zu x %zu -> %zu, row %zu", isa_name, rows, in, outs, t);
        for (size_t o = outs; o < out_stride && t + 1 < rows; o++) {
            CHECK(out.data[t * out_stride + o] == SENTINEL, "%s linear %zu x %zu -> %zu wrote "
                  "between rows", isa_name, rows, in, outs);
        }
    }
    CHECK(sentinels_intact(&out), "%s linear %zu x %zu -> %zu", isa_name, rows, in, outs);
    guarded_free(&x);
    guarded_free(&weight);
    guarded_free(&bias);
    guarded_free(&out);
    guarded_free(&expected);
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
        check_row_op("glu", isa->glu, portable->glu, 3, n, 2 * n, 0);
        check_row_op("softmax", isa->softmax, portable->softmax, 3, n, n, 1);
        check_row_op("log_softmax", isa->log_softmax, portable->log_softmax, 3, n, n, 1);
        check_depthwise_conv(n, 9, 5);
        check_depthwise_conv(20, n, 31);
        check_depthwise_conv(n, 8, 31);
    }
    /* Beyond one block of `in`, with rows enough for a copy of the panel and without. */
    check_linear(13, 513, 10, 0, 1);
    check_linear(11, 1025, 5, 2, 1);
    check_linear(12, 511, 37, 1, 0);
}

/* Scratch of exactly the size asked for, and the composites from it: compared between tables. */
static void check_composites(size_t rows, size_t dim, size_t heads, size_t ff, size_t kernel)
{
    const size_t row = ee_row_stride(dim);
    const size_t matrix = 3 * dim * row + ff * row + dim * ee_row_stride(ff) + kernel * row;
    guarded weights = random_floats(matrix, 0.3f);
    guarded x = random_floats(rows * dim, 1.0f);
    guarded out = guarded_floats(rows * dim);
    guarded expected = guarded_floats(rows * dim);
    const float *const w = weights.data;
    const ee_ops_f32 *const tables[2] = {portable, isa};
    float *const results[2] = {expected.data, out.data};
    ee_conformer_weights_f32 layer;
    const float **const members = (const float **)(void *)&layer;

    for (size_t i = 0; i < sizeof(layer) / sizeof(*members); i++) {
        members[i] = w;
    }
    for (int i = 0; i < 2; i++) {
        guarded s = guarded_floats(ee_feed_forward_f32_scratch(rows, dim, ff));
        ee_feed_forward_f32_c(results[i], x.data, w, w, w, w, w, w, rows, dim, ff, 1e-5f, s.data,
                              tables[i]);
        CHECK(sentinels_intact(&s), "feed_forward wrote before scratch");
        guarded_free(&s);
    }
    expect("feed_forward", &out, &expected, rows, dim);

    for (int i = 0; i < 2; i++) {
        guarded s = guarded_floats(ee_multi_head_attention_f32_scratch(rows, dim, heads));
        ee_multi_head_attention_f32_c(results[i], x.data, w, w, w, w, rows, dim, heads, s.data,
                                      tables[i]);
        CHECK(sentinels_intact(&s), "multi_head_attention wrote before scratch");
        guarded_free(&s);
    }
    expect("multi_head_attention", &out, &expected, rows, dim);

    for (int i = 0; i < 2; i++) {
        guarded s = guarded_floats(ee_conv_module_f32_scratch(rows, dim, kernel));
        ee_conv_module_f32_c(results[i], x.data, w, w, w, w, w, w, w, w, rows, dim, kernel, 1e-5f,
                             s.data, tables[i]);
        CHECK(sentinels_intact(&s), "conv_module wrote before scratch");
        guarded_free(&s);
    }
    expect("conv_module", &out, &expected, rows, dim);

    for (int i = 0; i < 2; i++) {
        guarded s = guarded_floats(ee_conformer_layer_f32_scratch(rows, dim, heads, ff, kernel));
        ee_conformer_layer_f32_c(results[i], x.data, &layer, rows, dim, heads, ff, kernel, 1e-5f,
                                 s.data, tables[i]);
        CHECK(sentinels_intact(&s), "conformer_layer wrote before scratch");
        guarded_free(&s);
    }
    expect("conformer_layer", &out, &expected, rows, dim);

    guarded s = guarded_floats(ee_conformer_layer_f32_scratch(rows, dim, heads, ff, kernel));
    ee_conformer_layer_f32_c(x.data, x.data, &layer, rows, dim, heads, ff, kernel, 1e-5f, s.data,
                             isa);
    expect("conformer_layer in place", &x, &expected, rows, dim);
    guarded_free(&s);

    guarded_free(&weights);
    guarded_free(&x);
    guarded_free(&out);
    guarded_free(&expected);
}

static void check_sizes(void)
{
    CHECK(ee_stem_conv_f32_frames(2, 3, 2) == 0, "too few frames");
    CHECK(ee_stem_conv_f32_frames(3, 3, 2) == 1, "one window");
    CHECK(ee_stem_conv_f32_frames(1001, 3, 2) == 500, "ten seconds");
    CHECK(ee_feed_forward_f32_scratch(10 * EE_BLOCK_FRAMES, 8, 32)
          == (size_t)EE_BLOCK_FRAMES * 40, "scratch of one block");
    CHECK(ee_multi_head_attention_f32_scratch(SIZE_MAX / 2, 8, 2) == SIZE_MAX, "saturation");
    CHECK(ee_conformer_layer_f32_scratch(SIZE_MAX / 4, 256, 8, 2048, 31) == SIZE_MAX, "saturation");
    CHECK(ee_ops_f32_for((ee_isa)99) == NULL, "no such instruction set");
    CHECK(ee_isa_name((ee_isa)99) == NULL, "no such instruction set");
}

int main(void)
{
    check_sizes();
    portable = ee_ops_f32_for(EE_ISA_C);
    for (int i = EE_ISA_C; i <= (int)ee_isa_best(); i++) {
        isa = ee_ops_f32_for((ee_isa)i);
        isa_name = ee_isa_name((ee_isa)i);
        if (isa == NULL) {
            continue;
        }
        check_primitives();
        for (size_t n = 0; n < SIZE_COUNT; n++) {
            check_composites(SIZES[n], 12, 3, 20, 5);
            check_composites(5, SIZES[n], 1, 7, 3);
        }
        check_composites(0, 12, 3, 20, 5);
        check_composites(97, 20, 4, 37, 5);
    }
    return check_result("check_ops");
}
