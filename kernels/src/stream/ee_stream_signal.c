#include <string.h>

#include "../common/ee_exact.h"
#include "../common/ee_size.h"
#include "../runtime/ee_session_rows.h"
#include "ee_stream_parts.h"

static const float FULL_SCALE = 32768.0f;

/* Values of so many features, and of what comes before them. */
static size_t frames_and_margin(const ee_signal *s, size_t frames)
{
    return ee_size_add(ee_size_mul(ee_size_add(s->margin, frames), s->hop), s->behind);
}

void ee_signal_open(ee_signal *signal, const ee_stream_config *config, ee_stream_memory *memory)
{
    const ee_frontend *const frontend = config->frontend;
    const ee_config *const model = &config->model->config;
    const ee_window window = config->model->graph->window(model);
    const size_t before =
        frontend->n_fft / 2 - (frontend->n_fft - frontend->win_length) / 2;
    ee_signal *const s = signal;

    s->ops = config->model->ops;
    s->frontend = *frontend;
    s->frontend.pad = 0;
    s->hop = frontend->hop_length;
    s->stride = window.hop;
    s->window = window.span;
    s->span = ee_size_mul(s->stride, s->hop);
    s->behind = frontend->win_length - before;
    /* What the first frame of a piece reads before its centre, and what its last one reads where the
     * end of the signal is reflected. */
    s->margin = frontend->n_fft / 2 / s->hop + 1;
    /* The rows that may wait to be made, with the values around them. */
    s->ring_values = ee_size_add(ee_size_mul(EE_STEM_ROWS, s->span),
                                 frames_and_margin(s, s->window));
    s->stem_rows = ee_view_rows(config);
    s->ring = ee_stream_take(memory, s->ring_values, sizeof(float));
    s->piece = ee_stream_take(memory, frames_and_margin(s, s->stride), sizeof(float));
    s->scratch = ee_stream_take(memory, ee_frontend_scratch(frontend, s->ops), sizeof(float));
    s->features = ee_stream_take(
        memory, ee_size_add(ee_size_mul(EE_STEM_ROWS, s->stride), s->window),
        model->mels * sizeof(float));
    s->stem = ee_stream_take(memory, s->stem_rows, model->dim * sizeof(float));
}

int64_t ee_signal_missing(const ee_signal *signal)
{
    const int64_t last = (int64_t)signal->stride * signal->rows + (int64_t)signal->window - 1;

    return last * (int64_t)signal->hop + (int64_t)signal->behind - signal->values;
}

/* Values that lie in one piece in the ring, from one that it holds on; *rest: how many are wanted,
 * of which those behind the piece are left. */
static float *piece_of_ring(const ee_signal *signal, int64_t value, size_t *rest, size_t *count)
{
    const size_t at = (size_t)(value % (int64_t)signal->ring_values);

    *count = ee_size_min(*rest, signal->ring_values - at);
    *rest -= *count;
    return signal->ring + at;
}

void ee_signal_append(ee_signal *signal, const float *f32, const int16_t *s16, size_t count)
{
    size_t some, fed = 0;

    while (count > 0) {
        float *const values = piece_of_ring(signal, signal->values, &count, &some);

        if (s16 != NULL) {
            for (size_t i = 0; i < some; i++) {
                values[i] = (float)s16[fed + i] * (1.0f / FULL_SCALE);
            }
        } else if (f32 != NULL) {
            memcpy(values, f32 + fed, some * sizeof(float));
        } else {
            memset(values, 0, some * sizeof(float));
        }
        fed += some;
        signal->values += (int64_t)some;
    }
}

/* SUM q q, q: values as integers of 16 bits */
static uint64_t power_of(const float *values, size_t count)
{
    uint64_t power = 0;

    for (size_t i = 0; i < count; i++) {
        float value = values[i] * FULL_SCALE;

        value = value < -FULL_SCALE ? -FULL_SCALE : value;
        value = value > FULL_SCALE - 1.0f ? FULL_SCALE - 1.0f : value;
        const int32_t q = ee_round_int(value);
        power += (uint32_t)(q * q);
    }
    return power;
}

uint64_t ee_signal_next(ee_signal *signal)
{
    int64_t at = signal->rows * (int64_t)signal->span;
    const int64_t left = signal->values - at; /* at the end there may be fewer, or none */
    size_t some, rest = left < (int64_t)signal->span ? (left > 0 ? (size_t)left : 0)
                                                     : signal->span;
    uint64_t power = 0;

    while (rest > 0) {
        const float *const values = piece_of_ring(signal, at, &rest, &some);

        power += power_of(values, some);
        at += (int64_t)some;
    }
    signal->rows++;
    return power;
}

/* Features first .. first + count - 1 of the signal; count is at most that of a row's stride. */
static ee_status compute_features(const ee_signal *s, float *out, int64_t first, size_t count)
{
    const int64_t hop = (int64_t)s->hop, margin = (int64_t)s->margin;
    const int64_t start = first > margin ? first - margin : 0;
    int64_t end = (first + (int64_t)count - 1) * hop + (int64_t)s->behind;

    /* Only the end of the whole signal is reflected. */
    end = end < s->values ? end : s->values;
    const size_t values = (size_t)(end - start * hop);
    size_t some, copied = 0, rest = values;
    while (rest > 0) {
        const float *const from = piece_of_ring(s, start * hop + (int64_t)copied, &rest, &some);

        memcpy(s->piece + copied, from, some * sizeof(float));
        copied += some;
    }
    return ee_features_f32(out, &s->frontend, s->piece, values, (size_t)(first - start), count,
                           s->scratch, s->ops);
}

/* Rows first .. first + count - 1 of the stem. Their features stay: the next row shares some. */
static ee_status make_rows(ee_signal *s, ee_session *session, float *rows, int64_t first,
                           size_t count)
{
    const size_t mels = s->frontend.mels;
    const int64_t begin = first * (int64_t)s->stride;
    const size_t needed = (count - 1) * s->stride + s->window;
    const int64_t shared = s->features_end - begin;
    size_t have = 0;

    if (shared > 0 && shared < (int64_t)s->window) {
        have = (size_t)shared;
        memmove(s->features, s->features + (s->features_held - have) * mels,
                have * mels * sizeof(float));
    }
    s->features_held = 0; /* if what follows fails */
    s->features_end = 0;
    while (have < needed) {
        const size_t frames = ee_size_min(s->stride, needed - have);
        const ee_status status =
            compute_features(s, s->features + have * mels, begin + (int64_t)have, frames);

        if (status != EE_OK) {
            return status;
        }
        have += frames;
    }
    s->features_held = needed;
    s->features_end = begin + (int64_t)needed;
    ee_session_stem(session, rows, s->features, count);
    return EE_OK;
}

ee_status ee_signal_stem(ee_signal *signal, ee_session *session, size_t dim, int64_t end)
{
    const size_t most = ee_size_min(EE_STEM_ROWS, signal->stem_rows);
    ee_status status = EE_OK;

    while (status == EE_OK && signal->stemmed < end) {
        const size_t at = (size_t)(signal->stemmed % (int64_t)signal->stem_rows);
        const size_t left = (size_t)(end - signal->stemmed);
        const size_t count = ee_size_min(ee_size_min(left, most), signal->stem_rows - at);

        status = make_rows(signal, session, signal->stem + at * dim, signal->stemmed, count);
        signal->stemmed += (int64_t)count;
    }
    return status;
}
