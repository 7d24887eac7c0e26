/* The products of AMX, compiled a second time with tiles in portable C (emulated_amx.h), so that
 * any CPU with AVX-512 VNNI checks them: the bytes of portable C around the sizes of tiles, blocks
 * and panels; nothing read past the end; no instruction that would raise an exception; tiles
 * released. Where the CPU has AMX, the same of the real ones. */
#include "emulated_amx.h"

#include "check.h"
#include "ee.h"

#ifdef EE_HAVE_AMX

#include <cpuid.h>
#include <pthread.h>
#include <sys/wait.h>

ee_linear_qs8 emulated_linear;
ee_pack_linear_int8 emulated_pack;
#define ee_linear_qs8_amx emulated_linear
#define ee_pack_linear_amx emulated_pack
#include "../../kernels/src/ops/linear/ee_linear_qs8_amx.c"
#undef ee_linear_qs8_amx
#undef ee_pack_linear_amx

typedef struct {
    size_t rows, in, outs, padding;
    int is_extreme; /* sums as far from zero as there are */
} shape;

static int8_t *random_bytes(guarded *g, size_t rows, size_t columns, size_t stride, int is_extreme,
                            int junk)
{
    *g = guarded_floats(rows * stride / sizeof(float));
    int8_t *const bytes = (int8_t *)(void *)g->data;

    for (size_t i = 0; i < rows * stride; i++) {
        const float drawn = random_float() * 127.99f;
        bytes[i] = i % stride >= columns ? (int8_t)(junk ? drawn : 0.0f)
                   : is_extreme ? (int8_t)(i / stride % 2 ? -127 : 127) : (int8_t)drawn;
    }
    return bytes;
}

/* A product and how its weights are packed. */
typedef struct {
    ee_linear_qs8 *linear;
    ee_pack_linear_int8 *pack;
} product;

static void check_linear(const char *name, product of, shape s)
{
    const size_t out_stride = s.outs + s.padding;
    const size_t q_stride = ee_row_stride_qs8(s.in) + 16 * s.padding;
    const size_t weight_stride = ee_row_stride_qs8(s.in) + 32 * s.padding;
    const size_t count = (s.rows - 1) * out_stride + s.outs;
    guarded q_of, weight_of;
    const int8_t *const q = random_bytes(&q_of, s.rows, s.in, q_stride, s.is_extreme, 0);
    const int8_t *const weight = random_bytes(&weight_of, s.outs, s.in, weight_stride, s.is_extreme,
                                              1);
    guarded scale = random_floats(s.rows, 0.1f), weight_scale = random_floats(s.outs, 0.01f);
    guarded bias = random_floats(s.outs, 1.0f);
    const float *const b = s.padding == 1 ? NULL : bias.data;
    guarded out = guarded_floats(count), expected = guarded_floats(count);

    ee_linear_qs8_c(expected.data, q, scale.data, weight, weight_scale.data, b, s.rows, s.in,
                    s.outs, out_stride, q_stride, weight_stride);
    of.linear(out.data, q, scale.data, weight, weight_scale.data, b, s.rows, s.in, s.outs,
              out_stride, q_stride, weight_stride);
    CHECK(memcmp(out.data, expected.data, count * sizeof(float)) == 0 && sentinels_intact(&out),
          "%s: %zu rows, %zu inputs, %zu outputs: other bytes", name, s.rows, s.in, s.outs);

    const size_t panel_outs = (s.outs + BLOCK_OUTS - 1) / BLOCK_OUTS * BLOCK_OUTS;
    guarded packed_of = guarded_floats(panel_outs * ee_packed_stride_qs8(s.in) / sizeof(float));
    guarded again = guarded_floats(count);
    int8_t *const packed = (int8_t *)(void *)packed_of.data;

    of.pack(packed, weight, s.in, s.outs, weight_stride);
    of.linear(again.data, q, scale.data, packed, weight_scale.data, b, s.rows, s.in, s.outs,
              out_stride, q_stride, 0);
    CHECK(memcmp(again.data, expected.data, count * sizeof(float)) == 0
              && sentinels_intact(&again) && sentinels_intact(&packed_of),
          "%s, packed: %zu rows, %zu inputs, %zu outputs: other bytes", name, s.rows, s.in, s.outs);
    guarded_free(&packed_of);
    guarded_free(&again);
    guarded_free(&q_of);
    guarded_free(&weight_of);
    guarded_free(&scale);
    guarded_free(&weight_scale);
    guarded_free(&bias);
    guarded_free(&out);
    guarded_free(&expected);
}

static void check_products(const char *name, product of)
{
    for (size_t rows = 1; rows <= 98; rows++) { /* every height of a block, up to four of them */
        check_linear(name, of, (shape){rows, 96, 20, rows % 3, 0});
    }
    for (size_t in = 1; in <= 272; in += in % 16 == 0 ? 1 : 15) { /* every length of a row */
        check_linear(name, of, (shape){5, in, 17, in % 2, 0});
        check_linear(name, of, (shape){35, in, 33, in % 3, 0});
    }
    for (size_t outs = 1; outs <= 70; outs++) {
        check_linear(name, of, (shape){18, 80, outs, outs % 3, 0});
    }
    for (size_t in = 48; in <= 528; in += 16) { /* panels of four blocks, three, two and one */
        check_linear(name, of, (shape){in % 40 + 1, in, 150 + in / 16, in / 16 % 3, 0});
    }
    for (size_t in = 496; in <= 1600; in += 16) { /* blocks of `in` */
        check_linear(name, of, (shape){in % 70 + 1, in, 40, in / 16 % 3, 0});
    }
    for (size_t rows = 250; rows <= 770; rows += 65) { /* blocks of rows */
        check_linear(name, of, (shape){rows, 530, 34, 0, 0});
    }
    check_linear(name, of, (shape){3, 65536, 17, 0, 1});
    check_linear(name, of, (shape){40, 2048, 33, 2, 1});
}

/* ---- The emulation itself ------------------------------------------------------------------ */

typedef struct {
    uint8_t bytes[64];
} config;

/* Tiles 0 (2 rows of 8 bytes), 1 (2 of 12) and 2 (3 of 8): a product's shapes. */
static config fitting(void)
{
    return (config){{[0] = 1, [16] = 8, [18] = 12, [20] = 8, [48] = 2, [49] = 2, [50] = 3}};
}

static void check_a_product(void)
{
    const config shapes = fitting();
    int8_t a[2][16], b[3][8];
    int32_t sums[2][2] = {{1, 2}, {3, 4}}, expected[2][2];

    for (int i = 0; i < 32; i++) {
        a[i / 16][i % 16] = (int8_t)(i * 37 - 128);
    }
    for (int i = 0; i < 24; i++) {
        b[i / 8][i % 8] = (int8_t)(127 - i * 11);
    }
    for (int m = 0; m < 2; m++) {
        for (int n = 0; n < 2; n++) {
            expected[m][n] = sums[m][n];
            for (int k = 0; k < 12; k++) {
                expected[m][n] += a[m][k] * b[k / 4][4 * n + k % 4];
            }
        }
    }
    _tile_loadconfig(&shapes);
    _tile_loadd(0, sums, sizeof sums[0]);
    _tile_loadd(1, a, sizeof a[0]);
    _tile_loadd(2, b, sizeof b[0]);
    _tile_dpbssd(0, 1, 2);
    _tile_stored(0, sums, sizeof sums[0]);
    CHECK(memcmp(sums, expected, sizeof sums) == 0, "a product");
    _tile_zero(0);
    _tile_stored(0, sums, sizeof sums[0]);
    CHECK(sums[0][0] == 0 && sums[1][1] == 0, "zeros");
    _tile_release();
    CHECK(!emulated_amx.is_configured, "released");
}

/* Does a product with these shapes, in a process of its own; whether that ended in an exception. */
static int is_refused(config shapes, size_t sum, size_t a, size_t b)
{
    int status = 0;
    const pid_t child = fork();

    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL) {
            _exit(2);
        }
        _tile_loadconfig(&shapes);
        _tile_dpbssd(sum, a, b);
        _exit(0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child, "fork");
    CHECK(WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0), "%d", status);
    return WIFSIGNALED(status);
}

static void check_exceptions(void)
{
    /* A byte of the configuration, and what makes it wrong. */
    static const struct {
        size_t at;
        uint8_t value;
        const char *what;
    } WRONG[] = {
        {0, 0, "nothing configured"}, {0, 2, "palette"}, {1, 16, "start row"}, {9, 1, "reserved"},
        {16, 68, "too wide"}, {48, 17, "too high"}, {17, 1, "too wide by its upper byte"},
        {48, 0, "bytes without rows"}, {18, 0, "rows without bytes"}, {34, 4, "a ninth tile"},
        {56, 1, "rows of a ninth tile"}, {16, 6, "half a sum"}, {18, 10, "half a group"},
        {49, 1, "other rows"}, {50, 2, "other groups"}, {20, 12, "other columns"},
    };

    CHECK(!is_refused(fitting(), 0, 1, 2), "shapes that fit");
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        config shapes = fitting();
        shapes.bytes[WRONG[i].at] = WRONG[i].value;
        CHECK(is_refused(shapes, 0, 1, 2), "%s", WRONG[i].what);
    }
    CHECK(is_refused(fitting(), 0, 1, 8), "no such tile");
    CHECK(is_refused(fitting(), 0, 1, 3), "a tile without a shape");
    CHECK(is_refused(fitting(), 0, 1, 1), "a tile twice");
}

/* ---- Threads and state ----------------------------------------------------------------------- */

static int is_left_configured_emulated(void)
{
    return emulated_amx.is_configured;
}

/* Whether this thread has tiles in use: what XGETBV says with 1 of the states 17 and 18. */
static int is_left_configured(void)
{
    unsigned a, b, c, d, upper;

    if (!__get_cpuid_count(0xd, 1, &a, &b, &c, &d) || !(a & 4)) {
        return 0;
    }
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(upper) : "c"(1));
    return (a >> 17 & 3) != 0;
}

enum { ROWS = 50, IN = 144, OUTS = 40, ROUNDS = 20 };

typedef struct {
    ee_linear_qs8 *linear;
    int (*is_left_configured)(void);
    size_t rows;
    const int8_t *q, *weight;
    const float *floats, *expected;
    int is_right;
} work;

static void *run(void *context)
{
    work *const w = (work *)context;

    w->is_right = 1;
    for (int round = 0; round < ROUNDS; round++) {
        float out[ROWS * OUTS];

        w->linear(out, w->q, w->floats, w->weight, w->floats, NULL, w->rows, IN, OUTS, OUTS, IN,
                  IN);
        w->is_right &= memcmp(out, w->expected, w->rows * OUTS * sizeof(float)) == 0
                       && !w->is_left_configured();
    }
    return NULL;
}

/* At the same time, with other shapes of tiles in each thread, and in the child of a fork. */
static void check_threads(const char *name, ee_linear_qs8 *linear, int (*is_left)(void))
{
    enum { THREADS = 4 };
    guarded q_of, weight_of;
    const int8_t *const q = random_bytes(&q_of, ROWS, IN, IN, 0, 0);
    const int8_t *const weight = random_bytes(&weight_of, OUTS, IN, IN, 0, 1);
    guarded floats = random_floats(ROWS, 1.0f), expected = guarded_floats(ROWS * OUTS);
    work works[THREADS];
    pthread_t threads[THREADS];
    int status = 0;

    ee_linear_qs8_c(expected.data, q, floats.data, weight, floats.data, NULL, ROWS, IN, OUTS, OUTS,
                    IN, IN);
    for (size_t i = 0; i < THREADS; i++) {
        works[i] = (work){linear, is_left, ROWS - 13 * i, q, weight, floats.data, expected.data, 0};
        CHECK(pthread_create(&threads[i], NULL, run, &works[i]) == 0, "thread");
    }
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0 && works[i].is_right, "%s: thread %zu", name, i);
    }
    const pid_t child = fork();
    if (child == 0) {
        run(&works[1]);
        _exit(works[1].is_right ? 0 : 3);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status)
          && WEXITSTATUS(status) == 0, "%s: child: %d", name, status);
    guarded_free(&q_of);
    guarded_free(&weight_of);
    guarded_free(&floats);
    guarded_free(&expected);
}

static void check_all(void)
{
    const ee_isa amx = ee_isa_find("amx");

    check_a_product();
    check_exceptions();
    if (ee_isa_find("vnni") != EE_ISA_COUNT) {
        check_products("emulated amx", (product){emulated_linear, emulated_pack});
        check_threads("emulated amx", emulated_linear, is_left_configured_emulated);
    }
    if (amx != EE_ISA_COUNT) {
        const ee_ops_qs8 *const qs8 = ee_ops_for(amx)->qs8;

        check_products("amx", (product){qs8->linear, qs8->pack});
        check_threads("amx", qs8->linear, is_left_configured);
    }
}

#else

static void check_all(void)
{
}

#endif

int main(void)
{
    check_all();
    return check_result("check_amx");
}
