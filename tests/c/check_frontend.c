/* The front end: the bytes of a small one, a large one against a plain Fourier sum, and the edges
 * of every array. */
#include "check.h"
#include "ee_frontend.h"

#ifdef __SSE2__
#include <xmmintrin.h>
#endif

/* A front end of 16 points with tables written out: its features are the same bytes everywhere. */
static const float WINDOW[12] = {
    0x0p+0f, 0x1.126146p-4f, 0x1p-2f, 0x1p-1f, 0x1.8p-1f, 0x1.ddb3d8p-1f,
    0x1p+0f, 0x1.ddb3d8p-1f, 0x1.8p-1f, 0x1p-1f, 0x1p-2f, 0x1.126146p-4f,
};
static const float SINES[16] = {
    0x0p+0f, 0x1.87de2cp-2f, 0x1.6a09e6p-1f, 0x1.d906bcp-1f, 0x1p+0f,
    0x1.d906bcp-1f, 0x1.6a09e6p-1f, 0x1.87de2cp-2f, 0x0p+0f, -0x1.87de2cp-2f,
    -0x1.6a09e6p-1f, -0x1.d906bcp-1f, -0x1p+0f, -0x1.d906bcp-1f, -0x1.6a09e6p-1f,
    -0x1.87de2cp-2f,
};
static const uint16_t MEL_FIRST[3] = {1, 2, 4};
static const uint16_t MEL_COUNT[3] = {2, 3, 4};
static const float MEL_WEIGHTS[9] = {
    0.75f, 0.25f, 0.5f, 1.0f, 0.25f, 0.375f, 1.0f, 0.625f, 0.125f,
};
static const float MEAN[3] = {-4.0f, -3.5f, -5.25f};
static const float SCALE[3] = {0.25f, 0.5f, 0.375f};

static const ee_frontend SMALL = {
    .kind = EE_FRONTEND_LOGMEL, .mels = 3, .n_fft = 16, .win_length = 12, .hop_length = 5,
    .pad = 4, .log_floor = 1e-6f,
    .window = WINDOW, .sines = SINES, .mel_first = MEL_FIRST, .mel_count = MEL_COUNT,
    .mel_weights = MEL_WEIGHTS, .mean = MEAN, .scale = SCALE,
};
static const uint32_t SMALL_MEL_CRC = 0x3d5e821e, SMALL_LOG_CRC = 0x353efdc4;

/* Floats of scratch for n_fft points in the widest vectors. */
#define SCRATCH(n_fft) (16 * 2 * (n_fft) + 16)

enum { COUNT = 203 };
static int16_t samples[COUNT];
static const ee_ops *ops;

static void check_bytes(void)
{
    ee_frontend frontend = SMALL;
    float out[64 * 3], scratch[SCRATCH(16)];
    const size_t frames = ee_frontend_frames(&frontend, COUNT);

    CHECK(frames == 1 + (COUNT + 8) / 5, "%zu frames", frames);
    CHECK(ee_frontend_scratch(&frontend, ops) <= SCRATCH(16), "scratch");
    CHECK(ee_frontend_scratch(&frontend, ee_ops_for(EE_ISA_C)) == 32, "scratch of one frame");
    CHECK(ee_features_s16(out, &frontend, samples, COUNT, 0, frames, scratch, ops) == EE_OK, "run");
    uint32_t crc = ee_crc32_c(0, out, frames * 3 * sizeof(float));
    CHECK(crc == SMALL_LOG_CRC, "log: 0x%08lx", (unsigned long)crc);

    frontend.kind = EE_FRONTEND_MEL;
    frontend.log_floor = 0.0f;
    CHECK(ee_features_s16(out, &frontend, samples, COUNT, 0, frames, scratch, ops) == EE_OK, "run");
    crc = ee_crc32_c(0, out, frames * 3 * sizeof(float));
    CHECK(crc == SMALL_MEL_CRC, "mel: 0x%08lx", (unsigned long)crc);
}

/* Arrays that end at unreadable pages; any number of frames from anywhere gives the same. */
static void check_ranges(size_t count)
{
    const size_t frames = ee_frontend_frames(&SMALL, count);
    guarded audio = guarded_floats(count), whole = guarded_floats(frames * 3);
    guarded scratch = guarded_floats(ee_frontend_scratch(&SMALL, ops));

    for (size_t i = 0; i < count; i++) {
        audio.data[i] = (float)samples[i] / 32768.0f;
    }
    CHECK(ee_features_f32(whole.data, &SMALL, audio.data, count, 0, frames, scratch.data, ops)
          == EE_OK, "%zu samples", count);
    for (size_t length = 0; length <= 3; length++) {
        guarded part = guarded_floats(length * 3);
        for (size_t first = 0; first + length <= frames; first++) {
            CHECK(ee_features_f32(part.data, &SMALL, audio.data, count, first, length,
                                  scratch.data, ops) == EE_OK, "frames %zu of %zu", first, frames);
            CHECK(length == 0 || memcmp(part.data, whole.data + first * 3,
                                        length * 3 * sizeof(float)) == 0, "frame %zu", first);
        }
        CHECK(sentinels_intact(&part), "before the features");
        guarded_free(&part);
    }
    CHECK(sentinels_intact(&whole) && sentinels_intact(&scratch), "before the arrays");
    CHECK(ee_features_f32(whole.data, &SMALL, audio.data, count, frames, 1, scratch.data, ops)
          == EE_ERR_TOO_MANY_FRAMES, "a frame too many");
    CHECK(ee_features_f32(whole.data, &SMALL, audio.data, count, SIZE_MAX, 1, scratch.data, ops)
          == EE_ERR_TOO_MANY_FRAMES, "absurdly many frames");

    /* A sample that is no number concerns the frames that read it, and no others. */
    for (size_t bad = 0; bad < count; bad++) {
        const float right = audio.data[bad];
        size_t refused = 0;
        audio.data[bad] = bad % 2 == 0 ? NAN : INFINITY;
        for (size_t first = 0; first < frames; first++) {
            whole.data[0] = SENTINEL;
            const ee_status status = ee_features_f32(whole.data, &SMALL, audio.data, count, first,
                                                     1, scratch.data, ops);
            CHECK(status == EE_OK || status == EE_ERR_NOT_FINITE, "frame %zu", first);
            refused += status == EE_ERR_NOT_FINITE ? 1 : 0;
            CHECK(status == EE_OK || whole.data[0] == SENTINEL, "written before it was checked");
        }
        CHECK(refused >= 1 && refused <= 8, "sample %zu of %zu: %zu frames", bad, count, refused);
        audio.data[bad] = right;
    }
    guarded_free(&audio);
    guarded_free(&whole);
    guarded_free(&scratch);
}

/* 512 points, every bin a filter of its own: the features are the power spectrum. */
enum { POINTS = 512, BINS = POINTS / 2 + 1 };
static float window[POINTS], sines[POINTS], weights[BINS], audio[2 * POINTS], work[SCRATCH(POINTS)];
static uint16_t first_bin[BINS], one_bin[BINS];
static const double TURN = 6.283185307179586 / POINTS;

static ee_frontend spectrum_frontend(void)
{
    for (size_t i = 0; i < POINTS; i++) {
        window[i] = (float)(0.5 - 0.5 * cos(TURN * (double)i));
        sines[i] = (float)(rint(sin(TURN * (double)i) * 0x1p24) * 0x1p-24);
    }
    for (size_t k = 0; k < BINS; k++) {
        first_bin[k] = (uint16_t)k;
        one_bin[k] = 1;
        weights[k] = 1.0f;
    }
    return (ee_frontend){
        .mels = BINS, .n_fft = POINTS, .win_length = POINTS, .hop_length = POINTS / 2,
        .window = window, .sines = sines, .mel_first = first_bin, .mel_count = one_bin,
        .mel_weights = weights,
    };
}

/* Against its formula in double. */
static void check_spectrum(void)
{
    static float out[BINS];
    const ee_frontend frontend = spectrum_frontend();
    double largest = 0.0, error = 0.0;

    for (size_t i = 0; i < 2 * POINTS; i++) {
        audio[i] = random_float() + 0.5f;
    }
    /* Frame 1 is centred on sample POINTS/2: it begins at the first one. */
    CHECK(ee_features_f32(out, &frontend, audio, 2 * POINTS, 1, 1, work, ops) == EE_OK, "run");
    for (size_t k = 0; k < BINS; k++) {
        double real = 0.0, imaginary = 0.0;
        for (size_t i = 0; i < POINTS; i++) {
            const double v = (double)(audio[i] * window[i]);
            real += v * cos(TURN * (double)(i * k % POINTS));
            imaginary -= v * sin(TURN * (double)(i * k % POINTS));
        }
        const double power = real * real + imaginary * imaginary;
        largest = fmax(largest, power);
        error = fmax(error, fabs((double)out[k] - power));
    }
    CHECK(error <= 1e-6 * largest, "error %g of %g", error, largest);
}

#ifdef __SSE2__
/* A unit that takes and gives zeros for subnormal numbers computes the same bytes, of loud samples
 * and of subnormal ones. */
static void check_flushed(void)
{
    enum { FRAMES = 5, FLUSH = 0x8040 };
    static float out[2][FRAMES * BINS];
    ee_frontend frontend = spectrum_frontend();

    for (int exponent = 4; exponent > -150; exponent--) {
        for (size_t i = 0; i < 2 * POINTS; i++) {
            /* A beat of one sample, silence, few levels, many. */
            const float x = random_float();
            const float kinds[4] = {i % 256 == 3 ? 1.0f : 0.0f, 0.0f, rintf(4.0f * x), x};
            audio[i] = ldexpf(kinds[i / (POINTS / 2)], exponent);
        }
        for (int logarithm = 0; logarithm < 2; logarithm++) {
            frontend.kind = logarithm ? EE_FRONTEND_LOGMEL : EE_FRONTEND_MEL;
            frontend.log_floor = logarithm ? 0x1p-70f : 0.0f;
            for (unsigned flush = 0; flush < 2; flush++) {
                const unsigned before = _mm_getcsr();
                _mm_setcsr(flush ? before | FLUSH : before & ~(unsigned)FLUSH);
                const ee_status status = ee_features_f32(out[flush], &frontend, audio, 2 * POINTS,
                                                         0, FRAMES, work, ops);
                _mm_setcsr(before);
                CHECK(status == EE_OK, "run");
            }
            CHECK(memcmp(out[0], out[1], sizeof(out[0])) == 0, "samples of 2^%d", exponent);
        }
    }
}
#endif

static void expect(ee_status expected, const ee_frontend *frontend, const char *what)
{
    float out[3] = {0}, scratch[SCRATCH(16)];

    CHECK(ee_frontend_check(frontend) == expected, "%s", what);
    CHECK(ee_features_s16(out, frontend, samples, COUNT, 0, 1, scratch, ops) == expected, "%s",
          what);
}

static void check_refusals(void)
{
    const uint16_t far[3] = {0, 0, 9};
    float out[3], scratch[SCRATCH(16)];
    ee_frontend wrong;

    expect(EE_OK, &SMALL, "small");
    expect(EE_ERR_ARGUMENT, NULL, "no front end");
#define EXPECT(status, field, value) \
    wrong = SMALL; \
    wrong.field = value; \
    expect(status, &wrong, #field " = " #value)
    EXPECT(EE_ERR_CONFIG, n_fft, 0);
    EXPECT(EE_ERR_CONFIG, n_fft, 2);
    EXPECT(EE_ERR_CONFIG, n_fft, 24);
    EXPECT(EE_ERR_CONFIG, n_fft, 2 * EE_MAX_SIZE);
    EXPECT(EE_ERR_CONFIG, mels, 0);
    EXPECT(EE_ERR_CONFIG, mels, 10);
    EXPECT(EE_ERR_CONFIG, win_length, 0);
    EXPECT(EE_ERR_CONFIG, win_length, 17);
    EXPECT(EE_ERR_CONFIG, hop_length, 0);
    EXPECT(EE_ERR_CONFIG, pad, EE_MAX_SIZE + 1);
    EXPECT(EE_ERR_CONFIG, log_floor, NAN);
    EXPECT(EE_ERR_CONFIG, log_floor, -1e-6f);
    EXPECT(EE_ERR_CONFIG, log_floor, INFINITY);
    EXPECT(EE_ERR_CONFIG, log_floor, 0x1.fffffep-71f);
    EXPECT(EE_OK, log_floor, 0x1p-70f);
    EXPECT(EE_ERR_CONFIG, log_floor, 0.0f);
    EXPECT(EE_ERR_CONFIG, kind, EE_FRONTEND_MEL);
    EXPECT(EE_ERR_CONFIG, kind, EE_FRONTEND_KINDS);
    EXPECT(EE_ERR_CONFIG, mel_first, far);
    EXPECT(EE_ERR_ARGUMENT, window, NULL);
    EXPECT(EE_ERR_ARGUMENT, sines, NULL);
    EXPECT(EE_ERR_ARGUMENT, mel_first, NULL);
    EXPECT(EE_ERR_ARGUMENT, mel_count, NULL);
    EXPECT(EE_ERR_ARGUMENT, mel_weights, NULL);
#undef EXPECT
    CHECK(ee_features_s16(NULL, &SMALL, samples, COUNT, 0, 1, scratch, ops) == EE_ERR_ARGUMENT,
          "out");
    CHECK(ee_features_s16(out, &SMALL, NULL, COUNT, 0, 1, scratch, ops) == EE_ERR_ARGUMENT,
          "samples");
    CHECK(ee_features_s16(out, &SMALL, samples, COUNT, 0, 1, NULL, ops) == EE_ERR_ARGUMENT,
          "scratch");
    CHECK(ee_features_s16(out, &SMALL, samples, COUNT, 0, 1, scratch, NULL) == EE_ERR_ARGUMENT,
          "ops");
    CHECK(ee_features_s16(out, &SMALL, samples, SIZE_MAX, 0, 1, scratch, ops) == EE_ERR_TOO_LARGE,
          "absurdly many samples");
    CHECK(ee_features_s16(NULL, &SMALL, NULL, 0, 0, 0, NULL, ops) == EE_OK, "no samples");
    CHECK(ee_frontend_frames(&SMALL, 0) == 0, "no samples");

    float loud[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        loud[i] = 1e25f * (float)(1 + i % 3);
    }
    CHECK(ee_features_f32(out, &SMALL, loud, COUNT, 5, 1, scratch, ops) == EE_ERR_NOT_FINITE,
          "loud");
}

static void check_all(void)
{
    check_bytes();
    const size_t counts[] = {1, 2, 8, 9, 17, 60, COUNT};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        check_ranges(counts[i]);
    }
    check_spectrum();
#ifdef __SSE2__
    check_flushed();
#endif
    check_refusals();
}

int main(void)
{
    for (size_t i = 0; i < COUNT; i++) {
        samples[i] = (int16_t)(random_float() * 32767.0f);
    }
    for (int isa = 0; isa <= (int)ee_isa_best(); isa++) {
        ops = ee_ops_for((ee_isa)isa);
        if (ops != NULL) {
            check_all();
        }
    }
    return check_result("check_frontend");
}
