/* A model from any configuration: what opens is run, with every tensor in memory of exactly its
 * size. The input is words: exits to max_frames, norm_eps, dtype, the view, the architecture, the
 * layers of four exits, mel frames, how to run, what the tensors hold (its bits also say which
 * exits of a Splitformer have a parallel layer, what decoders have, the sizes of LSTMs, and what
 * only models that take samples have); then pairs of which tensor has how many bytes more or
 * fewer. */
#include "ee_decoder.h"
#include "fuzz.h"

enum {
    EXITS, DIM, HEADS, FF, KERNEL, VOCAB, MELS, STEM_KERNEL, STEM_STRIDE, MAX_FRAMES, NORM_EPS,
    DTYPE, CHUNK, LEFT, CONV, POSITIONS, ARCHITECTURE, LAYERS, FRAMES = LAYERS + 4, RUN, VALUES,
    WORDS,
    MAX_TENSORS = 4096,
    WEIGHT_BYTES = 1 << 18, /* of models that are run */
    WORK = 4 << 20          /* products of an utterance */
};

typedef struct {
    ee_tensor tensors[MAX_TENSORS];
    size_t count, bytes;
    int filled; /* whether the tensors have data of their own */
} weights;

static const uint8_t ARCHITECTURES[] = {EE_ARCH_CONFORMER, EE_ARCH_SPLITFORMER, EE_ARCH_ZIPFORMER,
                                        EE_ARCH_CONFORMER_LSTM, EE_ARCH_AED, EE_ARCH_WAV2VEC2,
                                        EE_ARCH_WAVLM};

/* What a model that is only opened has for data: no byte of it is read. */
static const unsigned char NOTHING[64] __attribute__((aligned(64)));

static unsigned char *random_tensor(const ee_tensor_info *info, fuzz_random *random)
{
    unsigned char *const data = fuzz_memory(info->bytes, EE_TENSOR_ALIGNMENT);

    for (size_t i = 0; data != NULL && i + 4 <= info->bytes; i += 4) {
        const float value = (float)(int32_t)fuzz_next(random) * 0x1p-32f;
        uint32_t bits;

        memcpy(&bits, &value, sizeof(bits));
        fuzz_put(data + i, info->kind == EE_TENSOR_INT8 ? fuzz_next(random)
                           : fuzz_below(random, 512) == 0 ? fuzz_float(random) : bits);
    }
    return data;
}

/* The tensors of ee_model_open, MAX_TENSORS at most. */
static void make_weights(weights *w, const ee_config *c, uint32_t values, int filled)
{
    fuzz_random random = {values};
    ee_tensor_info info;

    w->bytes = 0;
    w->filled = filled;
    for (w->count = 0; w->count < MAX_TENSORS && ee_tensor_at(c, w->count, &info) == EE_OK;) {
        unsigned char *const data = filled ? random_tensor(&info, &random) : NULL;

        w->tensors[w->count].data = data != NULL ? data : NOTHING;
        w->tensors[w->count++].bytes = info.bytes;
        w->bytes += info.bytes;
    }
}

static void free_weights(weights *w)
{
    for (size_t i = 0; w->filled && i < w->count; i++) {
        free((void *)(uintptr_t)w->tensors[i].data);
    }
}

/* Items backwards, the workers in turn. */
static void run_backwards(const ee_team *team, ee_task task, void *context, size_t items)
{
    for (size_t item = items; item-- > 0;) {
        task(context, item, item % team->workers);
    }
}

static const ee_ops *some_ops(uint32_t run)
{
    const ee_ops *const ops = ee_ops_for((ee_isa)(run % ((uint32_t)ee_isa_best() + 1)));

    return ops != NULL ? ops : ee_ops_for(EE_ISA_C);
}

/* Products of an utterance, roughly and rather too many. */
static double work_of(const ee_config *c, const weights *w, double frames)
{
    const double rows = (double)ee_encoder_frames(c, (size_t)frames) + 1.0;

    return (rows + frames) * (double)w->bytes + rows * rows * c->dim * (double)w->count;
}

/* Sentences by the decoder of an exit, if it has one; which labels and parents, does not matter. */
static void run_decoder(const ee_model *model, const ee_config *c, const ee_output *out,
                        fuzz_random *random)
{
    enum { WIDTH = 3, LABELS = 5 };
    const size_t most = c->max_tokens < LABELS ? c->max_tokens : LABELS;
    ee_decoder *decoder = NULL;
    const float *log_probs;
    size_t bytes = 0, before = 1;

    if (out->rows == 0 || ee_decoder_size(c, out->rows, most, WIDTH, &bytes) != EE_OK) {
        return;
    }
    void *const arena = fuzz_memory(bytes, EE_MEMORY_ALIGNMENT);
    if (arena != NULL) {
        ee_status status = ee_decoder_open(&decoder, model, out->exit, out->hidden, out->rows, most,
                                           WIDTH, arena, bytes);

        EXPECT(status == EE_OK || status == EE_ERR_NOT_FINITE);
        for (size_t step = 0; status == EE_OK; step++) {
            const size_t count = 1 + fuzz_below(random, WIDTH);
            uint32_t labels[WIDTH], parents[WIDTH];

            for (size_t n = 0; n < count; n++) {
                labels[n] = step == 0 ? c->start_token
                            : fuzz_below(random, 3) == 0 ? c->pad_token
                                                         : fuzz_below(random, c->vocab);
                parents[n] = fuzz_below(random, before);
            }
            status = ee_decoder_step(decoder, labels, parents, count, &log_probs);
            EXPECT(status == (step < most ? EE_OK : EE_DONE));
            before = count;
        }
    }
    free(arena);
}

/* Steps to some exit; the rows of the block. */
static size_t run_block(ee_session *session, const ee_model *model, const ee_config *c,
                        fuzz_random *random, const unsigned char *end, size_t first)
{
    const uint32_t exits = 1 + fuzz_next(random) % c->exits;
    ee_output out = {0};

    while (out.exit < exits && ee_session_step(session) == EE_OK) {
        EXPECT(ee_session_output(session, &out) == EE_OK && out.first == first);
        EXPECT((const unsigned char *)(out.data + out.rows * out.columns) <= end);
        EXPECT((const unsigned char *)(out.hidden + out.rows * c->dim) <= end);
        run_decoder(model, c, &out, random);
    }
    EXPECT(out.exit == exits || out.exit == 0);
    return out.rows;
}

/* The capacity of a session that is fed so many frames at once. */
static size_t capacity_for(const ee_config *c, size_t slice)
{
    size_t waiting = 0;

    while (ee_encoder_frames(c, waiting + 1) < c->chunk) {
        waiting++;
    }
    return waiting + slice;
}

static void run_session(const ee_model *model, const ee_config *c, const uint32_t *words)
{
    const size_t frames = words[FRAMES] % 4096;
    const ee_team team = {1 + words[RUN] / 256 % 3, 1 + words[RUN] / 1024 % 50, run_backwards};
    const ee_team *const used = words[RUN] / 64 % 4 == 0 ? NULL : &team;
    fuzz_random random = {words[VALUES]};
    /* A limited view in slices: what waits for the end of a chunk, and the slice. */
    const size_t slice = c->chunk > 0 ? 1 + words[RUN] / 4096 % 70 : frames;
    const size_t capacity = c->chunk > 0 ? capacity_for(c, slice) : frames;
    ee_session *session = NULL;
    size_t bytes = 0;

    if (ee_arena_size(c, capacity, used, &bytes) != EE_OK) {
        return;
    }
    const size_t count = frames * c->mels;
    void *const arena = fuzz_memory(bytes, EE_MEMORY_ALIGNMENT);
    float *const features = fuzz_memory(count * sizeof(*features), sizeof(void *));
    if (arena != NULL && features != NULL) {
        for (size_t i = 0; i < count; i++) {
            features[i] = (float)(int32_t)fuzz_next(&random) * 0x1p-28f;
        }
        EXPECT(ee_session_open(&session, model, used, arena, bytes, capacity) == EE_OK);
        size_t rows = 0, at = 0;
        do {
            const size_t fed = frames - at < slice ? frames - at : slice;
            const ee_status status =
                ee_session_feed(session, features + at * c->mels, fed, at + fed == frames);

            at += fed;
            EXPECT(status == EE_OK || (status == EE_ERR_TOO_MANY_FRAMES && c->max_frames > 0));
            if (status != EE_OK) {
                break;
            }
            rows += run_block(session, model, c, &random, (unsigned char *)arena + bytes, rows);
        } while (at < frames);
        EXPECT(rows == ee_encoder_frames(c, frames) || c->max_frames > 0);
    }
    free(features);
    free(arena);
}

void fuzz_one(const unsigned char *data, size_t size)
{
    static weights w;
    uint32_t words[WORDS];
    ee_config c = {0};
    ee_model *model = NULL;
    size_t bytes = 0;

    if (size < sizeof(words)) {
        return;
    }
    memcpy(words, data, sizeof(words));
    /* Exits beyond the four of the input are those again. */
    c.exits = words[EXITS];
    for (uint32_t e = 0; e < EE_MAX_EXITS; e++) {
        c.layers_per_exit[e] = words[LAYERS + e % 4];
    }
    c.dim = words[DIM];
    c.heads = words[HEADS];
    c.ff = words[FF];
    c.kernel = words[KERNEL];
    c.vocab = words[VOCAB];
    c.mels = words[MELS];
    c.stem_kernel = words[STEM_KERNEL];
    c.stem_stride = words[STEM_STRIDE];
    c.max_frames = words[MAX_FRAMES];
    c.dtype = words[DTYPE];
    c.chunk = words[CHUNK];
    c.left = words[LEFT];
    c.conv = words[CONV];
    c.positions = words[POSITIONS];
    c.architecture = words[ARCHITECTURE];
    for (uint32_t e = 0; e < EE_MAX_EXITS; e++) {
        c.parallel[e] = words[VALUES] >> e % 32 & 1;
    }
    c.decoder_layers = words[VALUES] % 4;
    c.max_tokens = words[VALUES] / 4 % 8;
    c.start_token = words[VALUES] / 32 % 8;
    c.end_token = words[VALUES] / 256 % 8;
    c.pad_token = words[VALUES] / 2048 % 8;
    c.lstm_layers = words[VALUES] % 16;
    c.lstm_width = words[VALUES] / 16 % 64;
    c.channels = words[VALUES] % 16;
    c.groups = words[VALUES] / 16 % 4;
    for (uint32_t n = 0; n < 3; n++) {
        const uint32_t kernel = words[VALUES] >> (6 + 3 * n) & 7;

        c.conv_kernel[n] = (uint16_t)kernel;
        c.conv_stride[n] = (uint16_t)(kernel > 0 ? 1 + (words[VALUES] >> (15 + n) & 1) : 0);
    }
    c.conv_bias = words[VALUES] >> 18 & 1;
    c.conv_norm = words[VALUES] >> 19 & 1;
    c.norm = words[VALUES] >> 20 & 1;
    c.head_norm[0] = words[VALUES] >> 21 & 1;
    c.buckets = c.architecture == EE_ARCH_WAVLM ? 8 : 0;
    c.max_distance = words[VALUES] >> 22 & 31;
    memcpy(&c.norm_eps, &words[NORM_EPS], sizeof(c.norm_eps));
    if (ee_model_size(&c, &bytes) != EE_OK) {
        EXPECT(ee_model_open(&w, sizeof(w), &c, w.tensors, 0, some_ops(0), &model) != EE_OK);
        return;
    }
    make_weights(&w, &c, words[VALUES], 0);
    if (w.count == MAX_TENSORS) {
        return;
    }
    const int runs = w.bytes <= WEIGHT_BYTES && work_of(&c, &w, words[FRAMES] % 4096) <= WORK;
    if (runs) {
        make_weights(&w, &c, words[VALUES], 1);
    }
    static uint32_t more[MAX_TENSORS];
    int lies = 0;
    memset(more, 0, sizeof(more));
    for (size_t at = sizeof(words); at + 8 <= size; at += 8) {
        more[fuzz_get(data + at) % w.count] += fuzz_get(data + at + 4);
    }
    for (size_t i = 0; i < w.count; i++) {
        w.tensors[i].bytes += more[i];
        lies |= more[i] != 0;
    }
    void *const memory = fuzz_memory(bytes, EE_MEMORY_ALIGNMENT);
    EXPECT(memory != NULL);
    const ee_status status =
        ee_model_open(memory, bytes, &c, w.tensors, w.count, some_ops(words[RUN]), &model);
    EXPECT(status == (lies ? EE_ERR_TENSOR_SIZE : EE_OK));
    EXPECT((status == EE_OK) == (model != NULL));
    if (status == EE_OK && runs) {
        run_session(model, &c, words);
    }
    free(memory);
    free_weights(&w);
}

size_t fuzz_mutate(unsigned char *data, size_t size, size_t capacity, fuzz_random *random)
{
    for (uint32_t i = fuzz_below(random, 5); size >= 4 * WORDS && i > 0; i--) {
        unsigned char *const at = data + 4 * (size_t)fuzz_below(random, WORDS);

        switch (fuzz_below(random, 10)) {
        case 0:
            size = 4 * WORDS;
            break;
        case 1:
            if (size + 8 <= capacity) {
                fuzz_put(data + size, fuzz_next(random));
                fuzz_put(data + size + 4, 16 * fuzz_below(random, 5) - 32);
                size += 8;
            }
            break;
        case 2:
        case 3:
            fuzz_put(at, fuzz_value(random, fuzz_get(at)));
            break;
        case 4:
            fuzz_put(data + 4 * RUN, fuzz_next(random));
            fuzz_put(data + 4 * VALUES, fuzz_next(random));
            break;
        case 5:
            fuzz_put(data + 4 * FRAMES, fuzz_below(random, 300));
            break;
        case 6:
            /* A view that a model may have. */
            fuzz_put(data + 4 * ARCHITECTURE,
                     ARCHITECTURES[fuzz_below(random, sizeof(ARCHITECTURES))]);
            fuzz_put(data + 4 * CHUNK, fuzz_below(random, 9));
            fuzz_put(data + 4 * LEFT, fuzz_get(data + 4 * CHUNK) > 0 ? fuzz_below(random, 20) : 0);
            fuzz_put(data + 4 * CONV, fuzz_get(data + 4 * CHUNK) > 0 ? 1 + fuzz_below(random, 2)
                                                                     : fuzz_below(random, 2));
            fuzz_put(data + 4 * POSITIONS, fuzz_below(random, 2));
            fuzz_put(data + 4 * MAX_FRAMES,
                     fuzz_get(data + 4 * POSITIONS) == EE_POSITIONS_TABLE
                         ? 1 + fuzz_below(random, 100) : 0);
            break;
        default:
            /* Sizes that a model may have. */
            fuzz_put(data + 4 * (size_t)fuzz_below(random, NORM_EPS), 1 + fuzz_below(random, 70));
            if (fuzz_below(random, 4) != 0) {
                fuzz_put(data + 4 * HEADS, 1);
                data[4 * KERNEL] |= 1;
                fuzz_put(data + 4 * EXITS, 1 + fuzz_below(random, 3));
            }
        }
    }
    return size;
}
