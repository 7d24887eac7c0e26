/* ee_frontend.h: features from samples (ee_ref/frontend), bit for bit the same on every target with
 * IEEE 754 floats: mel features (exact.py), or the samples themselves (waveform.py).
 *
 *   samples -> windowed frame -> real FFT -> power -> mel energies [-> log -> normalised]
 *
 * The tables come with the model (a flash image holds them), so no target computes a sine. Every
 * operation, its order and its rounding are written in docs/numerics.md, "Front end".
 */
#ifndef EE_FRONTEND_H
#define EE_FRONTEND_H

#include <stddef.h>
#include <stdint.h>

#include "ee.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Sums of mel energies begin here or at a larger log_floor: less would not count, subnormal or
 * not. */
#define EE_LEAST_FLOOR 0x1p-70f

/* cdef:begin */
/* Kinds of front ends. Of the mel kinds, each but that of bare energies has a floor, a mean and a
 * scale. */
enum {
    EE_FRONTEND_MEL = 0,      /* mel energies */
    EE_FRONTEND_LOGMEL = 1,   /* their logarithms, normalised */
    EE_FRONTEND_WAVEFORM = 2, /* samples, brought to zero mean and unit variance */
    EE_FRONTEND_SAMPLES = 3,  /* samples as they are */
    EE_FRONTEND_KINDS
};

/* A front end: sizes and tables. The tables stay the caller's, are only read, and outlive it. One of
 * samples has no tables, no pad and no floor, and its sizes are 1. */
struct ee_frontend {
    uint32_t kind;       /* EE_FRONTEND_MEL, ... */
    uint32_t mels;       /* 1..n_fft/2 + 1 */
    uint32_t n_fft;      /* a power of two in 4..EE_MAX_SIZE */
    uint32_t win_length; /* 1..n_fft */
    uint32_t hop_length; /* 1..EE_MAX_SIZE */
    uint32_t pad;        /* zeros before and after the samples, at most EE_MAX_SIZE */
    float log_floor;     /* at least 2^-70; 0 without a floor */
    const float *window;       /* (win_length) */
    const float *sines;        /* (n_fft): sin(2 pi i/n_fft) */
    const uint16_t *mel_first; /* (mels): first FFT bin of each filter */
    const uint16_t *mel_count; /* (mels): its bins */
    const float *mel_weights;  /* one filter after another */
    const float *mean;         /* (mels) or NULL for zeros; not without a floor */
    const float *scale;        /* (mels) or NULL for ones; not without a floor */
};

/* EE_OK, EE_ERR_ARGUMENT for a missing table, or EE_ERR_CONFIG for a size out of its range. */
ee_status ee_frontend_check(const ee_frontend *frontend);

/* Frames of features of `count` samples: 1 + (count + 2 pad)/hop_length, of a front end of samples
 * `count`; 0 for none. */
size_t ee_frontend_frames(const ee_frontend *frontend, size_t count);

/* Floats of scratch that the functions below use with these ops: 2 n_fft where they do one frame
 * after another, none for samples, where scratch may be NULL. */
size_t ee_frontend_scratch(const ee_frontend *frontend, const ee_ops *ops);

/* Features (frames, mels) of the frames first .. first + frames - 1 of an utterance of `count`
 * samples, full scale at 1; all of them at once or a few at a time, the result is the same.
 * EE_ERR_TOO_MANY_FRAMES when the utterance has fewer. EE_ERR_NOT_FINITE, before anything is
 * written, for NaN or infinity among the samples that these frames read, or of normalised samples
 * among all; also, with `out` written in part, when the power of frames overflows. ops: as for
 * ee_model_open; the bytes are the same for all. */
ee_status ee_features_f32(float *out, const ee_frontend *frontend,
                          const float *samples, size_t count, size_t first, size_t frames,
                          float *scratch, const ee_ops *ops);

/* The same of 16-bit samples, which stand for samples[i]/32768. */
ee_status ee_features_s16(float *out, const ee_frontend *frontend,
                          const int16_t *samples, size_t count, size_t first, size_t frames,
                          float *scratch, const ee_ops *ops);
/* cdef:end */

#ifdef __cplusplus
}
#endif

#endif
