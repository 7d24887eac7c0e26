/* check_rows.h: checks of the primitives that both modes have with one prototype. The file that
 * includes it has defined `isa` and `portable`, tables of its mode, `expect`, which judges by its
 * mode's measure, and ROW_RANGE, how large the inputs of row ops are. */
#ifndef CHECK_ROWS_H
#define CHECK_ROWS_H

typedef void (*row_op)(float *out, const float *x, size_t rows, size_t dim);

static void check_row_op(const char *name, row_op actual, row_op reference, size_t rows, size_t dim,
                         size_t in_dim, int in_place)
{
    guarded x = random_floats(rows * in_dim, ROW_RANGE);
    guarded out = guarded_floats(rows * dim);
    guarded expected = guarded_floats(rows * dim);

    reference(expected.data, x.data, rows, dim);
    actual(out.data, x.data, rows, dim);
    expect(name, &out, &expected, rows, dim);
    if (in_place) {
        actual(x.data, x.data, rows, dim);
        expect(name, &x, &expected, rows, dim);
    }
    guarded_free(&x);
    guarded_free(&out);
    guarded_free(&expected);
}

static void silu_isa(float *out, const float *x, size_t rows, size_t dim)
{
    isa->silu(out, x, rows * dim);
}

static void silu_portable(float *out, const float *x, size_t rows, size_t dim)
{
    portable->silu(out, x, rows * dim);
}

static void check_layer_norm(size_t rows, size_t dim)
{
    guarded x = random_floats(rows * dim, 3.0f);
    guarded weight = random_floats(dim, 1.0f);
    guarded bias = random_floats(dim, 1.0f);
    guarded out = guarded_floats(rows * dim);
    guarded expected = guarded_floats(rows * dim);

    portable->layer_norm(expected.data, x.data, weight.data, bias.data, rows, dim, 1e-5f);
    isa->layer_norm(out.data, x.data, weight.data, bias.data, rows, dim, 1e-5f);
    expect("layer_norm", &out, &expected, rows, dim);
    isa->layer_norm(x.data, x.data, weight.data, bias.data, rows, dim, 1e-5f);
    expect("layer_norm in place", &x, &expected, rows, dim);
    guarded_free(&x);
    guarded_free(&weight);
    guarded_free(&bias);
    guarded_free(&out);
    guarded_free(&expected);
}

static void check_depthwise_conv(size_t rows, size_t dim, size_t kernel)
{
    const size_t stride = ee_row_stride(dim);
    guarded x = random_floats(rows * dim, 1.0f);
    guarded weight = random_floats((kernel - 1) * stride + dim, 1.0f);
    guarded bias = random_floats(dim, 1.0f);
    guarded out = guarded_floats(rows * dim);
    guarded expected = guarded_floats(rows * dim);

    portable->depthwise_conv(expected.data, x.data, weight.data, bias.data, rows, 0, rows, dim,
                             kernel, stride);
    isa->depthwise_conv(out.data, x.data, weight.data, bias.data, rows, 0, rows, dim, kernel,
                        stride);
    expect("depthwise_conv", &out, &expected, rows, dim);

    /* In ranges, backwards: the same bytes, and none outside the range. */
    guarded ranges = guarded_floats(rows * dim);
    for (size_t end = rows; end > 0;) {
        const size_t count = end < 11 ? end : 11;
        isa->depthwise_conv(ranges.data, x.data, weight.data, bias.data, rows, end - count, count,
                            dim, kernel, stride);
        end -= count;
        CHECK(end == 0 || ranges.data[end * dim - 1] == SENTINEL, "%s depthwise_conv (%zu, %zu) "
              "wrote before frame %zu", isa_name, rows, dim, end);
    }
    CHECK(memcmp(ranges.data, out.data, rows * dim * sizeof(float)) == 0,
          "%s depthwise_conv (%zu, %zu) in ranges: other bytes", isa_name, rows, dim);
    CHECK(sentinels_intact(&ranges), "%s depthwise_conv in ranges", isa_name);
    guarded_free(&ranges);
    guarded_free(&x);
    guarded_free(&weight);
    guarded_free(&bias);
    guarded_free(&out);
    guarded_free(&expected);
}

#endif
