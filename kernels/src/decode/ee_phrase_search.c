#include "ee_phrases.h"

#include <float.h>

#include "../common/ee_exact.h"
#include "../common/ee_size.h"

/* Rounding may lift a log-probability above zero by about this much; logits are far beyond it. */
static const float ROUNDING = 1e-3f;
/* How far below the best of a frame a token is dropped in a graph of more than
 * EE_PHRASES_EXACT_ARCS. */
static const float BEAM = 32.0f;
#define NEVER ee_bits_float(0xFF800000u) /* minus infinity: the score of no token */

/* The best hypotheses at one place, at most n: the higher score first, of equals the lower key. */
typedef struct {
    float *score;
    uint64_t *key;
} tokens;

struct ee_phrase_search {
    ee_phrase_graph graph;
    uint32_t n;
    float filler; /* below 0: none */
    int begun;    /* frames were fed */
    tokens found; /* sentences that ended earlier, filler after them */
    /* n tokens for each: */
    tokens states; /* state: the best there, with a blank or any label as the last one */
    tokens blanks; /* state that arcs leave after a blank alone, from the highest: with a blank */
    tokens arcs;   /* arc: with its label as the last one */
    float *row;    /* (vocab) of a frame: log-probabilities less the highest */
};

static tokens at(tokens all, size_t place, uint32_t n)
{
    const tokens there = {all.score + place * n, all.key + place * n};
    return there;
}

static int is_better(float score, uint64_t key, float than, uint64_t other)
{
    return score > than || (score == than && key < other);
}

/* Adds a token unless n others are better; of two with the same key the better one stays. */
static void add(tokens to, uint32_t n, float score, uint64_t key)
{
    uint32_t i = 0;

    if (score < to.score[n - 1]) {
        return;
    }
    while (i < n - 1 && to.key[i] != key) {
        i++;
    }
    /* i is the token's own place, or the last one. */
    if (!is_better(score, key, to.score[i], to.key[i])) {
        return;
    }
    for (; i > 0 && is_better(score, key, to.score[i - 1], to.key[i - 1]); i--) {
        to.score[i] = to.score[i - 1];
        to.key[i] = to.key[i - 1];
    }
    to.score[i] = score;
    to.key[i] = key;
}

static void add_all(tokens to, tokens from, uint32_t n, float score, uint64_t key)
{
    for (uint32_t i = 0; i < n && from.score[i] + score >= to.score[n - 1]; i++) {
        add(to, n, from.score[i] + score, from.key[i] + key);
    }
}

static void clear(tokens all, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        all.score[i] = NEVER;
        all.key[i] = 0;
    }
}

/* Adds e to the scores `from`, which may make equals of them: the lower key is first then. */
static void rescore(tokens to, tokens from, uint32_t n, float e)
{
    for (uint32_t i = 0; i < n; i++) {
        const float score = from.score[i] + e;
        const uint64_t key = from.key[i];
        uint32_t j = i;

        for (; j > 0 && is_better(score, key, to.score[j - 1], to.key[j - 1]); j--) {
            to.score[j] = to.score[j - 1];
            to.key[j] = to.key[j - 1];
        }
        to.score[j] = score;
        to.key[j] = key;
    }
}

/* ---- Memory ---- */

/* States that an arc leaves after a blank alone. */
static uint32_t count_blanks(const ee_phrase_graph *graph)
{
    uint32_t count = 0;

    for (uint32_t s = 0; s < graph->states; s++) {
        int needed = 0;
        for (uint32_t a = graph->first[s]; a < graph->first[s + 1u]; a++) {
            needed |= graph->label[a] & EE_PHRASES_AFTER_BLANK;
        }
        count += needed != 0;
    }
    return count;
}

static int is_valid(const ee_phrase_graph *graph)
{
    uint32_t last = 0;

    if (graph->vocab < 2 || graph->vocab > EE_PHRASES_MAX_VOCAB || graph->blank >= graph->vocab
        || graph->states < 1 || graph->states > EE_PHRASES_MAX_GRAPH
        || graph->arcs > EE_PHRASES_MAX_GRAPH || graph->first == NULL || graph->first[0] != 0
        || graph->first[graph->states] != graph->arcs
        || (graph->arcs > 0
            && (graph->target == NULL || graph->label == NULL || graph->weight == NULL
                || graph->weights == NULL))
        || (graph->final_count > 0 && graph->finals == NULL)) {
        return 0;
    }
    for (uint32_t s = 0; s < graph->states; s++) {
        if (graph->first[s] > graph->first[s + 1u]) {
            return 0;
        }
        uint32_t least = 0; /* that the label of the next arc may be */
        for (uint32_t a = graph->first[s]; a < graph->first[s + 1u]; a++) {
            const uint32_t label = graph->label[a] & ~(uint32_t)EE_PHRASES_AFTER_BLANK;
            if (label < least || label >= graph->vocab || label == graph->blank
                || graph->target[a] <= s || graph->target[a] >= graph->states
                || graph->weight[a] >= graph->weight_count) {
                return 0;
            }
            least = label + 1;
        }
    }
    for (uint32_t i = 0; i < graph->final_count; i++) {
        if (graph->finals[i] >= graph->states || (i > 0 && graph->finals[i] <= last)) {
            return 0;
        }
        last = graph->finals[i];
    }
    return 1;
}

/* The next `count` elements of the arena, of which `used` bytes are given away; NULL without an
 * arena, to learn its size. */
static void *take(void *arena, size_t *used, size_t count, size_t bytes)
{
    void *const taken = arena == NULL ? NULL : (char *)arena + *used;

    *used = ee_size_add(*used, ee_size_mul(count, bytes));
    return taken;
}

/* Lays the search out; every count is small enough for 32 bits, the bytes may not be. Keys come
 * first, since they need the wider alignment. Returns the bytes used. */
static size_t lay_out(ee_phrase_search *search, const ee_phrase_graph *graph, uint32_t n,
                      void *arena)
{
    const size_t places[] = {1, graph->states, count_blanks(graph), graph->arcs};
    tokens *const parts[] = {&search->found, &search->states, &search->blanks, &search->arcs};
    size_t used = ee_whole_lines(sizeof(*search));

    for (size_t i = 0; i < 4; i++) {
        parts[i]->key = take(arena, &used, n * places[i], sizeof(uint64_t));
    }
    for (size_t i = 0; i < 4; i++) {
        parts[i]->score = take(arena, &used, n * places[i], sizeof(float));
    }
    search->row = take(arena, &used, graph->vocab, sizeof(float));
    return used;
}

ee_status ee_phrase_search_size(const ee_phrase_graph *graph, uint32_t n, size_t *bytes)
{
    ee_phrase_search unplaced;

    if (graph == NULL || bytes == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *bytes = 0;
    if (n < 1 || n > EE_PHRASES_MAX_N || !is_valid(graph)) {
        return EE_ERR_CONFIG;
    }
    *bytes = lay_out(&unplaced, graph, n, NULL);
    return *bytes == SIZE_MAX ? EE_ERR_TOO_LARGE : EE_OK;
}

ee_status ee_phrase_search_open(ee_phrase_search **search, const ee_phrase_graph *graph,
                                uint32_t n, float filler, void *arena, size_t bytes)
{
    ee_phrase_search *const opened = arena;
    size_t needed;

    if (search == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *search = NULL;
    if (arena == NULL) {
        return EE_ERR_ARGUMENT;
    }
    const ee_status status = ee_phrase_search_size(graph, n, &needed);
    if (status != EE_OK) {
        return status;
    }
    if (!(filler <= FLT_MAX)) {
        return EE_ERR_CONFIG;
    }
    if (!ee_is_aligned(arena, EE_MEMORY_ALIGNMENT)) {
        return EE_ERR_ALIGNMENT;
    }
    if (bytes < needed) {
        return EE_ERR_ARENA_TOO_SMALL;
    }
    (void)lay_out(opened, graph, n, arena);
    opened->graph = *graph;
    opened->n = n;
    opened->filler = filler;
    opened->begun = 0;
    clear(opened->found, n);
    clear(opened->states, (size_t)graph->states * n);
    clear(opened->blanks, (size_t)count_blanks(graph) * n);
    clear(opened->arcs, (size_t)graph->arcs * n);
    opened->states.score[0] = 0.0f;
    *search = opened;
    return EE_OK;
}

/* ---- Search ---- */

/* Sentences that end before the next frame, with filler after them. */
static void end_sentences(tokens found, const ee_phrase_search *search, float after)
{
    for (uint32_t i = 0; i < search->graph.final_count; i++) {
        add_all(found, at(search->states, search->graph.finals[i], search->n), search->n, after,
                0);
    }
}

/* One frame of search->row. States go from the last to the first, so that of the arcs into a state
 * none is done before it: in its place, `states` has the best of the frame before until then, and
 * is then filled with that of this frame. */
static void step(ee_phrase_search *search)
{
    const ee_phrase_graph *const graph = &search->graph;
    const uint32_t n = search->n;
    size_t blank = 0;

    for (uint32_t s = graph->states; s-- > 0;) {
        const tokens here = at(search->states, s, n);
        const tokens after_blank = at(search->blanks, blank, n);
        int needs_blank = 0;

        for (uint32_t a = graph->first[s]; a < graph->first[s + 1u]; a++) {
            const uint32_t label = graph->label[a] & ~(uint32_t)EE_PHRASES_AFTER_BLANK;
            const int waits = label != graph->label[a];
            const tokens on = at(search->arcs, a, n);

            add_all(on, waits ? after_blank : here, n, 0.0f, graph->weights[graph->weight[a]]);
            rescore(on, on, n, search->row[label]);
            add_all(at(search->states, graph->target[a], n), on, n, 0.0f, 0);
            needs_blank |= waits;
        }
        rescore(here, here, n, search->row[graph->blank]);
        if (needs_blank) {
            for (uint32_t i = 0; i < n; i++) {
                after_blank.score[i] = here.score[i];
                after_blank.key[i] = here.key[i];
            }
            blank++;
        }
    }
}

static void prune(float *score, size_t count, float least)
{
    for (size_t i = 0; i < count; i++) {
        score[i] = score[i] < least ? NEVER : score[i];
    }
}

/* Drops what is more than BEAM below the best. */
static void keep_beam(ee_phrase_search *search)
{
    const ee_phrase_graph *const graph = &search->graph;
    const size_t n = search->n;
    float best = NEVER;

    for (size_t s = 0; s < graph->states; s++) {
        const float score = search->states.score[s * n];
        best = score > best ? score : best;
    }
    prune(search->states.score, graph->states * n, best - BEAM);
    prune(search->blanks.score, count_blanks(graph) * n, best - BEAM);
    prune(search->arcs.score, graph->arcs * n, best - BEAM);
}

ee_status ee_phrase_search_feed(ee_phrase_search *search, const float *log_probs, size_t rows)
{
    if (search == NULL || (log_probs == NULL && rows > 0)) {
        return EE_ERR_ARGUMENT;
    }
    const uint32_t vocab = search->graph.vocab;
    const uint32_t n = search->n;

    for (size_t t = 0; t < rows; t++) {
        int refused = 0;
        for (size_t v = 0; v < vocab; v++) {
            refused |= !(log_probs[t * vocab + v] <= ROUNDING);
        }
        if (refused || !ee_is_finite(ee_max(log_probs + t * vocab, vocab))) {
            return EE_ERR_NOT_FINITE;
        }
    }
    for (size_t t = 0; t < rows; t++) {
        const float highest = ee_max(log_probs + t * vocab, vocab);

        for (size_t v = 0; v < vocab; v++) {
            search->row[v] = ee_flush(log_probs[t * vocab + v] - highest);
        }
        if (search->begun && search->filler >= 0.0f) {
            end_sentences(search->found, search, -search->filler);
            add(search->states, n, -search->filler, 0);
        }
        step(search);
        if (search->graph.arcs > EE_PHRASES_EXACT_ARCS) {
            keep_beam(search);
        }
        search->begun = 1;
    }
    return EE_OK;
}

ee_status ee_phrase_search_finish(const ee_phrase_search *search, ee_phrase *found, size_t *count)
{
    float score[EE_PHRASES_MAX_N];
    uint64_t key[EE_PHRASES_MAX_N];
    const tokens best = {score, key};

    if (search == NULL || found == NULL || count == NULL) {
        return EE_ERR_ARGUMENT;
    }
    clear(best, search->n);
    add_all(best, search->found, search->n, 0.0f, 0);
    end_sentences(best, search, 0.0f);
    *count = 0;
    for (; *count < search->n && score[*count] > NEVER; (*count)++) {
        found[*count].score = score[*count];
        found[*count].key = key[*count];
    }
    return EE_OK;
}
