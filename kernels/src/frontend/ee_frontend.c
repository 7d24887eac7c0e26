#include "ee_frontend.h"

#include <float.h>

#include "../common/ee_exact.h"
#include "../common/ee_size.h"

/* The samples of an utterance: one of the two pointers is set. */
typedef struct {
    const float *f32;
    const int16_t *s16;
    size_t count;
} utterance;

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
    if (!in_range(frontend->n_fft, 4, EE_MAX_SIZE) || (frontend->n_fft & (frontend->n_fft - 1)) != 0
        || !in_range(frontend->mels, 1, frontend->n_fft / 2 + 1)
        || !in_range(frontend->win_length, 1, frontend->n_fft)
        || !in_range(frontend->hop_length, 1, EE_MAX_SIZE) || frontend->pad > EE_MAX_SIZE) {
        return EE_ERR_CONFIG;
    }
    /* Written so that NaN fails too. */
    if (frontend->log_floor != 0.0f
        && !(frontend->log_floor >= FLT_MIN && frontend->log_floor <= FLT_MAX)) {
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
    if (count == 0) {
        return 0;
    }
    return 1 + ee_size_add(count, 2 * (size_t)frontend->pad) / frontend->hop_length;
}

size_t ee_frontend_scratch(const ee_frontend *frontend)
{
    return frontend->n_fft + bins_of(frontend);
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
static float signal_at(const ee_frontend *frontend, const utterance *audio, size_t position)
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
    i -= frontend->pad;
    return audio->f32 != NULL ? audio->f32[i] : (float)audio->s16[i] * (1.0f / 32768.0f);
}

/* v, as the complex numbers of the half-size transform in bit-reversed order. */
static void load_frame(float *z, const ee_frontend *frontend, const utterance *audio, size_t frame)
{
    const size_t half = frontend->n_fft / 2;
    const size_t start = frame * frontend->hop_length;
    size_t reversed = 0;

    for (size_t n = 0; n < half; n++) {
        for (size_t part = 0; part < 2; part++) {
            const size_t j = 2 * n + part;
            z[2 * reversed + part] = j < frontend->win_length
                ? signal_at(frontend, audio, start + j) * frontend->window[j] : 0.0f;
        }
        /* Count on, from the highest bit down. */
        size_t bit = half >> 1;
        for (; (reversed & bit) != 0; bit >>= 1) {
            reversed ^= bit;
        }
        reversed |= bit;
    }
}

/* cos(2 pi i/n_fft) and sin(2 pi i/n_fft), i <= n_fft/2, from the first quarter of the sine. */
static float cosine(const ee_frontend *frontend, size_t i)
{
    const size_t quarter = frontend->n_fft / 4;

    return i <= quarter ? frontend->sines[quarter - i] : -frontend->sines[i - quarter];
}

static float sine(const ee_frontend *frontend, size_t i)
{
    return frontend->sines[i <= frontend->n_fft / 4 ? i : frontend->n_fft / 2 - i];
}

static void transform(float *z, const ee_frontend *frontend)
{
    const size_t half = frontend->n_fft / 2;

    for (size_t size = 2; size <= half; size *= 2) {
        for (size_t k = 0; k < size / 2; k++) {
            const float c = cosine(frontend, k * (frontend->n_fft / size));
            const float s = sine(frontend, k * (frontend->n_fft / size));

            for (size_t block = k; block < half; block += size) {
                float *const a = z + 2 * block;
                float *const b = a + size;
                const float real = c * b[0] + s * b[1];
                const float imaginary = c * b[1] - s * b[0];

                b[0] = a[0] - real;
                b[1] = a[1] - imaginary;
                a[0] = a[0] + real;
                a[1] = a[1] + imaginary;
            }
        }
    }
}

static void power_spectrum(float *power, const float *z, const ee_frontend *frontend)
{
    const size_t half = frontend->n_fft / 2;
    const float sum = z[0] + z[1];
    const float difference = z[0] - z[1];

    power[0] = sum * sum;
    power[half] = difference * difference;
    for (size_t k = 1; k <= half / 2; k++) {
        const float *const a = z + 2 * k;
        const float *const b = z + 2 * (half - k);
        const float c = cosine(frontend, k);
        const float s = sine(frontend, k);
        const float er = a[0] + b[0];
        const float ei = a[1] - b[1];
        const float dr = a[0] - b[0];
        const float di = a[1] + b[1];
        const float tr = c * di - s * dr;
        const float ti = c * dr + s * di;

        power[half - k] = ((er - tr) * (er - tr) + (ei + ti) * (ei + ti)) * 0.25f;
        power[k] = ((er + tr) * (er + tr) + (ei - ti) * (ei - ti)) * 0.25f;
    }
}

/* The features of one frame; 0 when an energy overflows. */
static int mel_features(float *out, const float *power, const ee_frontend *frontend)
{
    const float *weight = frontend->mel_weights;

    for (uint32_t m = 0; m < frontend->mels; m++) {
        const float *const bins = power + frontend->mel_first[m];
        float value = 0.0f;

        for (uint32_t j = 0; j < frontend->mel_count[m]; j++) {
            value = value + bins[j] * *weight++;
        }
        if (frontend->log_floor > 0.0f) {
            value = value + frontend->log_floor;
        }
        if (!ee_is_finite(value)) {
            return 0;
        }
        if (frontend->log_floor > 0.0f) {
            value = ee_log(value);
            if (frontend->mean != NULL) {
                value = value - frontend->mean[m];
            }
            if (frontend->scale != NULL) {
                value = value * frontend->scale[m];
            }
        }
        out[m] = value;
    }
    return 1;
}

/* Whether the float samples that a range of frames reads are finite; frames >= 1. */
static int samples_finite(const ee_frontend *frontend, const utterance *audio,
                          size_t first, size_t frames)
{
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
    for (size_t i = ee_size_max(begin, frontend->pad); i <= end; i++) {
        if (i - frontend->pad >= audio->count) {
            break;
        }
        if (!ee_is_finite(audio->f32[i - frontend->pad])) {
            return 0;
        }
    }
    return 1;
}

static ee_status features(float *out, const ee_frontend *frontend, const utterance *audio,
                          size_t first, size_t frames, float *scratch)
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
    if (out == NULL || scratch == NULL || (audio->f32 == NULL && audio->s16 == NULL)) {
        return EE_ERR_ARGUMENT;
    }
    if (audio->f32 != NULL && !samples_finite(frontend, audio, first, frames)) {
        return EE_ERR_NOT_FINITE;
    }
    float *const z = scratch;
    float *const power = scratch + frontend->n_fft;

    for (size_t t = 0; t < frames; t++) {
        load_frame(z, frontend, audio, first + t);
        transform(z, frontend);
        power_spectrum(power, z, frontend);
        if (!mel_features(out + t * frontend->mels, power, frontend)) {
            return EE_ERR_NOT_FINITE;
        }
    }
    return EE_OK;
}

ee_status ee_features_f32(float *out, const ee_frontend *frontend,
                          const float *samples, size_t count, size_t first, size_t frames,
                          float *scratch)
{
    const utterance audio = {samples, NULL, count};

    return features(out, frontend, &audio, first, frames, scratch);
}

ee_status ee_features_s16(float *out, const ee_frontend *frontend,
                          const int16_t *samples, size_t count, size_t first, size_t frames,
                          float *scratch)
{
    const utterance audio = {NULL, samples, count};

    return features(out, frontend, &audio, first, frames, scratch);
}
