/* ee_phrases.h: which of the sentences that may be said was said (ee_ref/decode/graph.py), and what
 * it means (ee_ref/phrases).
 *
 *   ee_phrases_open                                    once: ee_image_open does it
 *   ee_phrase_search_size -> ee_phrase_search_open     once an utterance, and once an exit
 *   ee_phrase_search_all                               the best sentences of a whole utterance
 *   ee_phrase_search_feed, ee_phrase_search_finish     of one that comes in pieces, so far
 *   ee_phrases_sentence -> ee_phrases_text             the words of one
 *   ee_phrases_meaning                                 its intent and slots
 *
 * The search is CTC's best path over an acyclic graph of labels; docs/numerics.md has every
 * operation ("Phrase search"). Speech that falls too far behind free speech is none of the
 * sentences. Memory does not grow with the frames. */
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
    EE_PHRASES_MAX_VOCAB = 65536,
    EE_PHRASES_MAX_GRAPH = 65535 /* states, and arcs */
};

/* Numbers of 8 bits, or where that is NULL, of 16. */
typedef struct {
    const uint8_t *narrow;
    const uint16_t *wide;
} ee_numbers;

/* A graph of labels; state 0 is its start. The arcs of state s are first[s] .. first[s + 1] - 1,
 * by rising label, and lead to higher states. An arc adds weights[weight[a]] to the key of a
 * sentence; different sentences have different keys. */
typedef struct {
    uint32_t vocab, blank;   /* of the model: 2..EE_PHRASES_MAX_VOCAB labels */
    uint32_t states, arcs;   /* 1..EE_PHRASES_MAX_GRAPH, 0..EE_PHRASES_MAX_GRAPH */
    uint32_t weight_count, final_count;
    const uint16_t *first;   /* (states + 1), from 0 to arcs */
    const uint16_t *target;  /* (arcs) */
    ee_numbers label;        /* (arcs), not the blank */
    ee_numbers weight;       /* (arcs) */
    const uint8_t *after_blank; /* (arcs) bits, the lowest first: the label is that of the arcs into
                                   the source, so that a blank has to come between */
    const uint64_t *weights; /* (weight_count) */
    const uint16_t *finals;  /* (final_count), rising: where a sentence may end */
} ee_phrase_graph;

typedef struct ee_phrase_search ee_phrase_search;

/* A sentence and how well it fits: the log-probability of its best alignment less that of the best
 * path of all, in both of which a blank counts three times and costs 2; 0 or below. */
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
 * (n), *count of which are written, the best first, of equals that of the lower key; none is more
 * than 10 below the best. */
ee_status ee_phrase_search_finish(const ee_phrase_search *search, ee_phrase *found, size_t *count);

/* A whole utterance: what feeding it to a search just opened, and finishing, gives. As a rule in far
 * less time, because hypotheses are dropped that cannot be found in the end: with all that their
 * labels have anywhere, they end below sentences that an attempt with a narrow beam found. What was
 * fed before is forgotten, and nothing may be fed after it. */
ee_status ee_phrase_search_all(ee_phrase_search *search, const float *log_probs, size_t rows,
                               ee_phrase *found, size_t *count);

/* ---- What sentences are and mean --------------------------------------------------------------- */

/* An open section "phrases" (weights_io/FORMAT.md): numbers of strings, arcs and nodes, and the
 * tables where they are. Its pointers lead into the section. */
typedef struct {
    ee_phrase_graph graph;
    float bias, free, margin, threshold; /* of the confidence in a sentence (ee_exits.h) */
    uint32_t word_states, word_arcs, lists, values, nodes, links, calls, templates, fixed;
    uint32_t words, strings;     /* the first strings are the words */
    const char *text;            /* (strings), a zero byte after each */
    const uint16_t *word_first, *word_target; /* automata of words, a sentence beginning at state */
    ee_numbers word, word_skip;               /* 0: arcs, with the sentences that come before */
    const uint8_t *word_final;
    const uint16_t *list_state, *list_first, *value;             /* lists: automata of values */
    const uint16_t *node_first, *link_target, *link_symbol;      /* the grammar */
    const uint8_t *node_final;
    const uint16_t *call_list, *call_slot;                       /* its links to lists */
    const uint16_t *template_node, *template_intent, *template_fixed;
    const uint16_t *fixed_slot, *fixed_value;                    /* slots that a template sets */
} ee_phrases;

/* Checks a section, `bytes` of it, so that no other function reads outside it, whatever it holds;
 * it is used in place. EE_ERR_ALIGNMENT: not aligned to EE_MEMORY_ALIGNMENT; EE_ERR_IMAGE_LAYOUT;
 * then opened->graph.states is 0. */
ee_status ee_phrases_open(ee_phrases *opened, const void *section, size_t bytes);

/* The words of a sentence, as numbers of strings. EE_ERR_BUFFER_TOO_SMALL when there are more than
 * `capacity`; EE_ERR_CONFIG when the key is that of no sentence. */
ee_status ee_phrases_sentence(const ee_phrases *phrases, uint64_t key, uint16_t *words,
                              size_t capacity, size_t *count);

/* A word, a name or a value, with a zero byte at its end; NULL for none. */
const char *ee_phrases_string(const ee_phrases *phrases, uint32_t number);

/* The letters of words (count), at least 1: what the score of a sentence is divided by. */
uint32_t ee_phrases_letters(const ee_phrases *phrases, const uint16_t *words, size_t count);

/* Words (count) with spaces between them; *length and what is too small as in ee_text. */
ee_status ee_phrases_text(char *text, size_t capacity, size_t *length, const ee_phrases *phrases,
                          const uint16_t *words, size_t count);

enum {
    EE_PHRASES_MAX_SLOTS = 16,
    EE_PHRASES_NONE = 0xFFFF /* no intent */
};

/* An intent and slots, as numbers of strings. */
typedef struct {
    uint32_t intent; /* or EE_PHRASES_NONE */
    uint32_t slots;
    uint32_t slot[EE_PHRASES_MAX_SLOTS], value[EE_PHRASES_MAX_SLOTS];
} ee_phrase_meaning;

/* Bytes of memory that the meaning of `count` words takes to be found. */
ee_status ee_phrases_meaning_size(const ee_phrases *phrases, size_t count, size_t *bytes);

/* What words (count) mean: the first template that says them, the first alternative in it, of a
 * list the most words. The work is at most links * count * count steps. EE_ERR_CONFIG when no
 * template says them, EE_ERR_BUFFER_TOO_SMALL for more than EE_PHRASES_MAX_SLOTS slots,
 * EE_ERR_ARENA_TOO_SMALL. */
ee_status ee_phrases_meaning(ee_phrase_meaning *meaning, const ee_phrases *phrases,
                             const uint16_t *words, size_t count, void *memory, size_t bytes);
/* cdef:end */

#ifdef __cplusplus
}
#endif

#endif
