#include <float.h>

#include "../common/ee_exact.h"
#include "../common/ee_size.h"
#include "ee_waveform.h"

/* A complex number. */
typedef struct {
    float re, im;
} number;

/* Floats of a line of the first-level cache: vectors that straddle two are slow. */
enum { CACHE_LINE = 16 };

static size_t bins_of(const ee_frontend *frontend)
{
    return frontend->n_fft / 2 + 1;
}

static int in_range(uint32_t value, uint32_t low, uint32_t high)
{
    return value >= low && value <= high;
}

ee_status ee_frontend_check(const ee_frontend *frontend)
{
    if (frontend == NULL) {
        return EE_ERR_ARGUMENT;
    }
    if (ee_takes_samples(frontend)) {
        return frontend->mels == 1 && frontend->n_fft == 1 && frontend->win_length == 1
                       && frontend->hop_length == 1 && frontend->pad == 0
                       && frontend->log_floor == 0.0f
                   ? EE_OK
                   : EE_ERR_CONFIG;
    }
    if (frontend->kind >= EE_FRONTEND_KINDS
        || !in_range(frontend->n_fft, 4, EE_MAX_SIZE)
        || (frontend->n_fft & (frontend->n_fft - 1)) != 0
        || !in_range(frontend->mels, 1, frontend->n_fft / 2 + 1)
        || !in_range(frontend->win_length, 1, frontend->n_fft)
        || !in_range(frontend->hop_length, 1, EE_MAX_SIZE) || frontend->pad > EE_MAX_SIZE) {
        return EE_ERR_CONFIG;
    }
    /* Written so that NaN fails too. */
    if (!(frontend->kind == EE_FRONTEND_MEL
              ? frontend->log_floor == 0.0f
              : frontend->log_floor >= EE_LEAST_FLOOR && frontend->log_floor <= FLT_MAX)) {
        return EE_ERR_CONFIG;
    }
    if (frontend->window == NULL || frontend->sines == NULL || frontend->mel_first == NULL
        || frontend->mel_count == NULL || frontend->mel_weights == NULL) {
        return EE_ERR_ARGUMENT;
    }
    for (uint32_t m = 0; m < frontend->mels; m++) {
        if ((size_t)frontend->mel_first[m] + frontend->mel_count[m] > bins_of(frontend)) {
            return EE_ERR_CONFIG;
        }
    }
    return EE_OK;
}

size_t ee_frontend_frames(const ee_frontend *frontend, size_t count)
{
    if (count == 0 || ee_takes_samples(frontend)) {
        return count;
    }
    return 1 + ee_size_add(count, 2 * (size_t)frontend->pad) / frontend->hop_length;
}

size_t ee_frontend_scratch(const ee_frontend *frontend, const ee_ops *ops)
{
    const size_t one = 2 * (size_t)frontend->n_fft;

    if (ee_takes_samples(frontend)) {
        return 0;
    }
    return ops->mel_block == NULL ? one : ops->mel_frames * one + CACHE_LINE;
}

/* M: the values that the reflection at the edges goes by. */
static size_t signal_length(const ee_frontend *frontend, size_t count)
{
    return ee_size_max(count + 2 * (size_t)frontend->pad, bins_of(frontend));
}

/* Values of the signal that frame 0 reads before its first one. */
static size_t reach_before(const ee_frontend *frontend)
{
    return frontend->n_fft / 2 - (frontend->n_fft - frontend->win_length) / 2;
}

/* s(position - before) */
static float signal_at(const ee_frontend *frontend, const ee_utterance *audio, size_t position)
{
    const size_t before = reach_before(frontend);
    const size_t last = signal_length(frontend, audio->count) - 1;
    size_t i = position >= before ? position - before : before - position;

    if (i > last) {
        i = 2 * last - i;
    }
    if (i < frontend->pad || i - frontend->pad >= audio->count) {
        return 0.0f;
    }
    return ee_sample_at(audio, i - frontend->pad);
}

/* v: a windowed frame, then zeros up to n_fft values. The sum with 0.0234375 rounds to a multiple
 * of 2^-30, so that no sum of the transform is subnormal. */
static void load_frame(float *v, const ee_frontend *frontend, const ee_utterance *audio, size_t frame)
{
    const size_t start = frame * frontend->hop_length;
    const size_t before = reach_before(frontend) + frontend->pad;
    const int inside = start >= before && start - before + frontend->win_length <= audio->count;

    for (size_t j = 0; j < frontend->win_length; j++) {
        const float sample = inside ? ee_sample_at(audio, start - before + j)
                                    : signal_at(frontend, audio, start + j);
        v[j] = (sample * frontend->window[j] + 0x1.8p-6f) - 0x1.8p-6f;
    }
    for (size_t j = frontend->win_length; j < frontend->n_fft; j++) {
        v[j] = 0.0f;
    }
}

static inline number sum(number a, number b)
{
    return (number){a.re + b.re, a.im + b.im};
}

static inline number difference(number a, number b)
{
    return (number){a.re - b.re, a.im - b.im};
}

/* cos(2 pi i/n_fft) and sin(2 pi i/n_fft), i < 3 n_fft/4 */
static inline number direction(const ee_frontend *frontend, size_t i)
{
    return (number){frontend->sines[i + frontend->n_fft / 4], frontend->sines[i]};
}

/* z turned clockwise by the angle of w */
static inline number turned(number z, number w)
{
    return (number){w.re * z.re + w.im * z.im, w.re * z.im - w.im * z.re};
}

/* Transforms of four points of x, of which one lies `apart` numbers from the next, `row` of them
 * side by side. The results, turned by w where there is one, are four rows of y. */
static inline void transforms_of_four(number *y, const number *x, size_t apart, size_t row,
                                      const number *w)
{
    for (size_t q = 0; q < row; q++) {
        const number a = x[q], b = x[q + apart], c = x[q + 2 * apart], d = x[q + 3 * apart];
        const number e = sum(a, c), f = difference(a, c), g = sum(b, d);
        const number h = {b.im - d.im, d.re - b.re};

        y[q] = sum(e, g);
        y[q + row] = w == NULL ? sum(f, h) : turned(sum(f, h), w[0]);
        y[q + 2 * row] = w == NULL ? difference(e, g) : turned(difference(e, g), w[1]);
        y[q + 3 * row] = w == NULL ? difference(f, h) : turned(difference(f, h), w[2]);
    }
}

/* The transform of the n_fft/2 numbers of x, in x or y: the one of the two that is returned. */
static number *transform(number *x, number *y, const ee_frontend *frontend)
{
    size_t n = frontend->n_fft / 2;
    size_t row = 1;

    for (; n >= 4; n /= 4, row *= 4) {
        transforms_of_four(y, x, n / 4 * row, row, NULL);
        for (size_t p = 1; p < n / 4; p++) {
            const size_t i = p * (frontend->n_fft / n);
            const number w[3] = {
                direction(frontend, i), direction(frontend, 2 * i), direction(frontend, 3 * i),
            };
            transforms_of_four(y + 4 * row * p, x + row * p, n / 4 * row, row, w);
        }
        number *const swapped = x;
        x = y;
        y = swapped;
    }
    if (n == 2) {
        for (size_t q = 0; q < row; q++) {
            y[q] = sum(x[q], x[q + row]);
            y[q + row] = difference(x[q], x[q + row]);
        }
        return y;
    }
    return x;
}

static float square(float x)
{
    return x * x;
}

static void power_spectrum(float *power, const number *z, const ee_frontend *frontend)
{
    const size_t half = frontend->n_fft / 2;

    power[0] = square(z[0].re + z[0].im);
    power[half] = square(z[0].re - z[0].im);
    for (size_t k = 1; k <= half / 2; k++) {
        const number a = z[k];
        const number b = {z[half - k].re, -z[half - k].im};
        const number e = sum(a, b);
        const number u = turned(difference(a, b), direction(frontend, k));

        power[half - k] = (square(e.re - u.im) + square(e.im + u.re)) * 0.25f;
        power[k] = (square(e.re + u.im) + square(e.im - u.re)) * 0.25f;
    }
}

/* The features of one frame; 0 when an energy overflows. */
static int mel_features(float *out, const float *power, const ee_frontend *frontend)
{
    const float *weight = frontend->mel_weights;
    const int has_floor = frontend->kind != EE_FRONTEND_MEL;
    const float floor = has_floor ? frontend->log_floor : EE_LEAST_FLOOR;

    for (uint32_t m = 0; m < frontend->mels; m++) {
        const float *const bins = power + frontend->mel_first[m];
        float value = floor;

        for (uint32_t j = 0; j < frontend->mel_count[m]; j++) {
            value = value + bins[j] * *weight++;
        }
        if (!ee_is_finite(value)) {
            return 0;
        }
        if (has_floor) {
            value = ee_log(value);
            if (frontend->mean != NULL) {
                value = value - frontend->mean[m];
            }
            if (frontend->scale != NULL) {
                value = value * frontend->scale[m];
            }
        } else {
            value = value - floor;
        }
        out[m] = value;
    }
    return 1;
}

/* Whether float samples begin..stop-1 are finite. An exponent of ones carries into the sign. No way
 * out of the loop: so it is vectorised. */
static int are_finite(const ee_utterance *audio, size_t begin, size_t stop)
{
    uint32_t carry = 0;

    for (size_t i = begin; i < stop; i++) {
        carry |= (ee_float_bits(audio->f32[i]) & 0x7F800000u) + 0x00800000u;
    }
    return carry >> 31 == 0;
}

/* Whether the float samples that a range of frames reads are finite; frames >= 1. */
static int samples_finite(const ee_frontend *frontend, const ee_utterance *audio,
                          size_t first, size_t frames)
{
    if (frontend->kind == EE_FRONTEND_SAMPLES) {
        return are_finite(audio, first, first + frames);
    }
    if (frontend->kind == EE_FRONTEND_WAVEFORM) {
        return are_finite(audio, 0, audio->count);
    }
    const size_t before = reach_before(frontend);
    const size_t last = signal_length(frontend, audio->count) - 1;
    const size_t low = first * frontend->hop_length;
    const size_t high = (first + frames - 1) * frontend->hop_length + frontend->win_length - 1;
    /* Positions of the signal; what is read by reflection lies beside the edge. */
    size_t begin = low > before ? low - before : 0;
    size_t end = high > before ? high - before : 0;

    if (low < before) {
        end = ee_size_max(end, before - low);
    }
    if (end > last) {
        begin = ee_size_min(begin, 2 * last - end);
        end = last;
    }
    begin = ee_size_max(begin, frontend->pad) - frontend->pad;
    end = ee_size_min(end + 1, frontend->pad + audio->count);
    return end <= frontend->pad || are_finite(audio, begin, end - frontend->pad);
}

/* to[j] = s(position + j - before), j < count */
static void copy_signal(float *to, const ee_frontend *frontend, const ee_utterance *audio,
                        size_t position, size_t count)
{
    const size_t first = reach_before(frontend) + frontend->pad;
    const size_t low = ee_size_min(ee_size_max(first, position), position + count);
    const size_t high = ee_size_min(ee_size_max(first + audio->count, low), position + count);

    for (size_t at = position; at < low; at++) {
        to[at - position] = signal_at(frontend, audio, at);
    }
    for (size_t at = low; at < high; at++) {
        to[at - position] = ee_sample_at(audio, at - first);
    }
    for (size_t at = high; at < position + count; at++) {
        to[at - position] = signal_at(frontend, audio, at);
    }
}

/* The samples of `frames` frames from `first` on, with *stride floats from one frame to the next:
 * where they lie, or in `copy`. */
static const float *rows_of(const ee_frontend *frontend, const ee_utterance *audio,
                            size_t first, size_t frames, size_t *stride, float *copy)
{
    const size_t hop = frontend->hop_length, length = frontend->win_length;
    const size_t start = first * hop;
    const size_t before = reach_before(frontend) + frontend->pad;

    if (audio->f32 != NULL && start >= before
        && start - before + (frames - 1) * hop + length <= audio->count) {
        *stride = hop;
        return audio->f32 + (start - before);
    }
    *stride = ee_size_min(hop, length);
    for (size_t t = 0; t < frames; t++) {
        /* What a frame shares with the one before it is there. */
        const size_t j = t > 0 ? length - *stride : 0;
        copy_signal(copy + t * *stride + j, frontend, audio, start + t * hop + j, length - j);
    }
    return copy;
}

/* Blocks of frames by the kernel of the ops; 0 when an energy overflows. */
static int features_of_blocks(float *out, const ee_frontend *frontend, const ee_utterance *audio,
                              size_t first, size_t frames, float *scratch, const ee_ops *ops)
{
    const size_t past = (uintptr_t)scratch / sizeof(float) % CACHE_LINE;
    float *const aligned = scratch + (CACHE_LINE - past) % CACHE_LINE;
    float *const second_half = aligned + ops->mel_frames * frontend->n_fft;

    for (size_t t = 0; t < frames; t += ops->mel_frames) {
        const size_t count = ee_size_min(frames - t, ops->mel_frames);
        size_t stride;
        const float *const rows =
            rows_of(frontend, audio, first + t, count, &stride, second_half);

        if (!ops->mel_block(out + t * frontend->mels, frontend, rows, stride, count, aligned)) {
            return 0;
        }
    }
    return 1;
}

static ee_status features(float *out, const ee_frontend *frontend, const ee_utterance *audio,
                          size_t first, size_t frames, float *scratch, const ee_ops *ops)
{
    const ee_status status = ee_frontend_check(frontend);

    if (status != EE_OK) {
        return status;
    }
    /* Room for every sum of positions below. */
    if (audio->count > SIZE_MAX / 2 - 8 * (size_t)EE_MAX_SIZE) {
        return EE_ERR_TOO_LARGE;
    }
    const size_t total = ee_frontend_frames(frontend, audio->count);
    if (first > total || frames > total - first) {
        return EE_ERR_TOO_MANY_FRAMES;
    }
    if (frames == 0) {
        return EE_OK;
    }
    if (out == NULL || (scratch == NULL && !ee_takes_samples(frontend)) || ops == NULL
        || (audio->f32 == NULL && audio->s16 == NULL)) {
        return EE_ERR_ARGUMENT;
    }
    if (audio->f32 != NULL && !samples_finite(frontend, audio, first, frames)) {
        return EE_ERR_NOT_FINITE;
    }
    if (ee_takes_samples(frontend)) {
        ee_waveform(out, frontend, audio, first, frames);
        return EE_OK;
    }
    if (ops->mel_block != NULL) {
        return features_of_blocks(out, frontend, audio, first, frames, scratch, ops)
                   ? EE_OK : EE_ERR_NOT_FINITE;
    }
    float *const v = scratch;
    float *const other = scratch + frontend->n_fft;

    for (size_t t = 0; t < frames; t++) {
        load_frame(v, frontend, audio, first + t);
        const number *const z = transform((number *)v, (number *)other, frontend);
        float *const power = z == (number *)v ? other : v;
        power_spectrum(power, z, frontend);
        if (!mel_features(out + t * frontend->mels, power, frontend)) {
            return EE_ERR_NOT_FINITE;
        }
    }
    return EE_OK;
}

ee_status ee_features_f32(float *out, const ee_frontend *frontend,
                          const float *samples, size_t count, size_t first, size_t frames,
                          float *scratch, const ee_ops *ops)
{
    const ee_utterance audio = {samples, NULL, count};

    return features(out, frontend, &audio, first, frames, scratch, ops);
}

ee_status ee_features_s16(float *out, const ee_frontend *frontend,
                          const int16_t *samples, size_t count, size_t first, size_t frames,
                          float *scratch, const ee_ops *ops)
{
    const ee_utterance audio = {NULL, samples, count};

    return features(out, frontend, &audio, first, frames, scratch, ops);
}
