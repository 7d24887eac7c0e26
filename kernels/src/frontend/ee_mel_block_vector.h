/* ee_mel_block_vector.h: the front end with one frame a lane: the steps of ee_frontend.c, operation
 * by operation, over the vectors of an instruction set. No operation mixes lanes, so the bytes are
 * those of one frame at a time.
 *
 * Included where the instruction set is on, with EE_LANES and ee_transpose_rows of
 * ee_vector_<isa>.h. The operators are those of the compiler's vectors: a product and a sum are two
 * operations, for the library is compiled with -ffp-contract=off. */
#ifndef EE_MEL_BLOCK_VECTOR_H
#define EE_MEL_BLOCK_VECTOR_H

#include "ee_frontend.h"

/* A value of each frame. */
typedef float lanes __attribute__((vector_size(4 * EE_LANES), may_alias));
typedef int32_t lanes_bits __attribute__((vector_size(4 * EE_LANES)));
typedef uint32_t lanes_words __attribute__((vector_size(4 * EE_LANES)));

/* A complex number of each frame. */
typedef struct {
    lanes re, im;
} numbers;

/* A complex number of all frames. */
typedef struct {
    float re, im;
} direction;

/* ee_log. Bits of what is not finite, which is refused afterwards, wrap around. */
static inline lanes log_of(lanes x)
{
    const uint32_t sqrt_half = 0x3F3504F3u;
    const lanes_words i = (lanes_words)x - sqrt_half;
    const lanes e = (lanes)__builtin_convertvector((lanes_bits)i >> 23, lanes);
    const lanes m = (lanes)((i & 0x7FFFFFu) + sqrt_half) - 1.0f;
    const lanes z = m * m;
    lanes y = m * 0x1.204376p-4f + -0x1.d7a37p-4f;

    y = y * m + 0x1.de4a34p-4f;
    y = y * m + -0x1.fcba9ep-4f;
    y = y * m + 0x1.23d37ep-3f;
    y = y * m + -0x1.555cap-3f;
    y = y * m + 0x1.999d58p-3f;
    y = y * m + -0x1.fffff8p-3f;
    y = y * m + 0x1.555554p-2f;
    y = (y * m) * z;
    y = y + e * -0x1.bd0106p-13f;
    y = y - 0x1p-1f * z;
    return (m + y) + e * 0x1.63p-1f;
}

/* v: windowed frames, then zeros up to n_fft values. from: the samples of each lane's frame. */
static inline void load_frames(lanes *v, const ee_frontend *frontend, const float *const *from)
{
    const size_t length = frontend->win_length;
    size_t j = 0;

    for (; j + EE_LANES <= length; j += EE_LANES) {
        ee_transpose_rows((float *)(v + j), EE_LANES, from, j);
    }
    for (; j < length; j++) {
        for (size_t l = 0; l < EE_LANES; l++) {
            v[j][l] = from[l][j];
        }
    }
    for (j = 0; j < length; j++) {
        v[j] = (v[j] * frontend->window[j] + 0x1.8p-6f) - 0x1.8p-6f;
    }
    for (; j < frontend->n_fft; j++) {
        v[j] = (lanes){0.0f};
    }
}

static inline numbers sum(numbers a, numbers b)
{
    return (numbers){a.re + b.re, a.im + b.im};
}

static inline numbers difference(numbers a, numbers b)
{
    return (numbers){a.re - b.re, a.im - b.im};
}

static inline numbers turned(numbers z, direction w)
{
    return (numbers){w.re * z.re + w.im * z.im, w.re * z.im - w.im * z.re};
}

static inline direction direction_of(const ee_frontend *frontend, size_t i)
{
    return (direction){frontend->sines[i + frontend->n_fft / 4], frontend->sines[i]};
}

/* A transform of four points of z that lie `apart` numbers from each other, the results turned by w
 * where there is one. */
static inline __attribute__((always_inline)) void
transform_of_four(numbers *z, size_t apart, const direction *w)
{
    const numbers a = z[0], b = z[apart], c = z[2 * apart], d = z[3 * apart];
    const numbers e = sum(a, c), f = difference(a, c), g = sum(b, d);
    const numbers h = {b.im - d.im, d.re - b.re};

    z[0] = sum(e, g);
    z[apart] = w == NULL ? sum(f, h) : turned(sum(f, h), w[0]);
    z[2 * apart] = w == NULL ? difference(e, g) : turned(difference(e, g), w[1]);
    z[3 * apart] = w == NULL ? difference(f, h) : turned(difference(f, h), w[2]);
}

/* The transforms of n_fft/2 numbers, in place: what ee_frontend.c writes to another array in the
 * order of the next pass stays where it came from, so that all fits a first-level cache. The number
 * k is at place[k] in the end. */
static inline void transform(numbers *z, const ee_frontend *frontend)
{
    const size_t half = frontend->n_fft / 2;
    size_t n = half;

    for (; n >= 4; n /= 4) {
        for (size_t first = 0; first < half; first += n) {
            transform_of_four(z + first, n / 4, NULL);
        }
        for (size_t p = 1; p < n / 4; p++) {
            const size_t i = p * (frontend->n_fft / n);
            const direction w[3] = {
                direction_of(frontend, i), direction_of(frontend, 2 * i),
                direction_of(frontend, 3 * i),
            };
            for (size_t first = p; first < half; first += n) {
                transform_of_four(z + first, n / 4, w);
            }
        }
    }
    for (size_t first = 0; n == 2 && first < half; first += 2) {
        const numbers a = z[first], b = z[first + 1];
        z[first] = sum(a, b);
        z[first + 1] = difference(a, b);
    }
}

/* Each pass of `transform` sorts by one more digit of the index, the last one first. */
static inline void find_places(uint32_t *place, size_t half)
{
    size_t count = 1;

    place[0] = 0;
    for (size_t n = half; n > 1; n /= 4) {
        const size_t digits = n == 2 ? 2 : 4;
        for (size_t digit = 1; digit < digits; digit++) {
            for (size_t i = 0; i < count; i++) {
                place[digit * count + i] = place[i] + (uint32_t)(digit * (n / digits));
            }
        }
        count *= digits;
    }
}

static inline lanes square(lanes x)
{
    return x * x;
}

static inline void power_spectra(lanes *power, const numbers *z, const uint32_t *place,
                                 const ee_frontend *frontend)
{
    const size_t half = frontend->n_fft / 2;

    power[0] = square(z[0].re + z[0].im);
    power[half] = square(z[0].re - z[0].im);
    for (size_t k = 1; k <= half / 2; k++) {
        const numbers a = z[place[k]], c = z[place[half - k]];
        const numbers b = {c.re, -c.im};
        const numbers e = sum(a, b);
        const numbers u = turned(difference(a, b), direction_of(frontend, k));

        power[half - k] = (square(e.re - u.im) + square(e.im + u.re)) * 0.25f;
        power[k] = (square(e.re + u.im) + square(e.im - u.re)) * 0.25f;
    }
}

/* y (mels): the features of the frames; 0 when an energy overflows. */
static inline int mel_features(lanes *y, const lanes *power, const ee_frontend *frontend)
{
    const float *weight = frontend->mel_weights;
    const int has_floor = frontend->kind != EE_FRONTEND_MEL;
    const float floor = has_floor ? frontend->log_floor : EE_LEAST_FLOOR;
    const int32_t exponent = 0x7F800000;
    lanes_bits overflow = {0};

    for (uint32_t m = 0; m < frontend->mels; m++) {
        const lanes *const bins = power + frontend->mel_first[m];
        lanes value = (lanes){0.0f} + floor;

        for (uint32_t j = 0; j < frontend->mel_count[m]; j++) {
            value = value + bins[j] * *weight++;
        }
        overflow |= ((lanes_bits)value & exponent) == exponent;
        if (has_floor) {
            value = log_of(value);
            if (frontend->mean != NULL) {
                value = value - frontend->mean[m];
            }
            if (frontend->scale != NULL) {
                value = value * frontend->scale[m];
            }
        } else {
            value = value - floor;
        }
        y[m] = value;
    }
    int32_t any = 0;
    for (size_t l = 0; l < EE_LANES; l++) {
        any |= overflow[l];
    }
    return any == 0;
}

/* out[t * mels + m] = lane t of y[m] */
static inline void store_features(float *out, const lanes *y, size_t mels, size_t frames)
{
    size_t m = 0;

    for (; frames == EE_LANES && m + EE_LANES <= mels; m += EE_LANES) {
        const float *rows[EE_LANES];

        for (size_t i = 0; i < EE_LANES; i++) {
            rows[i] = (const float *)(y + m + i);
        }
        ee_transpose_rows(out + m, mels, rows, 0);
    }
    for (; m < mels; m++) {
        for (size_t t = 0; t < frames; t++) {
            out[t * mels + m] = y[m][t];
        }
    }
}

static inline int mel_block(float *out, const ee_frontend *given, const float *rows,
                            size_t stride, size_t frames, float *scratch)
{
    const ee_frontend copy = *given; /* which no store can change, as the compiler sees */
    const ee_frontend *const frontend = &copy;
    const size_t half = frontend->n_fft / 2;
    numbers *const z = (numbers *)(void *)scratch;
    /* Behind them the rows, if they lie in scratch, and after the first step these. */
    lanes *const power = (lanes *)(z + half);
    uint32_t *const place = (uint32_t *)(void *)(power + half + 1);
    const float *from[EE_LANES];

    for (size_t l = 0; l < EE_LANES; l++) {
        from[l] = rows + (l < frames ? l : frames - 1) * stride;
    }
    load_frames((lanes *)z, frontend, from);
    transform(z, frontend);
    find_places(place, half);
    power_spectra(power, z, place, frontend);
    if (!mel_features((lanes *)z, power, frontend)) {
        return 0;
    }
    store_features(out, (const lanes *)z, frontend->mels, frames);
    return 1;
}

#endif
