/* ee_phrases.h: which of the sentences that may be said was said (ee_ref/decode/graph.py).
 *
 *   ee_phrase_search_size -> ee_phrase_search_open     once an utterance, and once an exit
 *   ee_phrase_search_feed                              log-probabilities, all at once or as they come
 *   ee_phrase_search_finish                            the best sentences so far
 *
 * The search is CTC's best path over an acyclic graph of labels; docs/numerics.md has every
 * operation ("Phrase search"). Memory does not grow with the frames. */
#ifndef EE_PHRASES_H
#define EE_PHRASES_H

#include <stddef.h>
#include <stdint.h>

#include "ee.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cdef:begin */
enum {
    EE_PHRASES_MAX_N = 8,
    EE_PHRASES_MAX_VOCAB = 32768,
    EE_PHRASES_MAX_GRAPH = 65535,   /* states, and arcs */
    EE_PHRASES_EXACT_ARCS = 4096,   /* larger graphs are searched with a beam */
    EE_PHRASES_AFTER_BLANK = 0x8000 /* in `label`: the label is that of the arcs into the source,
                                       so that a blank has to come between */
};

/* A graph of labels; state 0 is its start. The arcs of state s are first[s] .. first[s + 1] - 1,
 * by rising label, and lead to higher states. An arc adds weights[weight[a]] to the key of a
 * sentence; different sentences have different keys. */
typedef struct {
    uint32_t vocab, blank;   /* of the model: 2..EE_PHRASES_MAX_VOCAB labels */
    uint32_t states, arcs;   /* 1..EE_PHRASES_MAX_GRAPH, 0..EE_PHRASES_MAX_GRAPH */
    uint32_t weight_count, final_count;
    const uint16_t *first;   /* (states + 1), from 0 to arcs */
    const uint16_t *target;  /* (arcs) */
    const uint16_t *label;   /* (arcs), not the blank; some with EE_PHRASES_AFTER_BLANK */
    const uint16_t *weight;  /* (arcs) */
    const uint64_t *weights; /* (weight_count) */
    const uint16_t *finals;  /* (final_count), rising: where a sentence may end */
} ee_phrase_graph;

typedef struct ee_phrase_search ee_phrase_search;

/* A sentence and how well it fits: the log-probability of its best alignment less that of the best
 * path of all, 0 or below. */
typedef struct {
    float score;
    uint64_t key;
} ee_phrase;

/* Bytes of arena for the `n` best sentences, 1..EE_PHRASES_MAX_N. The graph is checked whole:
 * EE_ERR_CONFIG. */
ee_status ee_phrase_search_size(const ee_phrase_graph *graph, uint32_t n, size_t *bytes);

/* Begins a search. filler: what it costs, 0 or more, that something else is said before the
 * sentence, and the same after it; below 0: nothing else is. The graph outlives the search and is
 * used in place. The arena is aligned to 64 bytes. On an error *search is NULL. */
ee_status ee_phrase_search_open(ee_phrase_search **search, const ee_phrase_graph *graph,
                                uint32_t n, float filler, void *arena, size_t bytes);

/* The next frames: log_probs (rows, vocab), -inf allowed. EE_ERR_NOT_FINITE, before anything
 * changes, for NaN, a value above 0 by more than rounding, or a row of -inf alone. */
ee_status ee_phrase_search_feed(ee_phrase_search *search, const float *log_probs, size_t rows);

/* The best sentences, as if the last frame fed were the last one; more may be fed after it. found
 * (n), *count of which are written, the best first, of equals that of the lower key. */
ee_status ee_phrase_search_finish(const ee_phrase_search *search, ee_phrase *found, size_t *count);
/* cdef:end */

#ifdef __cplusplus
}
#endif

#endif
