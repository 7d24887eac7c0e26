/* Samples to text on a board: what a firmware does with the library, in order.
 *
 *   transcribe clip=FILE.wav [exit=N | entropy=THRESHOLD]
 *
 * The flash image is linked into the program, the clip is 16-bit mono PCM at the rate of the model.
 * Prints each exit reached with its score, the text, the phrase with its intent and slots where the
 * image says what may be said, and what it took of RAM and flash.
 */
#include "device.h"
#include "ee_decode.h"
#include "ee_exits.h"
#include "ee_frontend.h"
#include "port.h"
#include "runner.h"

enum {
    TEXT_BYTES = 1024,
    N_BEST = 2, /* phrases: the best one, and the one that it is measured against */
    MAX_WORDS = 255
};

/* Features of the clip, in `least` bytes or more. Its samples leave the memory again, for the
 * session to use. */
static float *read_features(runner_memory *memory, const char *name, const ee_image *image,
                            size_t *frames, size_t least, const ee_ops *ops)
{
    size_t count;
    const int file = device_open_clip(name, image->sample_rate, &count);

    *frames = ee_frontend_frames(&image->frontend, count);

    const size_t bytes = *frames * image->config.mels * sizeof(float);
    float *const features = runner_take(memory, bytes > least ? bytes : least);
    const size_t mark = memory->used;
    int16_t *const samples = runner_take(memory, count * sizeof *samples);
    float *const scratch = runner_take(memory, ee_frontend_scratch(&image->frontend, ops)
                                                   * sizeof *scratch);
    if (!port_read(file, samples, count * sizeof *samples)) {
        runner_fail(name, "ends too early");
    }
    port_close(file);
    runner_print_count("samples", count);
    check(ee_features_s16(features, &image->frontend, samples, count, 0, *frames, scratch, ops),
          "features");
    runner_release(memory, mark);
    return features;
}

/* Multiply-adds of the int8 matrix products up to an exit: of the linear layers, of queries with
 * keys, and of two digits of probabilities with values, of windows with the stem, of rows with the
 * heads. */
static size_t matrix_products(const ee_config *config, size_t frames, size_t rows, uint32_t exit)
{
    const size_t dim = config->dim, kernel = config->stem_kernel, digits = 2;
    const size_t windows = ee_stem_conv_f32_frames(frames, kernel, config->stem_stride);
    const size_t stem = digits * kernel * dim * (windows * config->mels + rows * dim);
    const size_t layer = rows * dim * (4 * (size_t)config->ff + 7 * dim + (1 + digits) * rows);
    const size_t head = digits * rows * dim * config->vocab;
    size_t layers = 0;

    for (uint32_t e = 0; e < exit; e++) {
        layers += config->layers_per_exit[e];
    }
    return stem + layers * layer + exit * head;
}

static void print_text(runner_memory *memory, const ee_image *image, const ee_output *found)
{
    ee_token *const tokens = runner_take(memory, found->rows * sizeof *tokens);
    char *const text = runner_take(memory, TEXT_BYTES);
    size_t count, length;

    check(ee_greedy(tokens, found->rows, &count, found->data, found->rows, found->columns,
                    image->blank),
          "decoding");
    check(ee_text(text, TEXT_BYTES, &length, &image->labels, tokens, count), "text");
    runner_print_text("text", text);
}

/* Bytes that the phrase search takes; none without phrases. */
static size_t search_bytes(const ee_image *image)
{
    size_t bytes = 0;

    if (image->phrases.graph.states > 0) {
        check(ee_phrase_search_size(&image->phrases.graph, N_BEST, &bytes), "phrases");
    }
    return bytes;
}

/* The best phrase, and what it means if it is accepted. */
static void print_phrase(runner_memory *memory, const ee_image *image, const ee_output *found,
                         void *arena, size_t arena_bytes)
{
    const ee_phrases *const phrases = &image->phrases;
    const ee_phrase_confidence weights = {phrases->bias, phrases->free, phrases->margin,
                                          phrases->threshold};
    uint16_t *const words = runner_take(memory, MAX_WORDS * sizeof *words);
    char *const text = runner_take(memory, TEXT_BYTES);
    ee_phrase_search *search;
    ee_phrase best[N_BEST] = {{0.0f, 0}, {0.0f, 0}};
    ee_phrase_scores scores;
    ee_phrase_meaning meaning;
    size_t count, word_count = 0, length, bytes;
    int accepted;

    check(ee_phrase_search_open(&search, &phrases->graph, N_BEST, -1.0f, arena, arena_bytes),
          "phrases");
    check(ee_phrase_search_all(search, found->data, found->rows, best, &count), "phrases");
    if (count > 0) {
        check(ee_phrases_sentence(phrases, best[0].key, words, MAX_WORDS, &word_count), "phrases");
    }
    check(ee_phrase_judge(&weights, count, best[0].score, best[1].score,
                          ee_phrases_letters(phrases, words, word_count), &scores, &accepted),
          "phrases");
    runner_print_float("confidence", scores.confidence);
    if (!accepted) {
        runner_print_text("phrase", "none");
        return;
    }
    check(ee_phrases_text(text, TEXT_BYTES, &length, phrases, words, word_count), "phrases");
    runner_print_text("phrase", text);
    check(ee_phrases_meaning_size(phrases, word_count, &bytes), "phrases");
    check(ee_phrases_meaning(&meaning, phrases, words, word_count, runner_take(memory, bytes),
                             bytes),
          "phrases");
    device_print_meaning(phrases, &meaning);
}

/* Not inlined: where it begins, the plugin that counts instructions sees the work end. */
static __attribute__((noinline)) void report(const runner_memory *memory, size_t arena)
{
    device_print_memory(memory, arena, "  arena, model, features, text");
}

int port_main(int argc, char **argv)
{
    const char *const clip = runner_argument(argc, argv, "clip");
    const ee_ops *const ops = ee_ops_for(ee_isa_best());
    runner_memory memory = runner_memory_open();
    size_t frames, arena_bytes;
    ee_session *session;
    ee_output found = {0};
    int stop = 0;

    if (clip == NULL) {
        runner_fail("usage", "clip=FILE.wav [exit=N | entropy=THRESHOLD]");
    }
    const ee_image image = device_open_image(&memory, ops);
    const ee_policy policy = device_policy(argc, argv, &image.config);
    const size_t search = search_bytes(&image);
    float *const features = read_features(&memory, clip, &image, &frames, search, ops);

    check(ee_arena_size(&image.config, frames, NULL, &arena_bytes), "plan");
    void *const arena = runner_take(&memory, arena_bytes);
    check(ee_session_open(&session, image.model, NULL, arena, arena_bytes, frames), "session");
    check(ee_session_feed(session, features, frames, 1), "features");
    while (!stop && ee_session_step(session) == EE_OK) {
        float score;

        check(ee_session_output(session, &found), "output");
        check(ee_policy_stop(&policy, found.exit, found.data, found.rows, found.columns, &stop,
                             &score, ops),
              "policy");
        runner_print_count("exit", found.exit);
        runner_print_float("score", score);
    }
    print_text(&memory, &image, &found);
    if (search > 0) {
        /* Where the features were: the session does not need them any more. */
        print_phrase(&memory, &image, &found, features, search);
    }
    runner_print_count("multiply-adds of matrix products",
                       matrix_products(&image.config, frames, found.rows, found.exit));
    report(&memory, arena_bytes);
    return 0;
}
