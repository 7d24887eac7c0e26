/* A stream over the model of a flash image: any view, endpoint, policy and samples, cut in two ways,
 * which must give the same events. The input is words about the stream, then the image. */
#include <math.h>

#include "ee_image.h"
#include "ee_stream.h"
#include "fuzz.h"

enum {
    LEFT, HOP, AHEAD, BEFORE, AFTER, LONGEST, POLICY, EXIT, THRESHOLD, FILLER, SAMPLES, SLICES, ODD,
    WORDS,
    MAX_SAMPLES = 6000
};

/* What the events of a stream must hold, and a sum over all of them. */
typedef struct {
    uint64_t sum;
    int64_t latest;   /* end of the last final word */
    uint64_t rows;
    uint32_t exits;
} listener;

static void add(listener *l, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        l->sum = (l->sum ^ ((const unsigned char *)data)[i]) * 0x100000001B3u;
    }
}

static void heard(void *context, const ee_stream_event *event)
{
    listener *const l = context;
    int64_t end = l->latest;

    EXPECT(strlen(event->text) == event->bytes);
    EXPECT(event->start <= event->end && event->start >= 0);
    EXPECT(event->confidence >= 0.0f && event->confidence <= 1.0f);
    EXPECT(event->exit <= l->exits && (event->final || !event->endpoint));
    for (size_t i = 0; i < event->count; i++) {
        const ee_stream_word *const word = &event->words[i];

        EXPECT(word->bytes > 0 && word->first + word->bytes <= event->bytes);
        EXPECT(memchr(event->text + word->first, ' ', word->bytes) == NULL);
        EXPECT(word->start >= end && word->end >= word->start);
        end = word->end;
    }
    l->latest = event->final ? end : l->latest;
    add(l, event->text, event->bytes + 1);
    add(l, &event->final, sizeof(event->final));
    add(l, &event->exit, sizeof(event->exit));
    add(l, &event->start, sizeof(event->start));
    add(l, &event->confidence, sizeof(event->confidence));
}

static void decided(void *context, const ee_output *rows)
{
    listener *const l = context;

    EXPECT(rows->rows > 0 && rows->first == l->rows && (rows->data == NULL) == (rows->exit == 0));
    l->rows += rows->rows;
    add(l, rows->data, rows->data != NULL ? rows->rows * rows->columns * sizeof(float) : 0);
}

/* Noise, silence and a hum in turns. */
static void make_samples(float *samples, size_t count, fuzz_random *random)
{
    float size = 0.5f;

    for (size_t i = 0; i < count; i++) {
        if (fuzz_below(random, 200) == 0) {
            size = fuzz_below(random, 3) == 0 ? 0.0f : (float)fuzz_below(random, 1000) * 1e-3f;
        }
        samples[i] = (float)(int32_t)fuzz_next(random) * 0x1p-31f * size;
    }
}

/* Feeds a stream in slices of at most so many samples. */
static ee_status listen(ee_stream *stream, const float *samples, size_t count, size_t slice,
                        fuzz_random *random)
{
    ee_status status = EE_OK;

    for (size_t at = 0; status == EE_OK && at < count;) {
        const size_t some = 1 + fuzz_below(random, slice);
        const size_t fed = some < count - at ? some : count - at;

        status = ee_stream_feed_f32(stream, samples + at, fed);
        at += fed;
    }
    if (status == EE_OK) {
        status = ee_stream_finish(stream);
    }
    EXPECT(ee_stream_feed_f32(stream, samples, count) == EE_ERR_ENDED);
    EXPECT(ee_stream_finish(stream) == EE_ERR_ENDED);
    return status;
}

static void run(const ee_image *image, const uint32_t *words)
{
    const size_t count = words[SAMPLES] % MAX_SAMPLES;
    fuzz_random random = {words[SAMPLES]};
    listener l = {0};
    ee_stream_config config = {
        .model = image->model, .frontend = &image->frontend, .labels = &image->labels,
        .phrases = image->phrases.graph.states > 0 ? &image->phrases : NULL,
        .blank = image->blank, .left = words[LEFT], .hop = words[HOP], .ahead = words[AHEAD],
        .before = words[BEFORE], .after = words[AFTER], .longest = words[LONGEST],
        .policy = {(ee_policy_kind)(words[POLICY] % 2), words[EXIT] % 8 + 1, 0.0f},
        .heard = heard, .rows = decided, .context = &l,
    };
    const uint32_t threshold = words[THRESHOLD] & 0x7FFFFFFFu;
    ee_stream *stream = NULL;
    listener first = {0};
    ee_status before = EE_OK;
    size_t bytes = 0;

    memcpy(&config.policy.threshold, &threshold, sizeof(float));
    memcpy(&config.filler, &words[FILLER], sizeof(float));
    if (ee_stream_size(&config, &bytes) != EE_OK) {
        EXPECT(ee_stream_open(&stream, &config, NULL, 0) != EE_OK && stream == NULL);
        return;
    }
    void *const arena = fuzz_memory(bytes, EE_MEMORY_ALIGNMENT);
    float *const samples = fuzz_memory(count * sizeof(*samples), sizeof(void *));
    if (arena != NULL) {
        EXPECT(ee_stream_open(&stream, &config, arena, bytes - 1) == EE_ERR_ARENA_TOO_SMALL);
        make_samples(samples, count, &random);
        for (int time = 0; time < 2; time++) {
            memset(&l, 0, sizeof(l));
            l.exits = image->config.exits;
            EXPECT(ee_stream_open(&stream, &config, arena, bytes) == EE_OK);
            if (count > 0 && words[ODD] % 2 == 1) {
                const float kept = samples[words[ODD] / 2 % count];
                samples[words[ODD] / 2 % count] = time == 0 ? (float)NAN : 0x1p21f;
                EXPECT(ee_stream_feed_f32(stream, samples, count) == EE_ERR_NOT_FINITE);
                samples[words[ODD] / 2 % count] = kept;
            }
            const ee_status status = listen(stream, samples, count,
                                            time == 0 ? MAX_SAMPLES : 1 + words[SLICES] % 500,
                                            &random);
            EXPECT(time == 0 || (status == before && l.sum == first.sum && l.rows == first.rows));
            before = status;
            first = l;
        }
    }
    free(samples);
    free(arena);
}

void fuzz_one(const unsigned char *data, size_t size)
{
    uint32_t words[WORDS];
    ee_image image;
    size_t needed = 0;

    if (size < sizeof(words)) {
        return;
    }
    memcpy(words, data, sizeof(words));
    size -= sizeof(words);
    unsigned char *const copy = fuzz_memory(size, EE_IMAGE_ALIGNMENT);
    EXPECT(copy != NULL);
    memcpy(copy, data + sizeof(words), size);
    const ee_ops *const ops = ee_ops_for(words[SLICES] % 2 == 0 ? EE_ISA_C : ee_isa_best());
    if (ee_image_memory(copy, size, 0, &needed) == EE_OK) {
        void *const memory = fuzz_memory(needed, EE_MEMORY_ALIGNMENT);
        if (memory != NULL
            && ee_image_open(&image, copy, size, 0, memory, needed, ops) == EE_OK) {
            run(&image, words);
        }
        free(memory);
    }
    free(copy);
}

/* Only words: image.c changes images. */
size_t fuzz_mutate(unsigned char *data, size_t size, size_t capacity, fuzz_random *random)
{
    (void)capacity;
    for (uint32_t i = 1 + fuzz_below(random, 4); size >= 4 * WORDS && i > 0; i--) {
        unsigned char *const at = data + 4 * (size_t)fuzz_below(random, WORDS);

        fuzz_put(at, fuzz_below(random, 3) == 0 ? fuzz_value(random, fuzz_get(at))
                                                : fuzz_below(random, 24));
    }
    return size;
}
