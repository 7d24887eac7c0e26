/* The ops of a whole model: features, exits, decisions, transcripts. */
#include <string.h>

#include "conformance.h"
#include "ee_decode.h"
#include "ee_exits.h"
#include "ee_frontend.h"

enum { TEXT_BYTES = 4096, EXIT_NAME_BYTES = 16 };

/* Notes an error of the library. */
static void check(question *q, ee_status status)
{
    if (status < 0) {
        eec_fail(q, CODE_STATUS, "the library says", ee_status_name(status));
    }
}

int eec_has_model(question *q)
{
    if (q->image.model == NULL) {
        eec_fail(q, CODE_ARGUMENT, "no model was loaded", "");
    }
    return q->image.model != NULL;
}

const tensor *eec_model_features(question *q)
{
    const tensor *const features = eec_has_model(q) ? eec_argument(q, "features", 'f', 2) : NULL;

    if (features != NULL && features->shape[1] != q->image.config.mels) {
        eec_fail(q, CODE_ARGUMENT, "features with as many mels as the model has expected",
                 "features");
    }
    return q->code == CODE_NONE ? features : NULL;
}

float *eec_features_of_samples(question *q, size_t *frames, float *(*place)(question *, size_t),
                               ee_status *status)
{
    const tensor *s16 = NULL, *f32 = NULL;

    if (!eec_has_model(q)) {
        return NULL;
    }

    for (size_t i = 0; i < q->input_count; i++) {
        if (strcmp(q->inputs[i].name, "samples") == 0 && q->inputs[i].axes == 1) {
            s16 = q->inputs[i].dtype == 'h' ? &q->inputs[i] : NULL;
            f32 = q->inputs[i].dtype == 'f' ? &q->inputs[i] : NULL;
        }
    }
    if (s16 == NULL && f32 == NULL) {
        eec_fail(q, CODE_ARGUMENT, "a vector of int16 or float32 expected", "samples");
        return NULL;
    }
    const ee_frontend *const frontend = &q->image.frontend;
    const size_t count = s16 != NULL ? s16->shape[0] : f32->shape[0];
    *frames = ee_frontend_frames(frontend, count);
    float *const out = place(q, *frames);
    const ee_ops *const ops = q->port->ops;
    float *const scratch = eec_take(q, ee_frontend_scratch(frontend, ops) * sizeof *scratch);
    if (q->code != CODE_NONE) {
        return NULL;
    }
    *status = s16 != NULL
                  ? ee_features_s16(out, frontend, s16->data, count, 0, *frames, scratch, ops)
                  : ee_features_f32(out, frontend, f32->data, count, 0, *frames, scratch, ops);
    return out;
}

static float *features_output(question *q, size_t frames)
{
    return eec_output_matrix(q, "features", 'f', frames, q->image.config.mels);
}

float *eec_features_memory(question *q, size_t frames)
{
    return eec_take(q, eec_product(eec_product(frames, q->image.config.mels), sizeof(float)));
}

static void run_features(question *q)
{
    size_t frames;
    ee_status status = EE_OK;

    eec_features_of_samples(q, &frames, features_output, &status);
    check(q, status);
}

/* A session of a whole utterance, which was fed. */
static ee_session *open_session(question *q, const float *features, size_t frames)
{
    ee_session *session = NULL;
    size_t bytes = 0;

    check(q, ee_arena_size(&q->image.config, frames, NULL, &bytes));
    void *const arena = eec_take(q, bytes);
    if (q->code == CODE_NONE) {
        check(q, ee_session_open(&session, q->image.model, NULL, arena, bytes, frames));
    }
    if (q->code == CODE_NONE) {
        check(q, ee_session_feed(session, features, frames, 1));
    }
    return q->code == CODE_NONE ? session : NULL;
}

static int step(ee_session *session, ee_output *output)
{
    return ee_session_step(session) == EE_OK && ee_session_output(session, output) == EE_OK;
}

/* "log_probs_N" */
static void exit_name(char name[EXIT_NAME_BYTES], uint32_t exit)
{
    size_t at = strlen("log_probs_");

    memcpy(name, "log_probs_", at);
    if (exit >= 10) {
        name[at++] = (char)('0' + exit / 10);
    }
    name[at++] = (char)('0' + exit % 10);
    name[at] = '\0';
}

static void run_exits(question *q)
{
    const int32_t last = eec_integer(q, "exits");
    const tensor *const features = eec_model_features(q);

    if (q->code != CODE_NONE) {
        return;
    }
    ee_session *const session = open_session(q, features->data, features->shape[0]);
    ee_output found = {0};
    while (session != NULL && (int32_t)found.exit < last && step(session, &found)) {
        char name[EXIT_NAME_BYTES];

        exit_name(name, found.exit);
        float *const out = eec_output_matrix(q, name, 'f', found.rows, found.columns);
        if (out == NULL) {
            return;
        }
        memcpy(out, found.data, found.rows * found.columns * sizeof *out);
    }
}

/* The rows that each exit gave so far. */
typedef struct {
    float *data[EE_MAX_EXITS];
    size_t rows[EE_MAX_EXITS];
} exit_rows;

static void add_output(exit_rows *all, const ee_output *output)
{
    size_t *const rows = &all->rows[output->exit - 1];

    memcpy(all->data[output->exit - 1] + *rows * output->columns, output->data,
           output->rows * output->columns * sizeof(float));
    *rows += output->rows;
}

/* A feed for each slice, and after it so many steps. */
static void run_slices(question *q, ee_session *session, const float *features,
                       const tensor *slices, const int32_t *exits, exit_rows *all)
{
    const int32_t *const sizes = slices->data;
    const size_t count = slices->shape[0];

    for (size_t i = 0; i < count && q->code == CODE_NONE; i++) {
        ee_output found;

        check(q, ee_session_feed(session, features, (size_t)sizes[i], i + 1 == count));
        features += (size_t)sizes[i] * q->image.config.mels;
        for (int32_t e = 0; e < exits[i] && q->code == CODE_NONE && step(session, &found); e++) {
            add_output(all, &found);
        }
    }
}

static void run_feeds(question *q)
{
    const tensor *const features = eec_model_features(q);
    const tensor *const slices = eec_argument(q, "slices", 'i', 1);
    const tensor *const exits = eec_argument(q, "exits", 'i', 1);
    const size_t capacity = (size_t)eec_integer(q, "capacity");
    const ee_config *const config = &q->image.config;
    ee_session *session = NULL;
    exit_rows all = {{NULL}, {0}};
    size_t frames = 0, bytes = 0;

    if (q->code != CODE_NONE) {
        return;
    }
    for (size_t i = 0; i < slices->shape[0]; i++) {
        const int32_t size = ((const int32_t *)slices->data)[i];
        frames = size < 0 || frames > features->shape[0] ? SIZE_MAX : frames + (size_t)size;
    }
    if (frames != features->shape[0] || exits->shape[0] != slices->shape[0]) {
        eec_fail(q, CODE_ARGUMENT, "slices of all frames, and exits of each, expected", "slices");
        return;
    }
    for (uint32_t e = 0; e < config->exits; e++) {
        all.data[e] = eec_take(q, eec_product(ee_encoder_frames(config, frames),
                                              config->vocab * sizeof(float)));
    }
    check(q, ee_arena_size(config, capacity, NULL, &bytes));
    void *const arena = eec_take(q, bytes);
    if (q->code == CODE_NONE) {
        check(q, ee_session_open(&session, q->image.model, NULL, arena, bytes, capacity));
    }
    if (q->code == CODE_NONE) {
        run_slices(q, session, features->data, slices, exits->data, &all);
    }
    for (uint32_t e = 0; e < config->exits && q->code == CODE_NONE; e++) {
        char name[EXIT_NAME_BYTES];

        exit_name(name, e + 1);
        float *const out = eec_output_matrix(q, name, 'f', all.rows[e], config->vocab);
        if (out != NULL) {
            memcpy(out, all.data[e], all.rows[e] * config->vocab * sizeof *out);
        }
    }
}

static void put_float(question *q, const char *name, float value)
{
    float *const out = eec_output(q, name, 'f', 1);

    if (out != NULL) {
        *out = value;
    }
}

/* The text of log-probabilities, with its tokens and, if asked for, their frames. */
static void put_text(question *q, const float *log_probs, size_t rows, int with_frames)
{
    ee_token *const tokens = eec_take(q, rows * sizeof *tokens);
    char *const text = eec_take(q, TEXT_BYTES);
    size_t count = 0, length = 0;

    if (q->code == CODE_NONE) {
        check(q, ee_greedy(tokens, rows, &count, log_probs, rows, q->image.config.vocab,
                           q->image.blank));
    }
    if (q->code == CODE_NONE) {
        check(q, ee_text(text, TEXT_BYTES, &length, &q->image.labels, tokens, count));
    }
    int32_t *const labels = eec_output(q, "tokens", 'i', count);
    int32_t *const frames = with_frames ? eec_output(q, "frames", 'i', count) : NULL;
    char *const out = eec_output(q, "text", 'b', length);
    if (q->code != CODE_NONE) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        labels[i] = (int32_t)tokens[i].token;
        if (frames != NULL) {
            frames[i] = (int32_t)tokens[i].frame;
        }
    }
    memcpy(out, text, length);
}

/* Exit by exit until the policy of the parameters says stop: exit, or threshold of the entropy. */
static void decide(question *q, const float *features, size_t frames, int everything)
{
    const int fixed = eec_has_parameter(q, "exit");
    const ee_policy policy = {
        .kind = fixed ? EE_POLICY_FIXED : EE_POLICY_ENTROPY,
        .exit = fixed ? (uint32_t)eec_integer(q, "exit") : 0,
        .threshold = fixed ? 0.0f : eec_number(q, "threshold"),
    };
    ee_output found = {0};
    float score = 0.0f;
    int stop = 0;

    if (q->code != CODE_NONE) {
        return;
    }
    ee_session *const session = open_session(q, features, frames);
    while (q->code == CODE_NONE && !stop && step(session, &found)) {
        check(q, ee_policy_stop(&policy, found.exit, found.data, found.rows, found.columns, &stop,
                                &score, q->port->ops));
    }
    int32_t *const reached = eec_output(q, "exit", 'i', 1);
    if (reached == NULL) {
        return;
    }
    *reached = (int32_t)found.exit;
    put_float(q, "score", score);
    if (everything) {
        put_float(q, "margin", fixed ? score - (float)policy.exit : policy.threshold - score);
    }
    put_text(q, found.data, found.rows, everything);
}

static void run_decide(question *q)
{
    const tensor *const features = eec_model_features(q);

    if (q->code == CODE_NONE) {
        decide(q, features->data, features->shape[0], 1);
    }
}

static void run_transcribe(question *q)
{
    size_t frames = 0;
    ee_status status = EE_OK;
    const float *const features =
        eec_features_of_samples(q, &frames, eec_features_memory, &status);

    check(q, status);
    if (q->code == CODE_NONE) {
        decide(q, features, frames, 0);
    }
}

const conformance_op eec_ops_model[] = {
    {"features", run_features},
    {"exits", run_exits},
    {"feeds", run_feeds},
    {"decide", run_decide},
    {"transcribe", run_transcribe},
    {NULL, NULL},
};
