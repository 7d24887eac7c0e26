/* The ops of the golden vectors that concern a whole model:
 *
 *   image      [b image, [i shift, [i exits]]]   opens a flash image for the ops below, moved by
 *                                           `shift` bytes
 *   features   [h or f samples]             features
 *   exits      [f features, [i bytes]]      log-probabilities of every exit; an arena larger by
 *                                           `bytes` than it needs to be
 *   utterance  [h samples, i exit, f threshold]   features, log-probabilities of the exit where the
 *                                           policy stopped (entropy when exit is 0), exit, score,
 *                                           tokens and their frames, text
 */
#include <string.h>

#include "ee_decode.h"
#include "ee_exits.h"
#include "ee_frontend.h"
#include "ee_image.h"
#include "vectors.h"

enum { TEXT_BYTES = 1024 };

static ee_image image;

static int32_t integer(const vectors_case *run, size_t input, int32_t otherwise)
{
    return input < run->input_count ? *(const int32_t *)run->inputs[input].data : otherwise;
}

int32_t vectors_image(vectors_case *run)
{
    const size_t shift = (size_t)integer(run, 1, 0);
    const uint32_t exits = (uint32_t)integer(run, 2, 0);
    unsigned char *const data = (unsigned char *)run->inputs[0].data + shift;
    const size_t bytes = run->inputs[0].columns - shift;
    size_t needed;

    memmove(data, run->inputs[0].data, bytes);
    image.model = NULL;
    const ee_status status = ee_image_memory(data, bytes, exits, &needed);
    if (status != EE_OK) {
        return status;
    }
    void *const model = runner_take(run->memory, needed);
    run->keep = 1;
    return ee_image_open(&image, data, bytes, exits, model, needed, vectors_kernels());
}

static ee_status features(vectors_case *run, const vectors_array *samples, vectors_array *out)
{
    const size_t count = samples->columns;
    const size_t frames = ee_frontend_frames(&image.frontend, count);
    float *const values = vectors_output(run, 'f', frames, image.config.mels);
    float *const scratch = runner_take(run->memory,
                                       ee_frontend_scratch(&image.frontend) * sizeof *scratch);

    *out = run->outputs[run->output_count - 1];
    if (samples->type == 'h') {
        return ee_features_s16(values, &image.frontend, samples->data, count, 0, frames, scratch);
    }
    return ee_features_f32(values, &image.frontend, samples->data, count, 0, frames, scratch);
}

int32_t vectors_features(vectors_case *run)
{
    vectors_array out;

    return image.model == NULL ? EE_ERR_ARGUMENT : features(run, &run->inputs[0], &out);
}

static ee_status open_session(ee_session **session, vectors_case *run,
                              const vectors_array *features, int32_t more)
{
    size_t bytes;
    const ee_status status = ee_arena_size(&image.config, features->rows, NULL, &bytes);

    if (status != EE_OK) {
        return status;
    }
    bytes += (size_t)more;
    vectors_take(run, 0); /* a guard in front */
    return ee_session_open(session, image.model, NULL, vectors_take(run, bytes), bytes,
                           features->data, features->rows);
}

/* The log-probabilities of the exit reached, copied: the session writes over them. */
static void output_log_probs(vectors_case *run, const ee_session *session)
{
    size_t rows;
    const float *const log_probs = ee_session_log_probs(session, &rows);
    const size_t vocab = image.config.vocab;

    memcpy(vectors_output(run, 'f', rows, vocab), log_probs, rows * vocab * sizeof(float));
}

int32_t vectors_exits(vectors_case *run)
{
    ee_session *session;

    if (image.model == NULL) {
        return EE_ERR_ARGUMENT;
    }
    const ee_status status = open_session(&session, run, &run->inputs[0], integer(run, 1, 0));
    if (status != EE_OK) {
        return status;
    }
    while (ee_session_step(session) == EE_OK) {
        output_log_probs(run, session);
    }
    return EE_OK;
}

int32_t vectors_utterance(vectors_case *run)
{
    const int32_t exit = integer(run, 1, 0);
    const ee_policy policy = {
        .kind = exit > 0 ? EE_POLICY_FIXED : EE_POLICY_ENTROPY,
        .exit = (uint32_t)exit,
        .threshold = *(const float *)run->inputs[2].data,
    };
    ee_session *session;
    vectors_array mels;
    const float *log_probs = NULL;
    size_t rows = 0, count, length;
    float score = 0.0f;
    int stop = 0;

    if (image.model == NULL) {
        return EE_ERR_ARGUMENT;
    }
    ee_status status = features(run, &run->inputs[0], &mels);
    if (status == EE_OK) {
        status = open_session(&session, run, &mels, 0);
    }
    while (status == EE_OK && !stop && ee_session_step(session) == EE_OK) {
        log_probs = ee_session_log_probs(session, &rows);
        status = ee_policy_stop(&policy, ee_session_exit(session), log_probs, rows,
                                image.config.vocab, &stop, &score);
    }
    if (status != EE_OK) {
        return status;
    }
    output_log_probs(run, session);
    *(int32_t *)vectors_output(run, 'i', 1, 1) = (int32_t)ee_session_exit(session);
    *(float *)vectors_output(run, 'f', 1, 1) = score;

    ee_token *const tokens = vectors_output(run, 'i', rows, 2);
    vectors_array *const tokens_output = &run->outputs[run->output_count - 1];
    status = ee_greedy(tokens, rows, &count, log_probs, rows, image.config.vocab, image.blank);
    if (status != EE_OK) {
        return status;
    }
    tokens_output->rows = count;

    char *const text = vectors_output(run, 'b', 1, TEXT_BYTES);
    vectors_array *const text_output = &run->outputs[run->output_count - 1];
    status = ee_text(text, TEXT_BYTES, &length, &image.labels, tokens, count);
    text_output->columns = length;
    return status;
}
