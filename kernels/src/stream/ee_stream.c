#include "ee_stream.h"

#include <float.h>
#include <string.h>

#include "../common/ee_exact.h"
#include "../common/ee_memory.h"
#include "../common/ee_size.h"
#include "ee_stream_parts.h"

static const float LOUDEST = 0x1p20f; /* beyond, the power of a feature could overflow */

/* Fixed, so that a plan made on a PC holds on a target with smaller pointers. */
enum { STREAM_BYTES = 16 * EE_MEMORY_ALIGNMENT };
typedef char stream_fits[sizeof(ee_stream) <= STREAM_BYTES ? 1 : -1];

void *ee_stream_take(ee_stream_memory *memory, size_t count, size_t size)
{
    char *const taken = memory->start != NULL ? memory->start + memory->used : NULL;

    memory->used = ee_size_add(memory->used, ee_whole_lines(ee_size_mul(count, size)));
    return taken;
}

static int in_range(uint32_t value, uint32_t low)
{
    return value >= low && value <= EE_STREAM_MAX_ROWS;
}

static ee_status check(const ee_stream_config *config)
{
    if (config == NULL || config->model == NULL || config->frontend == NULL
        || config->labels == NULL) {
        return EE_ERR_ARGUMENT;
    }
    const ee_config *const model = &config->model->config;
    ee_status status = ee_frontend_check(config->frontend);
    int stop;
    float score;

    if (status == EE_OK) {
        /* Of no rows, which leaves its ranges. */
        status = ee_policy_stop(&config->policy, 1, NULL, 0, 0, &stop, &score, config->model->ops);
    }
    if (status != EE_OK) {
        return status;
    }
    if (config->labels->ends == NULL) {
        return EE_ERR_ARGUMENT;
    }
    /* A stream counts rows of the stem, which are its frames. */
    if (config->model->graph->frames(model, 2) != 2) {
        return EE_ERR_CONFIG;
    }
    if (config->frontend->mels != model->mels || config->labels->vocab != model->vocab
        || config->blank >= model->vocab || !in_range(config->after, 1)
        || config->frontend->kind > EE_FRONTEND_LOGMEL || config->model->graph->is_whole
        || !in_range(config->longest, 1) || !in_range(config->before, 0)) {
        return EE_ERR_CONFIG;
    }
    if (config->labels->text == NULL && config->labels->ends[model->vocab - 1] > 0) {
        return EE_ERR_ARGUMENT;
    }
    if (model->chunk == 0
        && (!in_range(config->hop, 1) || !in_range(config->left, 0)
            || !in_range(config->ahead, 0))) {
        return EE_ERR_CONFIG;
    }
    if (config->phrases != NULL
        && (config->phrases->graph.vocab != model->vocab
            || config->phrases->graph.blank != config->blank
            || !(config->filler <= FLT_MAX))) {
        return EE_ERR_CONFIG;
    }
    return EE_OK;
}

/* The parts, in memory that is counted or used. */
static ee_status build(ee_stream *stream, const ee_stream_config *config, ee_stream_memory *memory)
{
    memset(stream, 0, sizeof(*stream));
    stream->config = *config;
    ee_signal_open(&stream->signal, config, memory);
    const ee_status status = ee_hearing_open(&stream->hearing, config, memory);
    return status == EE_OK ? ee_speech_open(&stream->speech, config, memory) : status;
}

ee_status ee_stream_size(const ee_stream_config *config, size_t *bytes)
{
    ee_stream_memory memory = {NULL, STREAM_BYTES};
    ee_stream counted;
    ee_status status = check(config);

    if (status == EE_OK && bytes == NULL) {
        status = EE_ERR_ARGUMENT;
    }
    if (status == EE_OK) {
        status = build(&counted, config, &memory);
    }
    if (status == EE_OK && memory.used == SIZE_MAX) {
        status = EE_ERR_TOO_LARGE;
    }
    if (status == EE_OK) {
        *bytes = memory.used;
    }
    return status;
}

ee_status ee_stream_open(ee_stream **stream, const ee_stream_config *config, void *arena,
                         size_t bytes)
{
    ee_stream_memory memory = {arena, STREAM_BYTES};
    size_t needed;

    if (stream == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *stream = NULL;
    ee_status status = ee_stream_size(config, &needed);
    if (status == EE_OK) {
        status = ee_check_memory(arena, bytes, needed, EE_ERR_ARENA_TOO_SMALL);
    }
    if (status == EE_OK) {
        status = build(arena, config, &memory);
    }
    if (status == EE_OK) {
        *stream = arena;
    }
    return status;
}

/* What went wrong in the middle of a feed ends the stream. */
static ee_status closing(ee_stream *stream, ee_status status)
{
    stream->is_closed = status != EE_OK;
    return status;
}

/* Values of the signal: samples, or zeros. */
static ee_status feed(ee_stream *stream, const float *f32, const int16_t *s16, size_t count)
{
    ee_signal *const signal = &stream->signal;
    ee_status status = EE_OK;
    size_t fed = 0;

    while (status == EE_OK && fed < count) {
        const int64_t missing = ee_signal_missing(signal);
        const size_t left = count - fed;
        const size_t some = missing < (int64_t)left ? (size_t)missing : left;

        ee_signal_append(signal, f32 != NULL ? f32 + fed : NULL, s16 != NULL ? s16 + fed : NULL,
                         some);
        fed += some;
        while (status == EE_OK && ee_signal_missing(signal) <= 0) {
            status = ee_hearing_row(stream);
        }
    }
    return closing(stream, status);
}

/* The zeros before the first sample, when it comes. */
static ee_status begin(ee_stream *stream)
{
    return stream->samples == 0 ? feed(stream, NULL, NULL, stream->config.frontend->pad) : EE_OK;
}

static ee_status feed_samples(ee_stream *stream, const float *f32, const int16_t *s16,
                              size_t count)
{
    if (stream->is_closed) {
        return EE_ERR_ENDED;
    }
    if (count == 0) {
        return EE_OK;
    }
    const ee_status status = begin(stream);
    stream->samples += (int64_t)count;
    return status == EE_OK ? feed(stream, f32, s16, count) : status;
}

ee_status ee_stream_feed_f32(ee_stream *stream, const float *samples, size_t count)
{
    if (stream == NULL || (samples == NULL && count > 0)) {
        return EE_ERR_ARGUMENT;
    }
    for (size_t i = 0; i < count; i++) {
        /* Written so that NaN fails too. */
        if (!(samples[i] >= -LOUDEST && samples[i] <= LOUDEST)) {
            return stream->is_closed ? EE_ERR_ENDED : EE_ERR_NOT_FINITE;
        }
    }
    return feed_samples(stream, samples, NULL, count);
}

ee_status ee_stream_feed_s16(ee_stream *stream, const int16_t *samples, size_t count)
{
    if (stream == NULL || (samples == NULL && count > 0)) {
        return EE_ERR_ARGUMENT;
    }
    return feed_samples(stream, NULL, samples, count);
}

ee_status ee_stream_finish(ee_stream *stream)
{
    if (stream == NULL) {
        return EE_ERR_ARGUMENT;
    }
    if (stream->is_closed) {
        return EE_ERR_ENDED;
    }
    ee_status status = EE_OK;

    stream->speech.duration = stream->samples;
    if (stream->samples > 0) {
        const ee_signal *const signal = &stream->signal;

        status = feed(stream, NULL, NULL, stream->config.frontend->pad);
        /* Rows of features that are reflected at the end. */
        const int64_t features = 1 + signal->values / (int64_t)signal->hop;
        const int64_t spare = features - (int64_t)signal->window;
        const int64_t rows = spare < 0 ? 0 : spare / (int64_t)signal->stride + 1;
        while (status == EE_OK && signal->rows < rows) {
            status = ee_hearing_row(stream);
        }
    }
    if (status == EE_OK) {
        status = ee_hearing_finish(stream);
    }
    if (status == EE_OK) {
        status = ee_speech_finish(stream);
    }
    stream->is_closed = 1;
    return status;
}
