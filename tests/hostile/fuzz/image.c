/* Flash images: what opens is run from samples to text, exit by exit. The input is an image. */
#include "ee_decoder.h"
#include "ee_exits.h"
#include "ee_image.h"
#include "sign.h"

enum { SAMPLES = 700, MOST_FRAMES = 48, TEXT_BYTES = 24 };

/* Portable C or the best kernels of this machine. */
static const ee_ops *some_ops(uint32_t number)
{
    return ee_ops_for(number % 2 == 0 ? EE_ISA_C : ee_isa_best());
}

static void use_exit(const ee_image *image, const ee_output *out, uint32_t *labels,
                     const ee_ops *ops)
{
    const ee_policy policy = {EE_POLICY_ENTROPY, 0, 0.5f};
    const size_t rows = out->rows, vocab = out->columns;
    const float *const log_probs = out->data;
    size_t count = 0, length = 0;
    ee_token *const tokens = fuzz_memory(rows * sizeof(*tokens), sizeof(void *));
    char *const text = fuzz_memory(TEXT_BYTES, sizeof(void *));
    ee_scores scores;
    int stop;
    float score;

    ee_policy_stop(&policy, out->exit, log_probs, rows, vocab, &stop, &score, ops);
    ee_exit_scores(&scores, labels, NULL, log_probs, rows, vocab, image->blank, ops);
    if (ee_greedy(tokens, rows, &count, log_probs, rows, vocab, image->blank) == EE_OK) {
        EXPECT(count <= rows);
        const ee_status status = ee_text(text, TEXT_BYTES, &length, &image->labels, tokens, count);
        EXPECT(status == (length < TEXT_BYTES ? EE_OK : EE_ERR_BUFFER_TOO_SMALL));
        EXPECT(strlen(text) == (length < TEXT_BYTES ? length : TEXT_BYTES - 1)
               || memchr(image->labels.text, 0, image->labels.ends[vocab - 1]) != NULL);
    }
    free(text);
    free(tokens);
}

/* Some labels by the decoder of an exit, if it has one. */
static void use_decoder(const ee_image *image, const ee_output *out)
{
    ee_decoder *decoder = NULL;
    const float *log_probs;
    size_t bytes = 0;

    if (out->rows == 0
        || ee_decoder_size(&image->config, out->rows, 1, 2, &bytes) != EE_OK) {
        return;
    }
    void *const arena = fuzz_memory(bytes, EE_MEMORY_ALIGNMENT);
    if (arena != NULL
        && ee_decoder_open(&decoder, image->model, out->exit, out->hidden, out->rows, 1, 2, arena,
                           bytes) == EE_OK) {
        const uint32_t labels[2] = {image->config.start_token, image->config.end_token};
        const uint32_t parents[2] = {0, 0};

        EXPECT(ee_decoder_step(decoder, &image->config.pad_token, parents, 1, &log_probs)
               == EE_ERR_RANGE);
        EXPECT(ee_decoder_step(decoder, labels, parents, 2, &log_probs) == EE_OK);
        EXPECT(ee_decoder_step(decoder, labels, parents, 1, &log_probs) == EE_DONE);
    }
    free(arena);
}

static void run_session(const ee_image *image, const float *features, size_t frames,
                        const ee_ops *ops)
{
    ee_session *session = NULL;
    size_t bytes = 0;

    if (ee_arena_size(&image->config, frames, NULL, &bytes) != EE_OK) {
        return;
    }
    void *const arena = fuzz_memory(bytes, EE_MEMORY_ALIGNMENT);
    if (arena == NULL) {
        return;
    }
    uint32_t *const labels =
        fuzz_memory(ee_encoder_frames(&image->config, frames) * sizeof(*labels), sizeof(void *));
    EXPECT(ee_session_open(&session, image->model, NULL, arena, bytes, frames) == EE_OK);
    if (ee_session_feed(session, features, frames, 1) == EE_OK) {
        uint32_t exits = 0;
        ee_output out;
        while (ee_session_step(session) == EE_OK) {
            exits++;
            EXPECT(ee_session_output(session, &out) == EE_OK && out.exit == exits);
            use_exit(image, &out, labels, ops);
            use_decoder(image, &out);
        }
        EXPECT(exits == image->config.exits);
    }
    free(labels);
    free(arena);
}

static void run_image(const ee_image *image, const ee_ops *ops)
{
    const ee_frontend *const frontend = &image->frontend;
    const size_t all = ee_frontend_frames(frontend, SAMPLES);
    const size_t frames = all < MOST_FRAMES ? all : MOST_FRAMES;
    float *const features = fuzz_memory(frames * frontend->mels * sizeof(float), sizeof(void *));
    float *const scratch =
        fuzz_memory(ee_frontend_scratch(frontend, ops) * sizeof(float), sizeof(void *));
    int16_t samples[SAMPLES];

    for (size_t i = 0; i < SAMPLES; i++) {
        samples[i] = (int16_t)(i * i * 7919u);
    }
    if (features != NULL && scratch != NULL) {
        if (ee_features_s16(features, frontend, samples, SAMPLES, all - frames, frames, scratch,
                            ops) == EE_OK) {
            run_session(image, features, frames, ops);
        }
        memset(features, 0, frames * frontend->mels * sizeof(float));
        run_session(image, features, frames, ops);
    }
    free(scratch);
    free(features);
}

/* What was accepted lies where it should: a byte too far within the image is no fault for the
 * sanitizer. */
static void check_places(const unsigned char *data, const ee_image *image)
{
    const ee_frontend *const f = &image->frontend;
    const ee_labels *const labels = &image->labels;
    const unsigned char *const end = data + image->bytes;
    const int has_tables = f->kind != EE_FRONTEND_WAVEFORM && f->kind != EE_FRONTEND_SAMPLES;
    size_t weights = 0;

    for (uint32_t m = 0; has_tables && m < f->mels; m++) {
        weights += f->mel_count[m];
    }
    const struct {
        const void *data;
        size_t bytes;
    } tables[] = {
        {labels->ends, labels->vocab * sizeof(uint32_t)},
        {labels->text, labels->ends[labels->vocab - 1]},
        {f->window, f->win_length * sizeof(float)}, {f->sines, f->n_fft * sizeof(float)},
        {f->mel_first, f->mels * sizeof(uint16_t)}, {f->mel_count, f->mels * sizeof(uint16_t)},
        {f->mel_weights, weights * sizeof(float)},
    };

    for (size_t i = 0; i < (has_tables ? sizeof(tables) / sizeof(tables[0]) : 2); i++) {
        const unsigned char *const at = tables[i].data;
        EXPECT(at >= data + EE_IMAGE_HEADER_BYTES && at <= end
               && tables[i].bytes <= (size_t)(end - at));
    }
}

static void open_image(const unsigned char *data, size_t size, uint32_t exits)
{
    ee_image image;
    size_t needed = 0;
    const ee_status planned = ee_image_memory(data, size, exits, &needed);

    /* A model of as many layers as there can be, and a pointer and a size for each tensor. */
    EXPECT(needed <= (2u << 20) + 2 * size);
    void *const memory = fuzz_memory(planned == EE_OK ? needed : 64, EE_MEMORY_ALIGNMENT);
    EXPECT(memory != NULL);
    const ee_ops *const ops = some_ops(fuzz_get(data) + (uint32_t)size);
    const ee_status status =
        ee_image_open(&image, data, size, exits, memory, planned == EE_OK ? needed : 64, ops);
    EXPECT(status == EE_OK || (status < 0 && image.model == NULL));
    EXPECT(strcmp(ee_status_name(status), "EE_ERR_UNKNOWN") != 0);
    EXPECT(planned == EE_OK || status != EE_OK);
    if (status == EE_OK) {
        EXPECT(image.bytes <= size && image.config.exits >= 1);
        check_places(data, &image);
        run_image(&image, ops);
        EXPECT(ee_image_open(&image, data, size, exits, memory, needed - 1, ops)
               == EE_ERR_MODEL_TOO_SMALL);
    }
    const ee_status installed = ee_image_open_installed(&image, data, size, exits, memory,
                                                        planned == EE_OK ? needed : 64, ops);
    if (status == EE_ERR_IMAGE_CHECKSUM) {
        EXPECT(ee_image_check(data, size, exits, ops) == status);
    } else {
        EXPECT(installed == status);
    }
    if (installed == EE_OK && status != EE_OK) {
        check_places(data, &image);
        run_image(&image, ops);
    }
    free(memory);
}

void fuzz_one(const unsigned char *data, size_t size)
{
    unsigned char *const image = fuzz_memory(size, EE_IMAGE_ALIGNMENT);

    if (size < 4) {
        free(image);
        return;
    }
    memcpy(image, data, size);
    open_image(image, size, 0);
    open_image(image, size, 1);
    EXPECT(memcmp(image, data, size) == 0);
    free(image);
}

/* A word of the header, more often of those that are in use. */
static uint32_t some_word(fuzz_random *random)
{
    const uint32_t exit = fuzz_below(random, 4);

    switch (fuzz_below(random, 8)) {
    case 0:
        return LAYERS + exit;
    case 1:
        return SECTIONS + fuzz_below(random, 6 * SECTION_WORDS);
    case 2:
        return fuzz_below(random, EE_IMAGE_HEADER_BYTES / 4);
    default:
        return fuzz_below(random, LAYERS);
    }
}

/* The offset and the bytes of a section that lies in the image, or of nothing. */
static uint32_t some_section(unsigned char *image, size_t size, uint32_t *bytes,
                             fuzz_random *random)
{
    unsigned char *const section = word_of(image, SECTIONS + SECTION_WORDS * fuzz_below(random, 6));
    const uint32_t offset = fuzz_get(section + 4 * OFFSET);

    *bytes = fuzz_get(section + 4 * BYTES);
    if (offset > size || *bytes > size - offset) {
        *bytes = 0;
    }
    return offset;
}

/* A word of a section; of its first four, one time in two. */
static void change_section(unsigned char *image, size_t size, fuzz_random *random)
{
    uint32_t bytes;
    const uint32_t offset = some_section(image, size, &bytes, random);
    const uint32_t words = bytes / 4;

    if (words > 0) {
        const uint32_t first = words < 4 ? words : 4;
        const uint32_t word = fuzz_below(random, fuzz_below(random, 2) ? first : words);
        unsigned char *const at = image + offset + 4 * (size_t)word;
        fuzz_put(at, fuzz_value(random, fuzz_get(at)));
    }
}

static size_t change(unsigned char *image, size_t size, size_t capacity, fuzz_random *random)
{
    unsigned char *at;
    uint32_t offset, bytes;

    switch (fuzz_below(random, 10)) {
    case 0:
    case 1:
        change_section(image, size, random);
        break;
    case 2:
        fuzz_change_float(image + EE_IMAGE_HEADER_BYTES, size - EE_IMAGE_HEADER_BYTES, random);
        break;
    case 3:
        fuzz_change_byte(image, size, random);
        break;
    case 4:
        return fuzz_change_size(image, size, capacity, random);
    case 5:
        offset = some_section(image, size, &bytes, random);
        return bytes > 0 ? offset + bytes : size;
    default:
        at = word_of(image, some_word(random));
        fuzz_put(at, fuzz_value(random, fuzz_get(at)));
    }
    return size;
}

size_t fuzz_mutate(unsigned char *data, size_t size, size_t capacity, fuzz_random *random)
{
    for (uint32_t i = fuzz_below(random, 3); size > EE_IMAGE_HEADER_BYTES && i > 0; i--) {
        size = change(data, size, capacity, random);
    }
    if (fuzz_below(random, 16) != 0) {
        sign_image(data, size);
    }
    return size;
}
