/* ee_decoder.h: the attention decoder of an exit: labels one after another, each by those before it
 * and by the rows that the exit's head was given.
 *
 *   ee_decoder_size -> ee_decoder_open         once an utterance and exit
 *   ee_decoder_step                            once a label of every hypothesis
 *
 * Of a model whose architecture has such decoders (EE_ARCH_AED). Greedy decoding is
 *
 *   label = config.start_token;
 *   do {
 *       ee_decoder_step(decoder, &label, &parent, 1, &log_probs);      parent is 0
 *       label = the one that is most probable;
 *   } while (label != config.end_token && label != config.pad_token);
 *
 * As in ee.h the caller owns all memory, and nothing here allocates or keeps state of its own. A
 * decoder belongs to one thread at a time; there is nothing to close. */
#ifndef EE_DECODER_H
#define EE_DECODER_H

#include "ee.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cdef:begin */
enum {
    EE_MAX_HYPOTHESES = 1024 /* side by side */
};

typedef struct ee_decoder ee_decoder;

/* Bytes of arena of a decoder: for `rows` encoder frames, `labels` steps and `width` hypotheses
 * side by side, each at least 1; it uses all of them. EE_ERR_CONFIG for an architecture without
 * decoders, EE_ERR_RANGE for more labels than max_tokens or a width above EE_MAX_HYPOTHESES. */
ee_status ee_decoder_size(const ee_config *config, size_t rows, size_t labels, size_t width,
                          size_t *bytes);

/* Begins a sentence. exit: from 1. hidden (rows, dim): ee_output.hidden of that exit, finite; not
 * needed after this returns. On an error *decoder is NULL, and the arena as it was. */
ee_status ee_decoder_open(ee_decoder **decoder, const ee_model *model, uint32_t exit,
                          const float *hidden, size_t rows, size_t labels, size_t width,
                          void *arena, size_t bytes);

/* The log-probabilities of the label that follows each of `count` hypotheses, 1..width.
 * labels (count): the newest label of each, at first the start of a sentence; parents (count):
 * which hypothesis of the step before each continues, from 0, at the first step 0. *log_probs
 * (count, vocab) lies in the arena until the next step.
 * Keys and values of earlier labels are kept. Those of config.pad_token are not: no later step sees
 * it. EE_DONE after as many steps as there are labels; EE_ERR_RANGE for a label, parent or count
 * that there is not, and for config.pad_token at the first step, which would see nothing. Either
 * leaves the decoder as it was. */
ee_status ee_decoder_step(ee_decoder *decoder, const uint32_t *labels, const uint32_t *parents,
                          size_t count, const float **log_probs);
/* cdef:end */

#ifdef __cplusplus
}
#endif

#endif
