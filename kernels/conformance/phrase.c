/* The op "phrase": what is searched for and found in log-probabilities, and what it means. */
#include <string.h>

#include "conformance.h"
#include "ee_phrases.h"

enum { MAX_WORDS = 255, TEXT_BYTES = 1024, KEY_WORDS = 2 };

static void check(question *q, ee_status status)
{
    if (status < 0) {
        eec_fail(q, CODE_STATUS, "the library says", ee_status_name(status));
    }
}

static void output_text(question *q, const char *name, const char *text, size_t bytes)
{
    char *const out = eec_output(q, name, 'b', bytes);

    if (out != NULL && bytes > 0) {
        memcpy(out, text, bytes);
    }
}

/* A string and a line's end behind what was written. */
static size_t append(char *text, size_t at, const char *what, char end)
{
    const size_t length = strlen(what);

    if (at + length + 1 <= TEXT_BYTES) {
        memcpy(text + at, what, length);
        text[at + length] = end;
        return at + length + 1;
    }
    return at;
}

/* The words of a sentence; its intent, and a line "slot=value" for each slot. */
static void output_meaning(question *q, const ee_phrases *phrases, uint64_t key)
{
    uint16_t *const words = eec_take(q, MAX_WORDS * sizeof *words);
    char *const text = eec_take(q, TEXT_BYTES);
    size_t count = 0, length = 0, bytes = 0, at = 0;
    ee_phrase_meaning meaning;

    if (q->code != CODE_NONE) {
        return;
    }
    check(q, ee_phrases_sentence(phrases, key, words, MAX_WORDS, &count));
    check(q, ee_phrases_text(text, TEXT_BYTES, &length, phrases, words, count));
    check(q, ee_phrases_meaning_size(phrases, count, &bytes));
    void *const memory = eec_take(q, bytes);
    if (q->code != CODE_NONE) {
        return;
    }
    output_text(q, "text", text, length);
    check(q, ee_phrases_meaning(&meaning, phrases, words, count, memory, bytes));
    if (q->code != CODE_NONE) {
        return;
    }
    at = append(text, at, meaning.intent == EE_PHRASES_NONE
                              ? "" : ee_phrases_string(phrases, meaning.intent), '\n');
    for (uint32_t i = 0; i < meaning.slots; i++) {
        at = append(text, at, ee_phrases_string(phrases, meaning.slot[i]), '=');
        at = append(text, at, ee_phrases_string(phrases, meaning.value[i]), '\n');
    }
    output_text(q, "meaning", text, at);
}

/* All rows at once, or, with the parameter `piece`, so many at a time. */
static size_t search(question *q, const ee_phrases *phrases, const tensor *log_probs,
                     ee_phrase *found)
{
    const uint32_t n = (uint32_t)eec_integer(q, "n");
    const float filler = eec_has_parameter(q, "filler") ? eec_number(q, "filler") : -1.0f;
    const size_t piece = eec_has_parameter(q, "piece") ? (size_t)eec_integer(q, "piece") : 0;
    const size_t rows = log_probs->shape[0];
    ee_phrase_search *opened = NULL;
    size_t bytes = 0, count = 0;

    check(q, ee_phrase_search_size(&phrases->graph, n, &bytes));
    void *const arena = eec_take(q, bytes);
    if (q->code == CODE_NONE) {
        check(q, ee_phrase_search_open(&opened, &phrases->graph, n, filler, arena, bytes));
    }
    if (q->code != CODE_NONE) {
        return 0;
    }
    if (piece == 0) {
        check(q, ee_phrase_search_all(opened, log_probs->data, rows, found, &count));
        return count;
    }
    for (size_t row = 0; row < rows; row += piece) {
        const float *const data = log_probs->data;
        check(q, ee_phrase_search_feed(opened, data + row * log_probs->shape[1],
                                       rows - row < piece ? rows - row : piece));
    }
    check(q, ee_phrase_search_finish(opened, found, &count));
    return count;
}

static void run_phrase(question *q)
{
    const tensor *const section = eec_argument(q, "section", 'b', 1);
    const tensor *const log_probs = eec_argument(q, "log_probs", 'f', 2);
    ee_phrase found[EE_PHRASES_MAX_N];
    ee_phrases phrases;

    if (q->code != CODE_NONE) {
        return;
    }
    check(q, ee_phrases_open(&phrases, section->data, section->shape[0]));
    if (q->code == CODE_NONE && log_probs->shape[1] != phrases.graph.vocab) {
        eec_fail(q, CODE_ARGUMENT, "as many labels as the phrases have expected", "log_probs");
    }
    if (q->code != CODE_NONE) {
        return;
    }
    const size_t count = search(q, &phrases, log_probs, found);
    float *const score = eec_output(q, "score", 'f', count);
    int32_t *const key = eec_output_matrix(q, "key", 'i', count, KEY_WORDS);
    if (q->code != CODE_NONE) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const uint32_t parts[KEY_WORDS] = {(uint32_t)found[i].key, (uint32_t)(found[i].key >> 32)};
        score[i] = found[i].score;
        memcpy(key + i * KEY_WORDS, parts, sizeof parts);
    }
    if (count > 0) {
        output_meaning(q, &phrases, found[0].key);
    }
}

const conformance_op eec_ops_phrase[] = {
    {"phrase", run_phrase},
    {NULL, NULL},
};
