/* What ee_ref/web/ee-ref.mjs calls: a flash image, phrases beside it, and one stream at a time, each
 * in memory behind the one before. Addresses are numbers there; times in samples are doubles, which
 * hold them exactly. Functions return an ee_status unless they say otherwise. */
#include <stddef.h>
#include <stdint.h>

#include "ee_image.h"
#include "ee_stream.h"

#define EXPORT(name) __attribute__((export_name(#name)))
#define IMPORT(name) __attribute__((import_module("page"), import_name(#name)))

/* The words and slots of an event, and then the event. Addresses are of text: of a word in that of
 * the event, others with a zero byte at their end; an intent may be NULL. */
IMPORT(word) void page_word(size_t first, size_t bytes, double start, double end, float confidence);
IMPORT(slot) void page_slot(const char *name, const char *value);
IMPORT(heard) void page_heard(const char *text, size_t bytes, int final, int endpoint,
                              uint32_t exit, double start, double end, float confidence,
                              int accepted, const char *intent);
/* Rows that are final, from where they come: exit 0 is outside of runs. */
IMPORT(rows) void page_rows(uint32_t exit, size_t count);
IMPORT(now) double page_now(void); /* milliseconds */

enum { PAGE_BYTES = 65536, SAMPLES = 16384 };

extern unsigned char __heap_base[];

static size_t used; /* of the memory behind the variables */
static size_t image_end, phrases_end;
static ee_image image;
static ee_phrases phrases;
static ee_stream *stream;
static float samples[SAMPLES];

/* ---- Where time goes ---- */

static double spent[EE_MAX_EXITS + 1];
static double last; /* when time was last counted */
static uint32_t depth;
static const float *head; /* where the heads of a block write */
static ee_log_softmax_exact *log_softmax;

static void count_time(uint32_t at)
{
    const double now = page_now();

    spent[at] += now - last;
    last = now;
}

/* What every head ends with, some frames at a time. All heads of a block write to one place, so
 * that a call for its first frames begins an exit. */
static void counted_log_softmax(float *out, const float *x, size_t rows, size_t dim)
{
    log_softmax(out, x, rows, dim);
    if (head == NULL || out == head) {
        head = out;
        depth++;
    }
    count_time(depth);
}

/* The best kernels, their time counted. */
static const ee_ops *counted_ops(void)
{
    static ee_ops_qs8 qs8;
    static ee_ops ops;

    ops = *ee_ops_for(ee_isa_best());
    qs8 = *ops.qs8;
    log_softmax = qs8.log_softmax;
    qs8.log_softmax = counted_log_softmax;
    ops.qs8 = &qs8;
    return &ops;
}

static void decided(void *context, const ee_output *rows)
{
    (void)context;
    count_time(rows->exit > 0 ? depth : 0);
    depth = 0;
    head = NULL;
    page_rows(rows->exit, rows->rows);
}

/* ---- Events ---- */

static void heard(void *context, const ee_stream_event *event)
{
    const ee_phrase_meaning *const meaning = &event->meaning;
    const ee_phrases *const spoken = context;
    const char *intent = NULL;

    for (size_t i = 0; i < event->count; i++) {
        const ee_stream_word *const word = &event->words[i];
        page_word(word->first, word->bytes, (double)word->start, (double)word->end,
                  word->confidence);
    }
    if (event->accepted) {
        if (meaning->intent != EE_PHRASES_NONE) {
            intent = ee_phrases_string(spoken, meaning->intent);
        }
        for (uint32_t i = 0; i < meaning->slots; i++) {
            page_slot(ee_phrases_string(spoken, meaning->slot[i]),
                      ee_phrases_string(spoken, meaning->value[i]));
        }
    }
    page_heard(event->text, event->bytes, event->final != 0, event->endpoint != 0, event->exit,
               (double)event->start, (double)event->end, event->confidence, event->accepted != 0,
               intent);
}

/* ---- What the page calls ---- */

/* The next bytes of memory, aligned to 64; NULL when there is no more. */
static void *take(size_t bytes)
{
    const size_t start = ((size_t)__heap_base + used + 63) / 64 * 64;
    const size_t have = __builtin_wasm_memory_size(0) * PAGE_BYTES;

    if (bytes > SIZE_MAX - PAGE_BYTES - start) {
        return NULL;
    }
    if (start + bytes > have
        && __builtin_wasm_memory_grow(0, (start + bytes - have + PAGE_BYTES - 1) / PAGE_BYTES)
               == SIZE_MAX) {
        return NULL;
    }
    used = start + bytes - (size_t)__heap_base;
    return (void *)start;
}

/* Where an image of so many bytes goes; NULL when that is more memory than there is. */
EXPORT(place_image) void *place_image(size_t bytes)
{
    used = 0;
    return take(bytes);
}

EXPORT(open_image) int open_image(const void *data, size_t bytes)
{
    size_t needed;
    ee_status status = ee_image_memory(data, bytes, 0, &needed);
    void *const memory = status == EE_OK ? take(needed) : NULL;

    if (status == EE_OK) {
        status = memory == NULL
                     ? EE_ERR_TOO_LARGE
                     : ee_image_open(&image, data, bytes, 0, memory, needed, counted_ops());
    }
    phrases = image.phrases;
    image_end = phrases_end = used;
    return status;
}

/* Where a section of phrases goes, in place of any before; the stream is over. */
EXPORT(place_phrases) void *place_phrases(size_t bytes)
{
    stream = NULL;
    used = image_end;
    phrases.graph.states = 0;
    return take(bytes);
}

EXPORT(open_phrases) int open_phrases(const void *section, size_t bytes)
{
    ee_status status = ee_phrases_open(&phrases, section, bytes);

    if (status == EE_OK
        && (phrases.graph.vocab != image.config.vocab || phrases.graph.blank != image.blank)) {
        phrases.graph.states = 0;
        status = EE_ERR_CONFIG;
    }
    phrases_end = used;
    return status;
}

EXPORT(sample_rate) uint32_t sample_rate(void)
{
    return image.sample_rate;
}

EXPORT(exits) uint32_t exits(void)
{
    return image.config.exits;
}

/* Whether there are phrases, of the image or opened after it. */
EXPORT(has_phrases) int has_phrases(void)
{
    return phrases.graph.states > 0;
}

EXPORT(isa_name) const char *isa_name(void)
{
    return ee_isa_name(ee_isa_best());
}

EXPORT(explain) const char *explain(int status)
{
    return ee_strerror((ee_status)status);
}

/* Begins a stream; one before it is over. exit: where to stop, or 0 to stop where the entropy is at
 * most `entropy`. The view and the times of an endpoint are in rows. */
EXPORT(open_stream) int open_stream(uint32_t exit, float entropy, uint32_t left, uint32_t hop,
                                    uint32_t ahead, uint32_t after, uint32_t longest,
                                    int with_phrases)
{
    const ee_stream_config config = {
        .model = image.model,
        .frontend = &image.frontend,
        .labels = &image.labels,
        .phrases = with_phrases ? &phrases : NULL,
        .blank = image.blank,
        .left = left,
        .hop = hop,
        .ahead = ahead,
        .after = after,
        .longest = longest,
        .filler = -1.0f,
        .policy = {exit > 0 ? EE_POLICY_FIXED : EE_POLICY_ENTROPY, exit, entropy},
        .heard = heard,
        .rows = decided,
        .context = &phrases,
    };
    size_t bytes;
    const ee_status status = ee_stream_size(&config, &bytes);

    stream = NULL;
    used = phrases_end;
    for (size_t i = 0; i <= EE_MAX_EXITS; i++) {
        spent[i] = 0.0;
    }
    depth = 0;
    head = NULL;
    if (status != EE_OK) {
        return status;
    }
    void *const arena = take(bytes);
    return arena != NULL ? ee_stream_open(&stream, &config, arena, bytes) : EE_ERR_TOO_LARGE;
}

/* Where samples are put, and how many at most. */
EXPORT(sample_buffer) float *sample_buffer(void)
{
    return samples;
}

EXPORT(most_samples) size_t most_samples(void)
{
    return SAMPLES;
}

/* Work after the last rows were decided is that of words. */
static int timed(ee_status status)
{
    count_time(0);
    return status;
}

EXPORT(feed) int feed(size_t count)
{
    last = page_now();
    return timed(ee_stream_feed_f32(stream, samples, count));
}

EXPORT(finish) int finish(void)
{
    last = page_now();
    return timed(ee_stream_finish(stream));
}

/* Milliseconds of the stream: at 0 the gate and the words, at k the layers and the head of exit k,
 * at 1 the features and the stem too. */
EXPORT(milliseconds) double milliseconds(uint32_t at)
{
    return at <= EE_MAX_EXITS ? spent[at] : 0.0;
}
