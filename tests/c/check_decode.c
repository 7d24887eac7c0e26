/* Greedy decoding, exit scores and texts: known answers and the edges of every array.
 * tests/test_decode_native.py compares them with their Python twins. */
#include "check.h"
#include "ee_decode.h"
#include "ee_exits.h"

/* Of the instruction set at hand. */
static const ee_ops *ops;

static void check_greedy(void)
{
    /* Labels 1 1 2 - 2 - - 3; a tie in the first frame, and the second 1 is the more probable. */
    const float log_probs[8][4] = {
        {-9, -1, -1, -9}, {-9, -0.5f, -1, -9}, {-9, -9, -1, -9}, {-1, -9, -9, -9},
        {-9, -9, -2, -9}, {-1, -9, -9, -9}, {-1, -9, -9, -9}, {-9, -9, -9, -1},
    };
    const ee_token expected[4] = {{1, 1}, {2, 2}, {2, 4}, {3, 7}};
    ee_token tokens[5] = {{99, 99}, {99, 99}, {99, 99}, {99, 99}, {99, 99}};
    size_t count = 0;
    const float *const x = &log_probs[0][0];

    CHECK(ee_greedy(tokens, 4, &count, x, 8, 4, 0) == EE_OK, "greedy");
    CHECK(count == 4 && memcmp(tokens, expected, sizeof(expected)) == 0, "%zu tokens", count);
    CHECK(tokens[4].token == 99, "one token too far");

    tokens[2].token = 99;
    CHECK(ee_greedy(tokens, 2, &count, x, 8, 4, 0) == EE_ERR_BUFFER_TOO_SMALL, "two of four");
    CHECK(count == 4 && tokens[1].token == 2 && tokens[2].token == 99, "two of four");
    CHECK(ee_greedy(NULL, 0, &count, x, 8, 4, 0) == EE_ERR_BUFFER_TOO_SMALL && count == 4, "count");
    CHECK(ee_greedy(NULL, 0, &count, NULL, 0, 4, 0) == EE_OK && count == 0, "no rows");

    CHECK(ee_greedy(tokens, 4, &count, x, 8, 4, 4) == EE_ERR_CONFIG, "blank");
    CHECK(ee_greedy(tokens, 4, NULL, x, 8, 4, 0) == EE_ERR_ARGUMENT, "no count");
    CHECK(ee_greedy(NULL, 4, &count, x, 8, 4, 0) == EE_ERR_ARGUMENT, "no tokens");
    CHECK(ee_greedy(tokens, 4, &count, NULL, 8, 4, 0) == EE_ERR_ARGUMENT, "no log_probs");

    const float wrong[] = {NAN, INFINITY, 1.0f};
    for (size_t i = 0; i < 3; i++) {
        guarded g = guarded_floats(12);
        for (size_t j = 0; j < 12; j++) {
            g.data[j] = -1.0f;
        }
        CHECK(ee_greedy(tokens, 4, &count, g.data, 3, 4, 0) == EE_OK, "flat");
        g.data[11] = wrong[i];
        tokens[0].token = 99;
        CHECK(ee_greedy(tokens, 4, &count, g.data, 3, 4, 3) == EE_ERR_NOT_FINITE, "%g",
              (double)wrong[i]);
        CHECK(count == 0 && tokens[0].token == 99, "written before it was checked");
        guarded_free(&g);
    }
}

static void check_scores(void)
{
    /* Labels 0 1 1 0 2, then 1 0 2 2 0: the same tokens elsewhere; then 1 0 2 0 0 2. */
    const uint32_t spelled[3][5] = {{0, 1, 1, 0, 2}, {1, 0, 2, 2, 0}, {0, 1, 0, 1, 2}};
    uint32_t labels[3][5], in_a_row = 0;
    ee_scores scores;
    int stop = 9;
    float rate = 0.0f, missing = 0.0f;
    const ee_deadline deadline = {60.0f, 1.0f, 0.0f};

    for (size_t n = 0; n < 3; n++) {
        guarded x = guarded_floats(15);

        for (size_t i = 0; i < 15; i++) {
            x.data[i] = i % 3 == spelled[n][i / 3] ? -0.5f : -2.0f;
        }
        CHECK(ee_exit_scores(&scores, labels[n], n > 0 ? labels[n - 1] : NULL, x.data, 5, 3, 0,
                             ops)
                  == EE_OK, "exit %zu", n);
        CHECK(memcmp(labels[n], spelled[n], sizeof(labels[n])) == 0, "labels %zu", n);
        CHECK(scores.same == (n == 1) && scores.tokens == 2 + (n == 2), "tokens %zu", n);
        CHECK(fabsf(scores.path - expf(-0.5f)) < 1e-6f, "path %g", (double)scores.path);
        CHECK(scores.least_confidence == scores.mean_confidence, "confidences");
        CHECK(ee_patience_stop(1, &in_a_row, &scores, &stop) == EE_OK && stop == (n == 1), "wait");
        x.data[14] = NAN;
        CHECK(ee_exit_scores(&scores, labels[n], NULL, x.data, 5, 3, 0, ops) == EE_ERR_NOT_FINITE,
              "nan");
        guarded_free(&x);
    }
    CHECK(ee_exit_scores(&scores, NULL, NULL, NULL, 0, 3, 0, ops) == EE_OK, "no rows");
    CHECK(scores.path == 1.0f, "%g", (double)scores.path);
    CHECK(ee_exit_scores(&scores, NULL, NULL, NULL, 0, 1, 0, ops) == EE_ERR_CONFIG, "one label");
    CHECK(ee_exit_scores(&scores, NULL, NULL, NULL, 1, 3, 0, ops) == EE_ERR_ARGUMENT,
          "no log_probs");
    CHECK(ee_exit_scores(&scores, NULL, NULL, NULL, 0, 3, 0, NULL) == EE_ERR_ARGUMENT, "no ops");
    CHECK(ee_patience_stop(0, &in_a_row, &scores, &stop) == EE_ERR_CONFIG, "no patience");
    CHECK(ee_deadline_stop(&deadline, 20.0f, 20.0f, 20.0f, 10.0f, &rate, &stop, &missing) == EE_OK
              && !stop && missing == -30.0f, "%g", (double)missing);
    CHECK(ee_deadline_stop(&deadline, 40.0f, 20.0f, 10.0f, 10.0f, &rate, &stop, &missing) == EE_OK
              && stop && rate == 2.0f, "%g", (double)missing);
    CHECK(ee_deadline_stop(&deadline, 40.0f, 1.0f, 0.0f, 1.0f, &rate, &stop, &missing)
              == EE_ERR_CONFIG && !stop, "no cost");
}

static void check_phrase_rule(void)
{
    const ee_phrase_confidence by = {1.0f, 2.0f, 0.25f, 0.5f}, wrong = {1.0f, -2.0f, 0.25f, 0.5f};
    const ee_phrase_rule rule = {-0.5f, 1.5f}, impossible = {0.5f, 1.5f};
    ee_phrase_scores scores;
    int accepted = 0, stop = 0;

    CHECK(ee_phrase_judge(&by, 2, -16.0f, -17.5f, 16, &scores, &accepted) == EE_OK && accepted,
          "accepted");
    CHECK(scores.free == -0.5f && scores.margin == 1.5f
              && fabsf(scores.confidence - 1.0f / (1.0f + expf(-0.375f))) < 1e-6f,
          "%g", (double)scores.confidence);
    CHECK(ee_phrase_stop(&rule, &scores, &stop) == EE_OK && stop, "both thresholds are met");
    CHECK(ee_phrase_judge(&by, 1, -5.0f, 0.0f, 4, &scores, &accepted) == EE_OK
              && scores.margin == 10.0f, "nothing comes second");
    CHECK(ee_phrase_stop(&rule, &scores, &stop) == EE_OK && !stop, "not free enough");
    CHECK(ee_phrase_stop(&impossible, &scores, &stop) == EE_ERR_CONFIG && !stop, "no rule");
    CHECK(ee_phrase_judge(&by, 0, 0.0f, 0.0f, 0, &scores, &accepted) == EE_OK && !accepted
              && scores.confidence == 0.0f, "nothing found");
    CHECK(ee_phrase_stop(&rule, &scores, &stop) == EE_OK && !stop, "nothing to stop for");
    accepted = 1;
    CHECK(ee_phrase_judge(&by, 2, -3.0f, -2.0f, 6, &scores, &accepted) == EE_ERR_CONFIG
              && !accepted, "the second is better");
    CHECK(ee_phrase_judge(&by, 1, -3.0f, 0.0f, 0, &scores, &accepted) == EE_ERR_CONFIG,
          "no letters");
    CHECK(ee_phrase_judge(&wrong, 1, -3.0f, 0.0f, 6, &scores, &accepted) == EE_ERR_CONFIG,
          "a negative weight");
    CHECK(ee_phrase_judge(NULL, 1, -3.0f, 0.0f, 6, &scores, &accepted) == EE_ERR_ARGUMENT,
          "no confidence");
}

/* Every variant makes of a frame the bytes of portable C. */
static void check_exit_rows(void)
{
    for (size_t vocab = 1; vocab <= 49; vocab++) {
        for (int kind = 0; kind < 8; kind++) {
            guarded row = random_floats(vocab, 1.0f);
            float expected, sum;

            for (size_t v = 0; v < vocab; v++) {
                /* Log-probabilities on both sides of where they count, equal ones, zeros, -inf. */
                row.data[v] = kind == 6 ? -INFINITY
                              : kind == 7 ? 0.0f
                                          : -fabsf(row.data[v]) * (kind % 2 == 0 ? 10.0f : 100.0f);
                if (kind > 1 && kind < 4) {
                    row.data[v] = floorf(row.data[v] / 8.0f) * 8.0f;
                }
            }
            const uint32_t label = ee_exit_row_c(&expected, row.data, vocab);

            CHECK(ops->exit_row(&sum, row.data, vocab) == label
                      && memcmp(&sum, &expected, sizeof sum) == 0,
                  "frame of %zu labels, kind %d", vocab, kind);
            CHECK(sentinels_intact(&row), "frame of %zu labels", vocab);
            guarded_free(&row);
        }
    }
}

static uint32_t row_of_a_port(float *sum, const float *row, size_t vocab)
{
    *sum = -row[0] * (float)vocab;
    return 0;
}

/* A port may bring its own. */
static void check_replaced_row(void)
{
    const ee_ops port = {.exit_row = row_of_a_port};
    const float row[2] = {3.0f, 0.0f};
    float entropy;

    CHECK(ee_frame_entropy(&entropy, row, 1, 2, &port) == EE_OK && entropy == 3.0f, "%g",
          (double)entropy);
}

static void check_entropy(void)
{
    float entropy = 9.0f, score = 9.0f;
    int stop = 9;
    guarded even = guarded_floats(300);

    for (size_t i = 0; i < 300; i++) {
        even.data[i] = logf(1.0f / 3.0f);
    }
    CHECK(ee_frame_entropy(&entropy, even.data, 100, 3, ops) == EE_OK, "even");
    CHECK(fabsf(entropy - logf(3.0f) / 3.0f) < 1e-6f, "%g", (double)entropy);
    CHECK(ee_frame_entropy(&entropy, NULL, 0, 3, ops) == EE_OK && entropy == 0.0f, "no rows");
    CHECK(ee_frame_entropy(NULL, even.data, 100, 3, ops) == EE_ERR_ARGUMENT, "no result");
    CHECK(ee_frame_entropy(&entropy, NULL, 100, 3, ops) == EE_ERR_ARGUMENT, "no log_probs");
    CHECK(ee_frame_entropy(&entropy, even.data, 100, 3, NULL) == EE_ERR_ARGUMENT, "no ops");

    const float sure[4] = {0.0f, -INFINITY, -88.0f, -1e30f};
    CHECK(ee_frame_entropy(&entropy, sure, 1, 4, ops) == EE_OK && entropy == 0.0f, "sure");

    ee_policy policy = {EE_POLICY_ENTROPY, 0, 0.0f};
    ee_frame_entropy(&policy.threshold, even.data, 100, 3, ops);
    CHECK(ee_policy_stop(&policy, 1, even.data, 100, 3, &stop, &score, ops) == EE_OK, "entropy");
    CHECK(stop == 1 && score == policy.threshold, "at the threshold");
    policy.threshold = nextafterf(policy.threshold, 0.0f);
    CHECK(ee_policy_stop(&policy, 1, even.data, 100, 3, &stop, &score, ops) == EE_OK, "entropy");
    CHECK(stop == 0, "just above the threshold");

    even.data[299] = NAN;
    stop = 9;
    CHECK(ee_policy_stop(&policy, 1, even.data, 100, 3, &stop, &score, ops) == EE_ERR_NOT_FINITE,
          "NaN");
    CHECK(stop == 0, "no stop after an error");
    guarded_free(&even);

    const ee_policy fixed = {EE_POLICY_FIXED, 2, 0.0f};
    CHECK(ee_policy_stop(&fixed, 1, NULL, 0, 3, &stop, &score, ops) == EE_OK && !stop, "exit 1");
    CHECK(ee_policy_stop(&fixed, 2, NULL, 0, 3, &stop, &score, ops) == EE_OK && stop, "exit 2");
    CHECK(ee_policy_stop(&fixed, 3, NULL, 0, 3, &stop, &score, ops) == EE_OK && score == 3.0f,
          "exit 3");

    const ee_policy wrong[] = {
        {EE_POLICY_FIXED, 0, 0.0f}, {EE_POLICY_ENTROPY, 1, -1.0f}, {EE_POLICY_ENTROPY, 1, NAN},
        {EE_POLICY_ENTROPY, 1, INFINITY},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CHECK(ee_policy_stop(&wrong[i], 1, sure, 1, 4, &stop, &score, ops) == EE_ERR_CONFIG, "%zu",
              i);
    }
    CHECK(ee_policy_stop(NULL, 1, sure, 1, 4, &stop, &score, ops) == EE_ERR_ARGUMENT, "no policy");
    CHECK(ee_policy_stop(&fixed, 1, sure, 1, 4, NULL, &score, ops) == EE_ERR_ARGUMENT, "no stop");
    CHECK(ee_policy_stop(&fixed, 1, sure, 1, 4, &stop, NULL, ops) == EE_ERR_ARGUMENT, "no score");
}

static void check_text(void)
{
    /* blank, " ", "A", " B", "C D" */
    const uint32_t ends[5] = {0, 1, 2, 4, 7};
    const ee_labels labels = {5, ends, " A BC D"};
    const ee_token tokens[] = {{1, 0}, {1, 1}, {2, 2}, {0, 3}, {3, 4}, {4, 5}, {2, 6}, {1, 7}};
    const char expected[] = "A BC DA";
    char text[16];
    size_t length = 0;

    for (size_t capacity = 0; capacity <= sizeof(text); capacity++) {
        memset(text, '#', sizeof(text));
        const ee_status status = ee_text(text, capacity, &length, &labels, tokens, 8);
        CHECK(length == strlen(expected), "%zu bytes", length);
        CHECK(status == (capacity > length ? EE_OK : EE_ERR_BUFFER_TOO_SMALL), "%zu", capacity);
        const size_t kept = capacity > length ? length : capacity > 0 ? capacity - 1 : 0;
        CHECK(memcmp(text, expected, kept) == 0, "%zu", capacity);
        CHECK(capacity == 0 || text[kept] == '\0', "%zu", capacity);
        CHECK(capacity == sizeof(text) || text[capacity > kept ? kept + (capacity > 0) : kept]
              == '#', "beyond %zu", capacity);
    }
    CHECK(ee_text(text, 16, &length, &labels, tokens, 0) == EE_OK && text[0] == '\0', "no tokens");

    const ee_token outside = {5, 0};
    CHECK(ee_text(text, 16, &length, &labels, &outside, 1) == EE_ERR_CONFIG, "no label");
    CHECK(ee_text(NULL, 16, &length, &labels, tokens, 8) == EE_ERR_ARGUMENT, "no text");
    CHECK(ee_text(text, 16, NULL, &labels, tokens, 8) == EE_ERR_ARGUMENT, "no length");
    CHECK(ee_text(text, 16, &length, NULL, tokens, 8) == EE_ERR_ARGUMENT, "no labels");
    CHECK(ee_text(text, 16, &length, &labels, NULL, 8) == EE_ERR_ARGUMENT, "no tokens");
}

int main(void)
{
    check_greedy();
    check_text();
    check_replaced_row();
    check_phrase_rule();
    for (int isa = 0; isa <= (int)ee_isa_best(); isa++) {
        ops = ee_ops_for((ee_isa)isa);
        if (ops != NULL) {
            check_scores();
            check_exit_rows();
            check_entropy();
        }
    }
    return check_result("check_decode");
}
