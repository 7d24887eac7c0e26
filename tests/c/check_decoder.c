/* The attention decoder: what it refuses, that its memory plan is exact, and that its instruction
 * sets agree, in int8 mode to the byte. tests/test_aed.py compares it with NumPy. */
#include "check_model.h"
#include "ee_decoder.h"

enum { ROWS = 53, LABELS = 9, WIDTH = 4, DIM = 24, VOCAB = 11 };

/* Labels and parents of the steps; 7 pads. */
static const uint32_t COUNTS[LABELS] = {1, 3, 4, 4, 2, 1, 4, 3, 4};
static const uint32_t SAID[LABELS][WIDTH] = {{1}, {3, 7, 4}, {5, 5, 7, 2}, {0, 1, 9, 10}, {7, 7},
                                             {8}, {3, 4, 5, 6}, {1, 1, 1}, {2, 7, 6, 3}};
static const uint32_t PARENTS[LABELS][WIDTH] = {{0}, {0, 0, 0}, {2, 0, 0, 1}, {3, 3, 3, 3}, {1, 0},
                                                {1}, {0, 0, 0, 0}, {3, 1, 2}, {0, 1, 2, 0}};
static const uint32_t INT8_CRC = 0xcd2593d2u; /* the same bytes on every target */

static const ee_config TINY = {
    .architecture = EE_ARCH_AED, .exits = 2, .layers_per_exit = {1, 1}, .dim = DIM, .heads = 4,
    .ff = 37, .kernel = 5, .vocab = VOCAB, .mels = 6, .stem_kernel = 3, .stem_stride = 2,
    .max_frames = 60, .norm_eps = 1e-5f, .decoder_layers = 2, .max_tokens = LABELS + 1,
    .start_token = 1, .end_token = 2, .pad_token = 7,
};

static ee_decoder *open_decoder(const ee_model *model, const float *hidden, void *arena,
                                size_t bytes)
{
    ee_decoder *decoder = NULL;

    CHECK(ee_decoder_open(&decoder, model, 2, hidden, ROWS, LABELS, WIDTH, arena, bytes) == EE_OK,
          "opening a decoder");
    if (decoder == NULL) {
        exit(check_result("check_decoder"));
    }
    return decoder;
}

static size_t arena_size(void)
{
    size_t bytes = 0;

    CHECK(ee_decoder_size(&config, ROWS, LABELS, WIDTH, &bytes) == EE_OK, "size");
    return bytes;
}

/* All steps into `found` (LABELS, WIDTH, VOCAB), in an arena that ends where memory does. */
static void run(float *found, const float *hidden)
{
    const size_t bytes = arena_size();
    guarded arena = guarded_floats(bytes / sizeof(float));
    ee_model *const model = open_model();
    ee_decoder *const decoder = open_decoder(model, hidden, arena.data, bytes);
    const float *log_probs;

    memset(found, 0, LABELS * WIDTH * VOCAB * sizeof(float));
    for (size_t step = 0; step < LABELS; step++) {
        CHECK(ee_decoder_step(decoder, SAID[step], PARENTS[step], COUNTS[step], &log_probs)
              == EE_OK, "step %zu", step);
        memcpy(found + step * WIDTH * VOCAB, log_probs, COUNTS[step] * VOCAB * sizeof(float));
    }
    CHECK(ee_decoder_step(decoder, SAID[0], PARENTS[0], 1, &log_probs) == EE_DONE, "after the last");
    CHECK(sentinels_intact(&arena), "wrote before its arena");
    guarded_free(&arena);
    free(model);
}

static void check_sets(uint32_t dtype, const float *hidden)
{
    static float expected[LABELS * WIDTH * VOCAB], found[LABELS * WIDTH * VOCAB];
    ee_config made = TINY;

    made.dtype = dtype;
    ops = ee_ops_for(EE_ISA_C);
    free_tensors();
    make_model(&made);
    run(expected, hidden);
    if (dtype == EE_DTYPE_QS8) {
        const uint32_t crc = ee_crc32_c(0, expected, sizeof(expected));
        CHECK(crc == INT8_CRC, "other bytes than elsewhere: %08x", (unsigned)crc);
    }
    for (int isa = 0; isa <= (int)ee_isa_best(); isa++) {
        ops = ee_ops_for((ee_isa)isa);
        if (ops == NULL) {
            continue;
        }
        run(found, hidden);
        for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++) {
            const int same = dtype == EE_DTYPE_QS8 ? memcmp(&found[i], &expected[i], 4) == 0
                                                   : fabsf(found[i] - expected[i]) < 1e-4f;
            CHECK(same, "%s: value %zu", ee_isa_name((ee_isa)isa), i);
        }
    }
    ops = ee_ops_for(EE_ISA_C);
}

static void check_refusals(float *hidden)
{
    const size_t bytes = arena_size();
    char *const arena = aligned_memory(bytes);
    ee_model *const model = open_model();
    const float *log_probs;
    const uint32_t label = 1, none = VOCAB, pad = 7, parent = 0, stranger = 1;
    ee_decoder *decoder;
    size_t size;

    CHECK(ee_decoder_size(NULL, ROWS, LABELS, WIDTH, &size) == EE_ERR_ARGUMENT, "no config");
    CHECK(ee_decoder_size(&config, ROWS, LABELS, WIDTH, NULL) == EE_ERR_ARGUMENT, "no result");
    CHECK(ee_decoder_size(&config, 0, LABELS, WIDTH, &size) == EE_ERR_RANGE, "no rows");
    CHECK(ee_decoder_size(&config, ROWS, 0, WIDTH, &size) == EE_ERR_RANGE, "no labels");
    CHECK(ee_decoder_size(&config, ROWS, LABELS + 2, WIDTH, &size) == EE_ERR_RANGE, "positions");
    CHECK(ee_decoder_size(&config, ROWS, LABELS, 0, &size) == EE_ERR_RANGE, "no hypotheses");
    CHECK(ee_decoder_size(&config, ROWS, LABELS, EE_MAX_HYPOTHESES + 1, &size) == EE_ERR_RANGE,
          "too many");
    CHECK(ee_decoder_size(&config, SIZE_MAX / 8, LABELS, WIDTH, &size) == EE_ERR_TOO_LARGE, "size");
    ee_config plain = config;
    plain.architecture = EE_ARCH_CONFORMER;
    CHECK(ee_decoder_size(&plain, ROWS, LABELS, WIDTH, &size) == EE_ERR_CONFIG, "no decoder");

#define OPEN(decoder, model, exit, hidden, arena, bytes) \
    ee_decoder_open(decoder, model, exit, hidden, ROWS, LABELS, WIDTH, arena, bytes)
    CHECK(OPEN(NULL, model, 1, hidden, arena, bytes) == EE_ERR_ARGUMENT, "no result");
    CHECK(OPEN(&decoder, NULL, 1, hidden, arena, bytes) == EE_ERR_ARGUMENT, "no model");
    CHECK(OPEN(&decoder, model, 1, NULL, arena, bytes) == EE_ERR_ARGUMENT, "no rows");
    CHECK(OPEN(&decoder, model, 1, hidden, NULL, bytes) == EE_ERR_ARGUMENT, "no arena");
    CHECK(OPEN(&decoder, model, 0, hidden, arena, bytes) == EE_ERR_RANGE, "exit 0");
    CHECK(OPEN(&decoder, model, 3, hidden, arena, bytes) == EE_ERR_RANGE, "exit 3");
    CHECK(OPEN(&decoder, model, 1, hidden, arena + 1, bytes) == EE_ERR_ALIGNMENT, "alignment");
    CHECK(OPEN(&decoder, model, 1, hidden, arena, bytes - 1) == EE_ERR_ARENA_TOO_SMALL, "small");
    const float kept = hidden[ROWS * DIM - 1];
    hidden[ROWS * DIM - 1] = NAN;
    CHECK(OPEN(&decoder, model, 1, hidden, arena, bytes) == EE_ERR_NOT_FINITE, "NaN");
    CHECK(decoder == NULL, "an error leaves a decoder");
    hidden[ROWS * DIM - 1] = kept;
#undef OPEN

    decoder = open_decoder(model, hidden, arena, bytes);
    CHECK(ee_decoder_step(NULL, &label, &parent, 1, &log_probs) == EE_ERR_ARGUMENT, "no decoder");
    CHECK(ee_decoder_step(decoder, NULL, &parent, 1, &log_probs) == EE_ERR_ARGUMENT, "no labels");
    CHECK(ee_decoder_step(decoder, &label, NULL, 1, &log_probs) == EE_ERR_ARGUMENT, "no parents");
    CHECK(ee_decoder_step(decoder, &label, &parent, 1, NULL) == EE_ERR_ARGUMENT, "no result");
    CHECK(ee_decoder_step(decoder, &label, &parent, 0, &log_probs) == EE_ERR_RANGE, "none");
    CHECK(ee_decoder_step(decoder, SAID[2], PARENTS[0], WIDTH + 1, &log_probs) == EE_ERR_RANGE,
          "too many");
    CHECK(ee_decoder_step(decoder, &none, &parent, 1, &log_probs) == EE_ERR_RANGE, "label");
    CHECK(ee_decoder_step(decoder, &pad, &parent, 1, &log_probs) == EE_ERR_RANGE, "pads first");
    CHECK(ee_decoder_step(decoder, &label, &stranger, 1, &log_probs) == EE_ERR_RANGE, "parent");
    CHECK(ee_decoder_step(decoder, &label, &parent, 1, &log_probs) == EE_OK, "after refusals");
    free(model);
    free(arena);
}

static void check_config(void)
{
    const size_t offsets[] = {offsetof(ee_config, decoder_layers), offsetof(ee_config, max_tokens),
                              offsetof(ee_config, start_token), offsetof(ee_config, end_token),
                              offsetof(ee_config, pad_token)};
    const uint32_t wrong[][2] = {{0, EE_MAX_LAYERS_PER_EXIT + 1}, {0, EE_MAX_SIZE + 1}, {VOCAB, 2},
                                 {VOCAB, 7}, {UINT32_MAX, 1}};

    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        for (size_t n = 0; n < 2; n++) {
            ee_config changed = TINY;
            size_t bytes;

            memcpy((char *)&changed + offsets[i], &wrong[i][n], sizeof(uint32_t));
            CHECK(ee_model_size(&changed, &bytes) == EE_ERR_CONFIG, "field %zu", i);
        }
    }
}

int main(void)
{
    guarded hidden = random_floats(ROWS * DIM, 1.0f);

    check_config();
    check_sets(EE_DTYPE_QS8, hidden.data);
    check_sets(EE_DTYPE_F32, hidden.data);
    check_refusals(hidden.data);
    guarded_free(&hidden);
    return check_result("check_decoder");
}
