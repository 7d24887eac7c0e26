/* ee_waveform.h: the samples of an utterance, and front ends that give no more than these. */
#ifndef EE_WAVEFORM_H
#define EE_WAVEFORM_H

#include "ee_frontend.h"

/* One of the two pointers is set. */
typedef struct {
    const float *f32;
    const int16_t *s16;
    size_t count;
} ee_utterance;

static inline float ee_sample_at(const ee_utterance *audio, size_t i)
{
    return audio->f32 != NULL ? audio->f32[i] : (float)audio->s16[i] * (1.0f / 32768.0f);
}

static inline int ee_takes_samples(const ee_frontend *frontend)
{
    return frontend->kind == EE_FRONTEND_WAVEFORM || frontend->kind == EE_FRONTEND_SAMPLES;
}

/* out (frames): samples from `first` on, of finite ones, as the kind of the front end has them. */
void ee_waveform(float *out, const ee_frontend *frontend, const ee_utterance *audio, size_t first,
                 size_t frames);

#endif
