/* ee_exits.h: when to stop (ee_ref/exits.py): the score of an exit and the policies that act on it.
 *
 *   while (ee_session_step(session) == EE_OK) {
 *       const float *log_probs = ee_session_log_probs(session, &rows);
 *       ee_policy_stop(&policy, ee_session_exit(session), log_probs, rows, vocab, &stop, &score);
 *       if (stop) break;
 *   }
 *
 * The operations are those of docs/numerics.md, so equal log-probabilities give equal scores and
 * equal decisions on every target. */
#ifndef EE_EXITS_H
#define EE_EXITS_H

#include <stddef.h>
#include <stdint.h>

#include "ee.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cdef:begin */
/* Entropy of the labels, averaged over frames and divided by their number: smaller is surer.
 *   E = -1/(rows vocab) sum over t, v of exp(l) l,  l = log_probs[t, v] > -87
 * in the order of docs/numerics.md; 0 for no rows. log_probs (rows, vocab), -inf allowed.
 * EE_ERR_NOT_FINITE when one is NaN or so large that the sum overflows; *entropy is then 0. */
ee_status ee_frame_entropy(float *entropy, const float *log_probs, size_t rows, size_t vocab);

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
                         size_t rows, size_t vocab, int *stop, float *score);
/* cdef:end */

#ifdef __cplusplus
}
#endif

#endif
