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

static void gelu_isa(float *out, const float *x, size_t rows, size_t dim)
{
    isa->gelu(out, x, rows * dim);
}

static void gelu_portable(float *out, const float *x, size_t rows, size_t dim)
{
    portable->gelu(out, x, rows * dim);
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

static void check_depthwise_conv(size_t rows, size_t dim, size_t kernel, size_t ahead)
{
    const size_t stride = ee_row_stride(dim);
    const size_t behind = kernel - 1 - ahead;
    guarded x = random_floats(rows * dim, 1.0f);
    guarded weight = random_floats((kernel - 1) * stride + dim, 1.0f);
    guarded bias = random_floats(dim, 1.0f);
    guarded out = guarded_floats(rows * dim);
    guarded expected = guarded_floats(rows * dim);

    portable->depthwise_conv(expected.data, x.data, weight.data, bias.data, rows, 0, 0, dim, kernel,
                             ahead, stride);
    isa->depthwise_conv(out.data, x.data, weight.data, bias.data, rows, 0, 0, dim, kernel, ahead,
                        stride);
    expect("depthwise_conv", &out, &expected, rows, dim);

    /* In ranges with their neighbours, backwards: the same bytes, and none outside the range. */
    guarded ranges = guarded_floats(rows * dim);
    for (size_t end = rows; end > 0;) {
        const size_t count = end < 11 ? end : 11;
        const size_t before = end - count < behind ? end - count : behind;
        const size_t after = rows - end < ahead ? rows - end : ahead;
        isa->depthwise_conv(ranges.data + (end - count) * dim,
                            x.data + (end - count - before) * dim, weight.data, bias.data, count,
                            before, after, dim, kernel, ahead, stride);
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

/* What the composites are asked to see: a view, and how many frames are past. */
typedef struct {
    size_t chunk, left, past;
    int is_causal;
} viewing;

static const viewing VIEWINGS[] = {{0, 0, 0, 0}, {4, 3, 5, 0}, {7, 20, 6, 1}, {48, 1, 1, 0}};
enum { VIEWING_COUNT = sizeof(VIEWINGS) / sizeof(VIEWINGS[0]) };

static ee_view view_of(const viewing *v, size_t kernel)
{
    const ee_view view = {v->chunk, v->left, v->is_causal ? 0 : kernel / 2};

    return view;
}

/* The past of a layer, in memory for exactly what it may keep. */
typedef struct {
    guarded kv, gated;
    ee_layer_past rows;
} layer_past;

static layer_past take_past(const viewing *v, const float *from, size_t dim, size_t kernel)
{
    const size_t behind = kernel - 1 - view_of(v, kernel).ahead;
    layer_past past = {guarded_floats(v->left * 2 * dim), guarded_floats(behind * dim),
                       {NULL, NULL, v->past < v->left ? v->past : v->left,
                        v->past < behind ? v->past : behind}};

    past.rows.kv = past.kv.data;
    past.rows.gated = past.gated.data;
    memcpy(past.kv.data, from, past.rows.kv_rows * 2 * dim * sizeof(float));
    memcpy(past.gated.data, from, past.rows.gated_rows * dim * sizeof(float));
    return past;
}

static void check_past(layer_past *past, const viewing *v, size_t rows, size_t kernel)
{
    const size_t behind = kernel - 1 - view_of(v, kernel).ahead;
    const size_t seen = v->past + rows;

    CHECK(sentinels_intact(&past->kv) && sentinels_intact(&past->gated), "wrote before the past");
    CHECK(v->chunk == 0 || (past->rows.kv_rows == (seen < v->left ? seen : v->left)
                            && past->rows.gated_rows == (seen < behind ? seen : behind)),
          "%zu and %zu rows kept", past->rows.kv_rows, past->rows.gated_rows);
    guarded_free(&past->kv);
    guarded_free(&past->gated);
}

#endif
