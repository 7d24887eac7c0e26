/* The ops of the tier "status": what the library says of images, features, samples and
 * log-probabilities that may be wrong. */
#include <string.h>

#include "conformance.h"
#include "ee_decode.h"
#include "ee_exits.h"

static void output_status(question *q, ee_status status)
{
    const char *const name = ee_status_name(status);
    char *const out = eec_output(q, "status", 'b', strlen(name));

    if (out != NULL) {
        memcpy(out, name, strlen(name));
    }
}

/* A parameter that may be left out: 0. */
static int32_t integer_or_0(question *q, const char *name)
{
    return eec_has_parameter(q, name) ? eec_integer(q, name) : 0;
}

/* So many bytes, `offset` of them behind a multiple of 64, between guards. */
static unsigned char *take_at(question *q, size_t bytes, int32_t offset)
{
    if (offset < 0) {
        eec_fail(q, CODE_ARGUMENT, "an offset of at least 0 expected", "offset");
        return NULL;
    }
    eec_take(q, 0);
    unsigned char *const taken = eec_take(q, bytes + (size_t)offset);
    return taken != NULL ? taken + offset : NULL;
}

/* As many bytes as needed, and so many more (or fewer) as the parameter says. */
static size_t with_more(question *q, size_t needed, const char *name)
{
    const int32_t more = integer_or_0(q, name);

    if (more < 0 && needed < (size_t)-(int64_t)more) {
        eec_fail(q, CODE_ARGUMENT, "no more bytes taken away than there are expected", name);
        return 0;
    }
    return needed + (size_t)more;
}

static void run_image_status(question *q)
{
    const tensor *const given = eec_argument(q, "image", 'b', 1);
    const uint32_t exits = (uint32_t)integer_or_0(q, "exits");
    const int32_t offset = integer_or_0(q, "offset");

    if (given == NULL) {
        return;
    }
    const size_t bytes = given->shape[0];
    unsigned char *const image = take_at(q, bytes, offset);
    if (image == NULL) {
        return;
    }
    memcpy(image, given->data, bytes);
    /* Without checksums, so that a damaged image may be refused by another name than on opening. */
    size_t needed = 0;
    const int planned = ee_image_memory(image, bytes, exits, &needed) == EE_OK;
    const size_t room = planned ? with_more(q, needed, "memory") : 0;
    void *const memory = take_at(q, room, 0);
    ee_image opened;
    if (memory != NULL) {
        output_status(
            q, ee_image_open(&opened, image, bytes, exits, memory, room, q->port->ops));
    }
}

static void run_session_status(question *q)
{
    const tensor *const features = eec_model_features(q);
    size_t needed;

    if (features == NULL) {
        return;
    }
    ee_status status = ee_arena_size(&q->image.config, features->shape[0], NULL, &needed);
    if (status == EE_OK) {
        ee_session *session;
        const size_t bytes = with_more(q, needed, "arena");
        void *const arena = take_at(q, bytes, integer_or_0(q, "offset"));
        if (arena == NULL) {
            return;
        }
        status = ee_session_open(&session, q->image.model, NULL, arena, bytes,
                                 features->shape[0]);
        if (status == EE_OK) {
            status = ee_session_feed(session, features->data, features->shape[0], 1);
        }
        if (status == EE_OK && integer_or_0(q, "again")) {
            status = ee_session_feed(session, features->data, features->shape[0], 1);
        }
    }
    output_status(q, status);
}

static void run_samples_status(question *q)
{
    size_t frames;
    ee_status status = EE_OK;

    eec_features_of_samples(q, &frames, eec_features_memory, &status);
    if (q->code == CODE_NONE) {
        output_status(q, status);
    }
}

static void run_log_probs_status(question *q)
{
    const tensor *const log_probs = eec_has_model(q) ? eec_argument(q, "log_probs", 'f', 2) : NULL;

    if (log_probs == NULL || log_probs->shape[1] != q->image.config.vocab) {
        eec_fail(q, CODE_ARGUMENT, "as many labels as the model has expected", "log_probs");
        return;
    }
    const size_t rows = log_probs->shape[0], vocab = log_probs->shape[1];
    ee_token *const tokens = eec_take(q, eec_product(rows, sizeof *tokens));
    float entropy;
    size_t count;
    if (tokens == NULL) {
        return;
    }
    ee_status status = ee_frame_entropy(&entropy, log_probs->data, rows, vocab,
                                        q->port->ops);
    if (status == EE_OK) {
        status = ee_greedy(tokens, rows, &count, log_probs->data, rows, vocab, q->image.blank);
    }
    output_status(q, status);
}

const conformance_op eec_ops_status[] = {
    {"image_status", run_image_status},
    {"session_status", run_session_status},
    {"samples_status", run_samples_status},
    {"log_probs_status", run_log_probs_status},
    {NULL, NULL},
};
