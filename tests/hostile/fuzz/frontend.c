/* The front end: sizes and tables of any kind over any samples. The input is words: the fields of
 * ee_frontend up to log_floor (n_fft is 1 where features are samples), the kind of samples, the
 * first frame and the frames wanted, what the tables hold; then samples. */
#include "ee_frontend.h"
#include "fuzz.h"

enum {
    MELS, N_FFT, WIN_LENGTH, HOP_LENGTH, PAD, LOG_FLOOR, KIND, FIRST, FRAMES, TABLES, WORDS,
    WORK = 1 << 17 /* frames times FFT */
};

static void *floats(size_t count, fuzz_random *random)
{
    float *const made = fuzz_memory(count * sizeof(*made), sizeof(void *));

    EXPECT(made != NULL);
    for (size_t i = 0; i < count; i++) {
        const uint32_t odd = fuzz_below(random, 64) == 0 ? fuzz_float(random) : 0;
        made[i] = (float)(int32_t)fuzz_next(random) * 0x1p-31f;
        if (odd != 0) {
            memcpy(&made[i], &odd, sizeof(odd));
        }
    }
    return made;
}

static void run(const ee_frontend *frontend, const uint32_t *words, const unsigned char *samples,
                size_t bytes)
{
    const size_t size = words[KIND] % 2 == 0 ? sizeof(float) : sizeof(int16_t);
    const size_t count = bytes / size;
    const size_t all = ee_frontend_frames(frontend, count);
    const size_t first = words[FIRST];
    const size_t most = WORK / frontend->n_fft;
    size_t frames = words[FRAMES] < most ? words[FRAMES] : most;

    if (words[KIND] % 4 < 2 && first <= all) {
        frames = frames < all - first ? frames : all - first;
    }
    float *const out = fuzz_memory(frames * frontend->mels * sizeof(*out), sizeof(void *));
    const ee_ops *const ops = ee_ops_for(words[TABLES] % 2 == 0 ? EE_ISA_C : ee_isa_best());
    float *const scratch =
        fuzz_memory(ee_frontend_scratch(frontend, ops) * sizeof(*scratch), sizeof(void *));
    void *const given = fuzz_memory(count * size, sizeof(void *));
    ee_status status;

    if (out != NULL && scratch != NULL && given != NULL) {
        memcpy(given, samples, count * size);
        status = size == sizeof(float)
            ? ee_features_f32(out, frontend, given, count, first, frames, scratch, ops)
            : ee_features_s16(out, frontend, given, count, first, frames, scratch, ops);
        EXPECT((status == EE_ERR_TOO_MANY_FRAMES) == (first > all || frames > all - first));
        EXPECT(status == EE_OK || status == EE_ERR_TOO_MANY_FRAMES || status == EE_ERR_NOT_FINITE);
    }
    free(given);
    free(scratch);
    free(out);
}

void fuzz_one(const unsigned char *data, size_t size)
{
    uint32_t words[WORDS];
    ee_frontend f = {0};

    if (size < sizeof(words)) {
        return;
    }
    memcpy(words, data, sizeof(words));
    fuzz_random random = {words[TABLES]};
    f.mels = words[MELS];
    f.n_fft = words[N_FFT];
    f.win_length = words[WIN_LENGTH];
    f.hop_length = words[HOP_LENGTH];
    f.pad = words[PAD];
    memcpy(&f.log_floor, &words[LOG_FLOOR], sizeof(f.log_floor));
    if (f.n_fft == 1) {
        f.kind = words[TABLES] / 2 % 2 == 0 ? EE_FRONTEND_SAMPLES : EE_FRONTEND_WAVEFORM;
        if (ee_frontend_check(&f) == EE_OK) {
            run(&f, words, data + sizeof(words), size - sizeof(words));
        }
        return;
    }
    f.kind = f.log_floor == 0.0f ? EE_FRONTEND_MEL : EE_FRONTEND_LOGMEL;
    EXPECT(ee_frontend_check(&f) == EE_ERR_CONFIG || ee_frontend_check(&f) == EE_ERR_ARGUMENT);
    if (ee_frontend_check(&f) == EE_ERR_CONFIG) {
        return;
    }
    const size_t bins = f.n_fft / 2 + 1;
    uint16_t *const first = fuzz_memory(f.mels * sizeof(*first), sizeof(void *));
    uint16_t *const count = fuzz_memory(f.mels * sizeof(*count), sizeof(void *));
    int beyond = 0;
    size_t weights = 0;
    for (uint32_t m = 0; m < f.mels; m++) {
        first[m] = (uint16_t)fuzz_below(&random, bins);
        const size_t left = bins - first[m];
        /* The last one sometimes has a bin too many. */
        const int odd = words[TABLES] % 8 == 0 && m + 1 == f.mels;
        const size_t most = odd ? left + 1 : left < 64 ? left : 64;
        count[m] = (uint16_t)fuzz_below(&random, most + 1);
        beyond |= count[m] > left;
        weights += count[m];
    }
    f.mel_first = first;
    f.mel_count = count;
    f.window = floats(f.win_length, &random);
    f.sines = floats(f.n_fft, &random);
    f.mean = floats(f.mels, &random);
    f.scale = floats(f.mels, &random);
    f.mel_weights = floats(beyond ? 1 : weights, &random);
    const ee_status status = ee_frontend_check(&f);
    EXPECT(status == (beyond ? EE_ERR_CONFIG : EE_OK));
    if (!beyond) {
        run(&f, words, data + sizeof(words), size - sizeof(words));
    }
    free((void *)(uintptr_t)f.mel_weights);
    free((void *)(uintptr_t)f.scale);
    free((void *)(uintptr_t)f.mean);
    free((void *)(uintptr_t)f.sines);
    free((void *)(uintptr_t)f.window);
    free(count);
    free(first);
}

size_t fuzz_mutate(unsigned char *data, size_t size, size_t capacity, fuzz_random *random)
{
    for (uint32_t i = fuzz_below(random, 4); size >= 4 * WORDS && i > 0; i--) {
        unsigned char *const at = data + 4 * (size_t)fuzz_below(random, WORDS);

        switch (fuzz_below(random, 6)) {
        case 0:
            fuzz_change_float(data + 4 * WORDS, size - 4 * WORDS, random);
            break;
        case 1:
            size = fuzz_change_size(data, size, capacity, random);
            break;
        case 2:
            fuzz_put(data + 4 * N_FFT, (uint32_t)4 << fuzz_below(random, 16));
            break;
        default:
            fuzz_put(at, fuzz_value(random, fuzz_get(at)));
        }
    }
    return size;
}
