#include "ee_decode.h"

/* Rounding may lift a log-probability above zero by about this much; logits are far beyond it. */
static const float ROUNDING = 1e-3f;

ee_status ee_greedy(ee_token *tokens, size_t capacity, size_t *count,
                    const float *log_probs, size_t rows, size_t vocab, uint32_t blank)
{
    if (count == NULL || (tokens == NULL && capacity > 0) || (log_probs == NULL && rows > 0)) {
        return EE_ERR_ARGUMENT;
    }
    *count = 0;
    if (blank >= vocab) {
        return EE_ERR_CONFIG;
    }
    for (size_t i = 0; i < rows * vocab; i++) {
        if (!(log_probs[i] <= ROUNDING)) {
            return EE_ERR_NOT_FINITE;
        }
    }
    uint32_t last = blank; /* label of the frame before */
    float peak = 0.0f;     /* of the token last written, in its run so far */

    for (size_t t = 0; t < rows; t++) {
        const float *const row = log_probs + t * vocab;
        uint32_t label = 0;

        for (uint32_t v = 1; v < vocab; v++) {
            if (row[v] > row[label]) {
                label = v;
            }
        }
        const int begins = label != last;
        last = label;
        if (label == blank || (!begins && !(row[label] > peak))) {
            continue;
        }
        peak = row[label];
        *count += begins ? 1 : 0;
        if (*count <= capacity) {
            tokens[*count - 1].token = label;
            tokens[*count - 1].frame = (uint32_t)t;
        }
    }
    return *count <= capacity ? EE_OK : EE_ERR_BUFFER_TOO_SMALL;
}
