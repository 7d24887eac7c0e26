/* Streams: what is refused, the arena to the byte, how much an utterance may hold, and that nothing
 * depends on how long a stream has listened. tests/test_stream_native.py compares them with Python. */
#include "../../kernels/src/stream/ee_stream_parts.h"
#include "check.h"
#include "ee_stream.h"

enum {
    MELS = 3, N_FFT = 16, WIN = 12, HOP = 10, VOCAB = 6, MAX_TENSORS = 200, MAX_EVENTS = 400,
    SAMPLES = 12000, TEXT = 24
};

static const ee_config sizes = {
    .architecture = EE_ARCH_CONFORMER, .exits = 3, .layers_per_exit = {1, 1, 1}, .dim = 8,
    .heads = 2, .ff = 9, .kernel = 3, .vocab = VOCAB, .mels = MELS, .stem_kernel = 3,
    .stem_stride = 2, .max_frames = 40, .positions = EE_POSITIONS_TABLE, .norm_eps = 1e-5f,
    .dtype = EE_DTYPE_QS8,
};
static float window[WIN], sines[N_FFT], mel_weights[9];
static const uint16_t mel_first[MELS] = {0, 2, 5}, mel_count[MELS] = {3, 3, 3};
static const ee_frontend frontend = {
    .kind = EE_FRONTEND_LOGMEL, .mels = MELS, .n_fft = N_FFT, .win_length = WIN, .hop_length = HOP,
    .pad = 20, .log_floor = 1e-6f, .window = window, .sines = sines, .mel_first = mel_first,
    .mel_count = mel_count, .mel_weights = mel_weights,
};
/* Nothing, " a", "b", " c d", " ", "e f" */
static const uint32_t ends[VOCAB] = {0, 2, 3, 7, 8, 11};
static const char letters[] = " ab c d e f";
static const ee_labels labels = {VOCAB, ends, letters};
static float samples[SAMPLES];

/* The next random number of -1..1. */
static float draw(void)
{
    static uint32_t state = 5;

    state = state * 1664525u + 1013904223u;
    return (float)(int32_t)state * 0x1p-31f;
}

static void *aligned_memory(size_t bytes)
{
    void *memory = NULL;

    if (posix_memalign(&memory, EE_MEMORY_ALIGNMENT, bytes + 1) != 0) {
        exit(2);
    }
    return memory;
}

static const ee_model *open_model(const ee_config *config, ee_tensor *tensors)
{
    ee_tensor_info info;
    ee_model *model = NULL;
    size_t count, bytes = 0;

    for (count = 0; ee_tensor_at(config, count, &info) == EE_OK; count++) {
        unsigned char *const data = aligned_memory(info.bytes);
        const int is_norm = strstr(info.name, "norm.weight") != NULL;

        for (size_t i = 0; i < info.bytes; i++) {
            data[i] = (unsigned char)(int8_t)(draw() * 127.0f);
        }
        for (size_t i = 0; info.kind != EE_TENSOR_INT8 && i < info.bytes; i += sizeof(float)) {
            const float value = info.kind == EE_TENSOR_SCALES ? 0.003f + 0.0029f * draw()
                                                              : (float)is_norm + 0.3f * draw();
            memcpy(data + i, &value, sizeof(value));
        }
        tensors[count].data = data;
        tensors[count].bytes = info.bytes;
    }
    CHECK(ee_model_size(config, &bytes) == EE_OK, "size of a model");
    CHECK(ee_model_open(aligned_memory(bytes), bytes, config, tensors, count,
                        ee_ops_for(ee_isa_best()), &model) == EE_OK, "opening a model");
    return model;
}

static void make_signal(void)
{
    for (int i = 0; i < N_FFT; i++) {
        sines[i] = (float)sin(2.0 * 3.14159265358979 * i / N_FFT);
        window[i < WIN ? i : 0] = 1.0f;
    }
    for (size_t i = 0; i < sizeof(mel_weights) / sizeof(*mel_weights); i++) {
        mel_weights[i] = 0.5f;
    }
    /* Noise that comes and goes, and now and then silence. */
    for (int i = 0; i < SAMPLES; i++) {
        const double size = sin(i * 0.002) * sin(i * 0.002) * (i / 1500 % 3 != 2);
        samples[i] = (float)size * draw();
    }
}

/* What a stream has said. */
typedef struct {
    struct {
        char text[TEXT];
        uint32_t final, endpoint, exit;
        int64_t start, end;
        float confidence;
    } events[MAX_EVENTS];
    size_t count, rows, longest;
} heard;

static void note(void *context, const ee_stream_event *event)
{
    heard *const h = context;

    CHECK(strlen(event->text) == event->bytes, "%s", event->text);
    h->longest = event->count > h->longest ? event->count : h->longest;
    if (h->count < MAX_EVENTS) {
        memset(&h->events[h->count], 0, sizeof(h->events[0]));
        strncpy(h->events[h->count].text, event->text, TEXT - 1);
        h->events[h->count].final = event->final;
        h->events[h->count].endpoint = event->endpoint;
        h->events[h->count].exit = event->exit;
        h->events[h->count].start = event->start;
        h->events[h->count].end = event->end;
        h->events[h->count].confidence = event->confidence;
    }
    h->count++;
}

static void count_rows(void *context, const ee_output *rows)
{
    ((heard *)context)->rows += rows->rows;
}

static ee_stream_config usual(const ee_model *model, heard *h)
{
    const ee_stream_config config = {
        .model = model, .frontend = &frontend, .labels = &labels, .left = 7, .hop = 4, .ahead = 3,
        .before = 9, .after = 4, .longest = 30, .policy = {EE_POLICY_FIXED, 2, 0.0f},
        .heard = note, .rows = count_rows, .context = h,
    };

    return config;
}

/* In memory that ends where an unreadable page begins. */
static ee_stream *opened(const ee_stream_config *config, guarded *arena)
{
    ee_stream *stream = NULL;
    size_t bytes = 0;

    CHECK(ee_stream_size(config, &bytes) == EE_OK && bytes % EE_MEMORY_ALIGNMENT == 0, "size");
    *arena = guarded_floats(bytes / sizeof(float));
    CHECK(ee_stream_open(&stream, config, arena->data, bytes - 1) == EE_ERR_ARENA_TOO_SMALL
              && stream == NULL, "a byte less");
    CHECK(ee_stream_open(&stream, config, arena->data, bytes) == EE_OK, "open");
    return stream;
}

static void close_stream(guarded *arena)
{
    CHECK(sentinels_intact(arena), "before the arena");
    guarded_free(arena);
}

/* So many samples, again and again, `slice` at a time. */
static void feed(ee_stream *stream, size_t count, size_t slice)
{
    for (size_t at = 0; at < count;) {
        const size_t from = at % SAMPLES;
        size_t some = slice < count - at ? slice : count - at;

        some = some < SAMPLES - from ? some : SAMPLES - from;
        CHECK(ee_stream_feed_f32(stream, samples + from, some) == EE_OK, "feed");
        at += some;
    }
}

static void check_refused(const ee_model *model)
{
    heard h = {0};
    const ee_stream_config right = usual(model, &h);
    const float odd[] = {NAN, INFINITY, -INFINITY, 0x1.000002p20f};
    guarded arena;
    size_t bytes = 0;

#define REFUSED(status, ...)                                                                       \
    do {                                                                                           \
        ee_stream_config wrong = right;                                                            \
        __VA_ARGS__;                                                                               \
        CHECK(ee_stream_size(&wrong, &bytes) == (status), "%s", #__VA_ARGS__);                     \
    } while (0)
    REFUSED(EE_ERR_ARGUMENT, wrong.model = NULL);
    REFUSED(EE_ERR_ARGUMENT, wrong.frontend = NULL);
    REFUSED(EE_ERR_ARGUMENT, wrong.labels = NULL);
    REFUSED(EE_ERR_CONFIG, wrong.blank = VOCAB);
    REFUSED(EE_ERR_CONFIG, wrong.hop = 0);
    REFUSED(EE_ERR_CONFIG, wrong.hop = EE_STREAM_MAX_ROWS + 1);
    REFUSED(EE_ERR_CONFIG, wrong.left = UINT32_MAX);
    REFUSED(EE_ERR_CONFIG, wrong.ahead = UINT32_MAX);
    REFUSED(EE_ERR_CONFIG, wrong.after = 0);
    REFUSED(EE_ERR_CONFIG, wrong.longest = 0);
    REFUSED(EE_ERR_CONFIG, wrong.before = EE_STREAM_MAX_ROWS + 1);
    REFUSED(EE_ERR_TOO_MANY_FRAMES, wrong.left = 34);
    REFUSED(EE_OK, wrong.left = 33);
    const ee_labels fewer = {VOCAB - 1, ends, letters}, none = {VOCAB, NULL, letters};
    const uint32_t falling[VOCAB] = {0, 2, 1, 7, 8, 11};
    const ee_labels odd_labels = {VOCAB, falling, letters};
    REFUSED(EE_ERR_CONFIG, wrong.labels = &fewer);
    REFUSED(EE_ERR_ARGUMENT, wrong.labels = &none);
    REFUSED(EE_ERR_CONFIG, wrong.labels = &odd_labels);
    ee_frontend other = frontend;
    other.mels = MELS - 1;
    REFUSED(EE_ERR_CONFIG, wrong.frontend = &other);
    CHECK(ee_stream_size(NULL, &bytes) == EE_ERR_ARGUMENT, "no configuration");
    CHECK(ee_stream_size(&right, NULL) == EE_ERR_ARGUMENT, "no result");
    CHECK(ee_stream_open(NULL, &right, samples, 0) == EE_ERR_ARGUMENT, "no result");

    ee_stream *stream = opened(&right, &arena);
    CHECK(ee_stream_open(&stream, &right, arena.data + 1, SIZE_MAX) == EE_ERR_ALIGNMENT
              && stream == NULL, "alignment");
    CHECK(ee_stream_open(&stream, &right, NULL, SIZE_MAX) == EE_ERR_ARGUMENT, "no arena");
    CHECK(ee_stream_open(&stream, &right, arena.data, SIZE_MAX) == EE_OK, "again");
    CHECK(ee_stream_feed_f32(NULL, samples, 1) == EE_ERR_ARGUMENT, "no stream");
    CHECK(ee_stream_feed_s16(NULL, NULL, 0) == EE_ERR_ARGUMENT, "no stream");
    CHECK(ee_stream_finish(NULL) == EE_ERR_ARGUMENT, "no stream");
    CHECK(ee_stream_feed_s16(stream, NULL, 1) == EE_ERR_ARGUMENT, "no samples");
    CHECK(ee_stream_feed_f32(stream, NULL, 0) == EE_OK, "none, of nothing");
    feed(stream, 500, 500);
    for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
        CHECK(ee_stream_feed_f32(stream, odd, i + 1) == EE_ERR_NOT_FINITE, "%g", (double)odd[i]);
        CHECK(ee_stream_feed_f32(stream, odd + i, 1) == EE_ERR_NOT_FINITE, "%g", (double)odd[i]);
    }
    /* All of that changed nothing. */
    CHECK(stream->samples == 500, "samples");
    CHECK(ee_stream_finish(stream) == EE_OK, "finish");
    CHECK(ee_stream_finish(stream) == EE_ERR_ENDED, "twice");
    CHECK(ee_stream_feed_f32(stream, samples, 1) == EE_ERR_ENDED, "after the end");
    close_stream(&arena);

    stream = opened(&right, &arena);
    const size_t before = h.count;
    CHECK(ee_stream_finish(stream) == EE_OK && h.count == before, "nothing at all");
    close_stream(&arena);
}

static int same(const heard *a, const heard *b, int64_t later)
{
    if (a->count != b->count || a->rows != b->rows) {
        return 0;
    }
    for (size_t i = 0; i < a->count && i < MAX_EVENTS; i++) {
        if (strcmp(a->events[i].text, b->events[i].text) != 0
            || a->events[i].final != b->events[i].final
            || a->events[i].endpoint != b->events[i].endpoint
            || a->events[i].exit != b->events[i].exit
            || a->events[i].confidence != b->events[i].confidence
            || a->events[i].start + later != b->events[i].start
            || a->events[i].end + later != b->events[i].end) {
            return 0;
        }
    }
    return 1;
}

/* As if the stream had listened for so many rows of silence. */
static void listen_long(ee_stream *stream, int64_t rows)
{
    ee_signal *const signal = &stream->signal;

    memset(signal->ring, 0, signal->ring_values * sizeof(float));
    signal->values = rows * (int64_t)signal->span;
    signal->rows = signal->stemmed = rows;
    stream->hearing.block = stream->hearing.begin = rows;
    stream->hearing.last_label += rows;
    stream->speech.row = stream->speech.begin = rows;
    stream->speech.last_label += rows;
    stream->speech.latest = rows * (int64_t)signal->span;
}

/* The same events whether a stream is young or old, and however it is fed. */
static void check_age(const ee_model *model)
{
    static heard young, old;
    const int64_t rows[] = {64, ((int64_t)1 << 31) - 64, ((int64_t)1 << 32) - 128,
                            (int64_t)1 << 40};
    ee_stream_config config = usual(model, &young);
    guarded arena;
    memset(&young, 0, sizeof(young));
    ee_stream *stream = opened(&config, &arena);
    const int64_t span = (int64_t)stream->signal.span;

    feed(stream, SAMPLES, SAMPLES);
    CHECK(ee_stream_finish(stream) == EE_OK, "finish");
    CHECK(young.count > 50 && young.rows > 200, "%zu events", young.count);
    close_stream(&arena);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        memset(&old, 0, sizeof(old));
        config.context = &old;
        stream = opened(&config, &arena);
        listen_long(stream, rows[i]);
        stream->samples = 1; /* the zeros at the beginning: */
        for (uint32_t zero = 0; zero < frontend.pad; zero++) {
            CHECK(ee_stream_feed_f32(stream, (const float[]){0.0f}, 1) == EE_OK, "zero");
        }
        stream->samples = rows[i] * span;
        feed(stream, SAMPLES, 7);
        CHECK(ee_stream_finish(stream) == EE_OK, "finish");
        CHECK(same(&young, &old, rows[i] * span), "after %lld rows", (long long)rows[i]);
        close_stream(&arena);
    }
}

/* The same sound again and again: it is heard each time, every row once, and nothing around the
 * arena is touched. */
static void check_rounds(const ee_model *model)
{
    static heard h;
    const ee_stream_config config = usual(model, &h);
    guarded arena;
    ee_stream *const stream = opened(&config, &arena);

    memset(&h, 0, sizeof(h));
    for (int round = 1; round <= 40; round++) {
        const size_t before = h.count;

        feed(stream, SAMPLES, (size_t)round * 37);
        CHECK(h.count > before + 20, "round %d: %zu events", round, h.count - before);
        CHECK((int64_t)h.rows == stream->hearing.block, "%zu rows", h.rows);
        CHECK(stream->signal.rows - stream->hearing.block <= 12, "rows that wait");
    }
    close_stream(&arena);
}

/* Log-probabilities as they come from nowhere: utterances may hold as much as they like. */
static void check_long_utterances(const ee_model *model)
{
    static heard h;
    ee_stream_config config = usual(model, &h);
    float rows[24 * VOCAB];
    guarded arena;

    for (int longest = 1; longest < 40; longest += 6) {
        config.longest = (uint32_t)longest;
        config.after = 50;
        ee_stream *const stream = opened(&config, &arena);
        const ee_speech *const p = &stream->speech;
        const size_t block = ee_block_rows(&config);

        h.longest = 0;
        for (int time = 0; time < 3000; time++) {
            const size_t final = 1 + (size_t)((draw() + 1.0f) * 0.49f * (float)block);
            const float blank = time / 100 % 3 == 0 ? -9.0f : time / 100 % 3 == 1 ? -0.5f : 0.0f;

            for (size_t i = 0; i < block * VOCAB; i++) {
                rows[i] = i % VOCAB == 0 ? blank : draw() - 1.0f;
            }
            CHECK(ee_speech_block(stream, rows, final, block - final, 1) == EE_OK, "block");
            CHECK(p->count <= (size_t)longest + 2 * block + 2, "%zu tokens", p->count);
            CHECK(p->length < p->text_bytes, "%zu bytes", p->length);
        }
        CHECK(ee_speech_finish(stream) == EE_OK, "finish");
        CHECK(h.longest > 0, "words");
        close_stream(&arena);
    }
}

int main(void)
{
    static ee_tensor tensors[2][MAX_TENSORS];
    static const ee_model *full, *limited;
    ee_config chunks = sizes;

    make_signal();
    full = open_model(&sizes, tensors[0]);
    chunks.chunk = 3;
    chunks.left = 4;
    chunks.conv = EE_CONV_CHUNK;
    chunks.positions = EE_POSITIONS_NONE;
    chunks.max_frames = 0;
    limited = open_model(&chunks, tensors[1]);
    check_refused(full);
    check_age(full);
    check_age(limited);
    check_rounds(full);
    check_rounds(limited);
    check_long_utterances(full);
    check_long_utterances(limited);
    return check_result("check_stream");
}
