/* Decoding, texts, scores and policies over any log-probabilities. The input is words, then floats:
 * as many whole rows as there are, at most ROWS. */
#include "ee_decode.h"
#include "ee_exits.h"
#include "fuzz.h"

enum { VOCAB, BLANK, ROWS, CAPACITY, TEXT_CAPACITY, POLICY, THRESHOLD, EXIT, WORDS };

static void *copy_of(const void *data, size_t bytes)
{
    void *const copy = fuzz_memory(bytes, sizeof(void *));

    EXPECT(copy != NULL);
    memcpy(copy, data, bytes);
    return copy;
}

/* Labels of 0 to 3 bytes each, which begin with a space now and then. */
static void use_text(const ee_token *tokens, size_t count, uint32_t vocab, size_t capacity)
{
    uint32_t *const ends = fuzz_memory(vocab * sizeof(*ends), sizeof(void *));
    uint32_t end = 0;

    for (uint32_t v = 0; v < vocab; v++) {
        ends[v] = end += v % 4;
    }
    char *const letters = fuzz_memory(end, sizeof(void *));
    for (uint32_t i = 0; i < end; i++) {
        letters[i] = i % 5 == 0 ? ' ' : 'a';
    }
    const ee_labels labels = {vocab, ends, letters};
    char *const text = fuzz_memory(capacity, sizeof(void *));
    size_t length = 0;
    const ee_status status = ee_text(text, capacity, &length, &labels, tokens, count);
    EXPECT(status == (length < capacity ? EE_OK : EE_ERR_BUFFER_TOO_SMALL));
    EXPECT(capacity == 0 || strlen(text) == (length < capacity ? length : capacity - 1));
    free(text);
    free(letters);
    free(ends);
}

void fuzz_one(const unsigned char *data, size_t size)
{
    uint32_t words[WORDS];

    if (size < sizeof(words)) {
        return;
    }
    memcpy(words, data, sizeof(words));
    const ee_ops *const ops = ee_ops_for(size % 2 == 0 ? EE_ISA_C : ee_isa_best());
    const uint32_t vocab = words[VOCAB] % 512;
    const size_t whole = vocab > 0 ? (size - sizeof(words)) / sizeof(float) / vocab : 0;
    const size_t rows = words[ROWS] < whole ? words[ROWS] : whole;
    const size_t capacity = words[CAPACITY] % 1024;
    float *const log_probs = copy_of(data + sizeof(words), rows * vocab * sizeof(float));
    ee_token *const tokens = fuzz_memory(capacity * sizeof(*tokens), sizeof(void *));
    uint32_t *const labels = fuzz_memory(rows * sizeof(*labels), sizeof(void *));
    uint32_t *const before = fuzz_memory(rows * sizeof(*before), sizeof(void *));
    ee_policy policy = {(ee_policy_kind)(words[POLICY] % 3), words[EXIT], 0.0f};
    ee_scores scores;
    uint32_t in_a_row = 0;
    size_t count = 0;
    float score, rate = 0.0f, missing;
    int stop;

    const ee_status status =
        ee_greedy(tokens, capacity, &count, log_probs, rows, vocab, words[BLANK]);
    EXPECT(count <= rows && (status != EE_OK || count <= capacity));
    EXPECT((status == EE_ERR_CONFIG) == (words[BLANK] >= vocab));
    if (status == EE_OK) {
        use_text(tokens, count, vocab, words[TEXT_CAPACITY] % 256);
    }
    memset(before, 0, rows * sizeof(*before));
    memset(labels, 0, rows * sizeof(*labels));
    for (int i = 0; i < 2; i++) {
        if (ee_exit_scores(&scores, i == 0 ? before : labels, i == 0 ? NULL : before, log_probs,
                           rows, vocab, words[BLANK], ops) == EE_OK) {
            EXPECT(scores.tokens <= rows && scores.entropy >= 0.0f && scores.path <= 1.0f);
            EXPECT(i == 0 || scores.same);
            ee_patience_stop(words[EXIT], &in_a_row, &scores, &stop);
        }
    }
    memcpy(&policy.threshold, &words[THRESHOLD], sizeof(float));
    EXPECT(ee_policy_stop(&policy, 1, log_probs, rows, vocab, &stop, &score, ops)
               == EE_OK
           || !stop);
    const ee_phrase_confidence by = {score, 1.0f, policy.threshold, 0.5f};
    const ee_phrase_rule rule = {policy.threshold, score};
    ee_phrase_scores phrase = {0.0f, 0.0f, 0.0f};
    int accepted;

    EXPECT((ee_phrase_judge(&by, words[EXIT], score, policy.threshold, rows, &phrase, &accepted)
                == EE_OK
            && phrase.confidence >= 0.0f && phrase.confidence <= 1.0f)
           || !accepted);
    EXPECT(ee_phrase_stop(&rule, &phrase, &stop) == EE_OK || !stop);
    const ee_deadline deadline = {policy.threshold, 1.0f, score};
    EXPECT(ee_deadline_stop(&deadline, score, score, policy.threshold, 1.0f, &rate, &stop, &missing)
           == EE_OK || !stop);
    free(before);
    free(labels);
    free(tokens);
    free(log_probs);
}

size_t fuzz_mutate(unsigned char *data, size_t size, size_t capacity, fuzz_random *random)
{
    for (uint32_t i = fuzz_below(random, 4); size >= 4 * WORDS && i > 0; i--) {
        unsigned char *const at = data + 4 * (size_t)fuzz_below(random, WORDS);

        switch (fuzz_below(random, 4)) {
        case 0:
            fuzz_change_float(data + 4 * WORDS, size - 4 * WORDS, random);
            break;
        case 1:
            size = fuzz_change_size(data, size, capacity, random);
            break;
        default:
            fuzz_put(at, fuzz_value(random, fuzz_get(at)));
        }
    }
    return size;
}
