/* ee_exits.h: when to stop (ee_ref/exits/): the score of an exit and the policies that act on it.
 *
 *   while (ee_session_step(session) == EE_OK) {
 *       ee_session_output(session, &out);
 *       ee_policy_stop(&policy, out.exit, out.data, out.rows, out.columns, &stop, &score,
 *                      ops);
 *       if (stop) break;
 *   }
 *
 * The operations are those of docs/numerics.md, so equal log-probabilities give equal scores and
 * equal decisions on every target. ops: as for ee_model_open. */
#ifndef EE_EXITS_H
#define EE_EXITS_H

#include <stddef.h>
#include <stdint.h>

#include "ee.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cdef:begin */
/* Entropy of the labels, averaged over frames and divided by their number: smaller is more
 * confident.
 *   E = -1/(rows vocab) sum over t, v of exp(l) l,  l = log_probs[t, v] > -87
 * in the order of docs/numerics.md; 0 for no rows. log_probs (rows, vocab), -inf allowed.
 * EE_ERR_NOT_FINITE when one is NaN or so large that the sum overflows; *entropy is then 0. */
ee_status ee_frame_entropy(float *entropy, const float *log_probs, size_t rows, size_t vocab,
                           const ee_ops *ops);

typedef enum {
    EE_POLICY_FIXED = 0,  /* stop at exit `exit`, from 1; the score is the exit reached */
    EE_POLICY_ENTROPY = 1 /* stop when the frame entropy is at most `threshold` */
} ee_policy_kind;

typedef struct {
    ee_policy_kind kind;
    uint32_t exit;   /* EE_POLICY_FIXED: at least 1 */
    float threshold; /* EE_POLICY_ENTROPY: finite, at least 0 */
} ee_policy;

/* *stop = whether the policy says to stop at `exit`, *score = why; how far the score lies past the
 * threshold is score - policy.exit, or policy.threshold - score. log_probs (rows, vocab) are those
 * of the exit. EE_ERR_CONFIG for a policy out of its ranges; on an error *stop is 0. */
ee_status ee_policy_stop(const ee_policy *policy, uint32_t exit, const float *log_probs,
                         size_t rows, size_t vocab, int *stop, float *score,
                         const ee_ops *ops);

/* What one greedy pass says of an exit; ee_ref/exits/scores.py defines each. A frame is speech when
 * its best label (of equal ones the lowest) is not the blank. */
typedef struct {
    float entropy;            /* ee_frame_entropy */
    float entropy_normalised; /* mean over frames of the entropy, divided by log(vocab) */
    float entropy_speech;     /* the same over speech frames; 0 without any */
    float path;               /* exp of the mean over frames of the largest log-probability */
    float least_confidence;   /* of the tokens' probabilities at their emission frames, or 1 */
    float mean_confidence;
    float blank_share;        /* of the frames; 1 for no rows */
    float agreement;          /* share of frames with the label of the exit before; or 0 */
    uint32_t same;            /* 1 when the tokens are those of the exit before, else 0 */
    uint32_t tokens;
} ee_scores;

/* All of ee_scores, in the order of docs/numerics.md. labels (rows): the best label of every frame.
 * before (rows): those of the exit before, NULL at the first; not labels itself: a caller keeps two
 * buffers and swaps them. log_probs (rows, vocab), -inf allowed; vocab at least 2, blank < vocab.
 * EE_ERR_CONFIG for other sizes; EE_ERR_NOT_FINITE, before anything is written, for NaN or a value
 * above 0 (by more than rounding). */
ee_status ee_exit_scores(ee_scores *scores, uint32_t *labels, const uint32_t *before,
                         const float *log_probs, size_t rows, size_t vocab, uint32_t blank,
                         const ee_ops *ops);

/* Patience: *stop = the tokens were the same as at the exit before `exits` times in a row, at least
 * 1. *in_a_row counts them; 0 before the first exit. EE_ERR_CONFIG for 0 exits. */
ee_status ee_patience_stop(uint32_t exits, uint32_t *in_a_row, const ee_scores *scores, int *stop);

/* A deadline, in any unit of time. reserve: kept for what follows the last exit. */
typedef struct {
    float limit;   /* at least 0 */
    float safety;  /* at least 1: times the time predicted for the next group */
    float reserve; /* at least 0 */
} ee_deadline;

/* *stop = the next group would not be done in time, by the slowest rate so far:
 *   *rate = max(*rate, group / cost)
 *   *missing = ((elapsed + (*rate * next_cost) * safety) + reserve) - limit;  stop: *missing >= 0
 * elapsed: since the utterance began; group: time of the group just done (the first with the stem);
 * cost, next_cost: of that group and the next, in any unit, cost above 0. *rate: 0 before the first
 * exit. EE_ERR_CONFIG for what is out of its range, also NaN. */
ee_status ee_deadline_stop(const ee_deadline *deadline, float elapsed, float group, float cost,
                           float next_cost, float *rate, int *stop, float *missing);

/* How sure the best phrase of a search is (ee_phrases.h); ee_ref/exits/phrase.py defines each. */
typedef struct {
    float free;       /* its score by the letters of its words to the power of 1.25; 0 or less,
                         -inf for no phrase */
    float margin;     /* its lead over the next phrase: 0 to 10, and 10 where there is none */
    float confidence; /* sigmoid(bias + free * its weight + margin * its weight) */
} ee_phrase_scores;

/* The weights of the confidence, and from where on a phrase is accepted. */
typedef struct {
    float bias;      /* -10000 to 10000 */
    float free;      /* 0 to 10000 */
    float margin;    /* 0 to 10000 */
    float threshold; /* 0 to 1 */
} ee_phrase_confidence;

/* The scores of a search that found `found` phrases: 0 for none, 1, or more. best, next: scores of
 * the first two, next <= best <= 0; looked at where there are so many. letters: of the words of the
 * best, at least 1 where there is one. *accepted = whether the confidence reaches the threshold.
 * EE_ERR_CONFIG for what is out of its range, also NaN; *accepted is then 0. */
ee_status ee_phrase_judge(const ee_phrase_confidence *confidence, size_t found, float best,
                          float next, size_t letters, ee_phrase_scores *scores, int *accepted);

/* The rule `Phrase`. */
typedef struct {
    float free;   /* finite, 0 or less */
    float margin; /* 0 to 10 */
} ee_phrase_rule;

/* *stop = free and margin of the scores have both reached those of the rule. EE_ERR_CONFIG for a
 * rule out of its ranges, also NaN; *stop is then 0. */
ee_status ee_phrase_stop(const ee_phrase_rule *rule, const ee_phrase_scores *scores, int *stop);
/* cdef:end */

#ifdef __cplusplus
}
#endif

#endif
