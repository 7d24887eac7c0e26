/* ee_decode.h: from log-probabilities to text: greedy CTC (ee_ref/decode/greedy.py) and the text of
 * tokens (ee_ref/tokens.py). */
#ifndef EE_DECODE_H
#define EE_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "ee.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cdef:begin */
/* A decoded token and its emission frame: of the run of frames that it was the best label of, the
 * one where it is most probable, the first of equals. */
typedef struct {
    uint32_t token, frame;
} ee_token;

/* The best label of every frame, repeats merged, blanks dropped; of equal labels the lowest counts.
 * log_probs (rows, vocab), -inf allowed; blank < vocab. At most `rows` tokens result; *count is
 * their number. EE_ERR_BUFFER_TOO_SMALL when there are more than `capacity`: the first `capacity`
 * are written and *count is how many there would be. EE_ERR_NOT_FINITE, before anything is written,
 * for NaN or a value above 0 (by more than rounding): no log-probabilities. */
ee_status ee_greedy(ee_token *tokens, size_t capacity, size_t *count,
                    const float *log_probs, size_t rows, size_t vocab, uint32_t blank);

/* What the labels of a model add to a text, in UTF-8: nothing for the blank and for labels that are
 * never text, and a space where a word begins. Label v is bytes ends[v-1] .. ends[v] - 1 of `text`,
 * label 0 begins at 0. */
typedef struct {
    uint32_t vocab;
    const uint32_t *ends; /* (vocab), never less than the one before */
    const char *text;     /* (ends[vocab-1]) */
} ee_labels;

/* The words of the tokens, separated by single spaces, with a NUL after them. *length is the number
 * of bytes without the NUL, whether they fit or not: EE_ERR_BUFFER_TOO_SMALL when `capacity` is not
 * larger; then `text` holds what fits, with its NUL if capacity > 0. EE_ERR_CONFIG for a token that
 * is no label. */
ee_status ee_text(char *text, size_t capacity, size_t *length, const ee_labels *labels,
                  const ee_token *tokens, size_t count);
/* cdef:end */

#ifdef __cplusplus
}
#endif

#endif
