#include "ee_phrases.h"

#include <float.h>

#include "../common/ee_exact.h"
#include "../common/ee_size.h"
#include "ee_phrase_tables.h"

/* Rounding may lift a log-probability above zero by about this much; logits are far beyond it. */
static const float ROUNDING = 1e-3f;
/* Below it a token is dropped at the first attempt. A sentence that was said scores a few below 0,
 * and the next best counts up to SPREAD below that. */
static const float FLOOR = -22.0f;
/* How far below the best of a frame a token is dropped at the second attempt. */
static const float BEAM = 16.0f;
/* How far below the best sentence others are found. */
static const float SPREAD = 20.0f;
/* What a blank costs: see ee_ref/decode/graph.py. */
static const float BLANK_COST = 2.0f;
#define NEVER ee_bits_float(0xFF800000u) /* minus infinity: the score of no token */
#define UNLIMITED ee_bits_float(0x7F800000u)

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
    /* A token below `floor`, or `beam` below the best of its frame, is dropped before the next. */
    float beam, floor;
    float best;    /* of the last frame */
    float dropped; /* the best that ever was */
    tokens found;  /* sentences that ended earlier, filler after them */
    /* n tokens for each: */
    tokens states; /* state: the best there, with a blank or any label as the last one */
    tokens blanks; /* state that an arc leaves after a blank alone: with a blank as the last one */
    tokens arcs;   /* arc: with its label as the last one */
    float *row;    /* (vocab) of a frame: `relative` of ee_ref/decode/graph.py */
    uint16_t *blank_of; /* state: its place in `blanks`, or NO_BLANK */
    uint8_t *live; /* state: a bit, whether there is a token at it or on an arc from it */
};

enum { NO_BLANK = 0xFFFF };

static tokens at(tokens all, size_t place, uint32_t n)
{
    const tokens there = {all.score + place * n, all.key + place * n};
    return there;
}

static inline int is_better(float score, uint64_t key, float than, uint64_t other)
{
    return score > than || (score == than && key < other);
}

/* Adds a token unless n others are better; of two with the same key the better one stays. */
static inline void add(tokens to, uint32_t n, float score, uint64_t key)
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

/* Adds tokens, `score` and `key` being added to theirs. */
static inline void add_all(tokens to, tokens from, uint32_t n, float score, uint64_t key)
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

/* Adds e to all scores, which may make equals of them: the lower key is first then. */
static inline void rescore(tokens all, uint32_t n, float e)
{
    for (uint32_t i = 0; i < n; i++) {
        const float score = all.score[i] + e;
        const uint64_t key = all.key[i];
        uint32_t j = i;

        for (; j > 0 && is_better(score, key, all.score[j - 1], all.key[j - 1]); j--) {
            all.score[j] = all.score[j - 1];
            all.key[j] = all.key[j - 1];
        }
        all.score[j] = score;
        all.key[j] = key;
    }
}

/* ---- Memory ---- */

static int needs_blank(const ee_phrase_graph *graph, uint32_t state)
{
    int needed = 0;

    for (uint32_t a = graph->first[state]; a < graph->first[state + 1]; a++) {
        needed |= ee_bit(graph->after_blank, a);
    }
    return needed;
}

static uint32_t count_blanks(const ee_phrase_graph *graph)
{
    uint32_t count = 0;

    for (uint32_t s = 0; s < graph->states; s++) {
        count += needs_blank(graph, s) ? 1 : 0;
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
            && (graph->target == NULL || graph->after_blank == NULL || graph->weights == NULL
                || (graph->label.narrow == NULL && graph->label.wide == NULL)
                || (graph->weight.narrow == NULL && graph->weight.wide == NULL)))
        || (graph->final_count > 0 && graph->finals == NULL)) {
        return 0;
    }
    for (uint32_t s = 0; s < graph->states; s++) {
        if (graph->first[s] > graph->first[s + 1]) {
            return 0;
        }
        uint32_t least = 0; /* that the label of the next arc may be */
        for (uint32_t a = graph->first[s]; a < graph->first[s + 1]; a++) {
            const uint32_t label = ee_number(graph->label, a);
            if (label < least || label >= graph->vocab || label == graph->blank
                || graph->target[a] <= s || graph->target[a] >= graph->states
                || ee_number(graph->weight, a) >= graph->weight_count) {
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
    search->blank_of = take(arena, &used, graph->states, sizeof(uint16_t));
    search->live = take(arena, &used, (graph->states + 7) / 8, 1);
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

static void set_live(ee_phrase_search *search, uint32_t state)
{
    search->live[state / 8] = (uint8_t)(search->live[state / 8] | 1u << state % 8);
}

/* Forgets all frames. States that are not live have no tokens, nor have their arcs. */
static void begin(ee_phrase_search *search)
{
    const ee_phrase_graph *const graph = &search->graph;
    const uint32_t n = search->n;

    for (uint32_t s = 0; s < graph->states; s++) {
        if (!ee_bit(search->live, s)) {
            continue;
        }
        clear(at(search->states, s, n), n);
        clear(at(search->arcs, graph->first[s], n),
              n * (size_t)(graph->first[s + 1] - graph->first[s]));
        if (search->blank_of[s] != NO_BLANK) {
            clear(at(search->blanks, search->blank_of[s], n), n);
        }
        search->live[s / 8] = (uint8_t)(search->live[s / 8] & ~(1u << s % 8));
    }
    clear(search->found, n);
    search->begun = 0;
    search->best = 0.0f;
    search->dropped = NEVER;
    search->states.score[0] = 0.0f;
    set_live(search, 0);
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
    opened->beam = UNLIMITED;
    opened->floor = -FLT_MAX;
    uint16_t blanks = 0;
    for (uint32_t s = 0; s < graph->states; s++) {
        opened->blank_of[s] = needs_blank(graph, s) ? blanks++ : NO_BLANK;
        opened->live[s / 8] = 0;
    }
    clear(opened->states, (size_t)graph->states * n);
    clear(opened->blanks, (size_t)blanks * n);
    clear(opened->arcs, (size_t)graph->arcs * n);
    begin(opened);
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

static float larger(float a, float b)
{
    return a > b ? a : b;
}

/* Drops the tokens below `least`; returns whether one is left. */
static inline int keep(ee_phrase_search *search, tokens here, uint32_t n, float least)
{
    for (uint32_t i = n; i-- > 0 && here.score[i] < least;) {
        search->dropped = larger(here.score[i], search->dropped);
        here.score[i] = NEVER;
    }
    return here.score[0] > NEVER;
}

/* The arcs of a state, for a frame. here: the tokens at it; blank: those with a blank as the last
 * label, where an arc needs them, otherwise `here`. Returns whether an arc has a token then. */
static inline int follow(ee_phrase_search *search, uint32_t state, tokens here, tokens blank,
                         uint32_t n, float least)
{
    const ee_phrase_graph *const graph = &search->graph;
    float next_least = larger(search->best - search->beam, search->floor);
    int live = 0;

    for (uint32_t a = graph->first[state]; a < graph->first[state + 1]; a++) {
        const tokens from = ee_bit(graph->after_blank, a) ? blank : here;
        const tokens on = at(search->arcs, a, n);
        const float e = search->row[ee_number(graph->label, a)];

        if (!(on.score[0] > NEVER && keep(search, on, n, least))
            && from.score[0] + e < next_least) {
            /* Most arcs end here: what would be dropped before the next frame. */
            search->dropped = larger(from.score[0] + e, search->dropped);
            continue;
        }
        add_all(on, from, n, 0.0f, graph->weights[ee_number(graph->weight, a)]);
        rescore(on, n, e);
        if (on.score[0] > search->best) {
            search->best = on.score[0];
            next_least = larger(search->best - search->beam, search->floor);
        }
        add_all(at(search->states, graph->target[a], n), on, n, 0.0f, 0);
        set_live(search, graph->target[a]);
        live = 1;
    }
    return live;
}

/* A state and the arcs from it, for a frame. */
static inline void visit(ee_phrase_search *search, uint32_t state, uint32_t n, float least)
{
    const tokens here = at(search->states, state, n);
    const int needs = search->blank_of[state] != NO_BLANK;
    const tokens blank = needs ? at(search->blanks, search->blank_of[state], n) : here;

    search->live[state / 8] = (uint8_t)(search->live[state / 8] & ~(1u << state % 8));
    const int stays = keep(search, here, n, least);
    if (needs) {
        (void)keep(search, blank, n, least);
    }
    if (follow(search, state, here, blank, n, least) || stays) {
        set_live(search, state);
    }
    rescore(here, n, search->row[search->graph.blank]);
    search->best = larger(here.score[0], search->best);
    for (uint32_t i = 0; needs && i < n; i++) {
        blank.score[i] = here.score[i];
        blank.key[i] = here.key[i];
    }
}

/* One frame of search->row. States go from the last to the first, so that of the arcs into a state
 * none is done before it: its place in `states` has the best of the frame before until then, and is
 * then filled with that of this frame. */
static void step(ee_phrase_search *search)
{
    const float least = larger(search->best - search->beam, search->floor);

    search->best = NEVER;
    for (uint32_t i = (search->graph.states + 7) / 8; i-- > 0;) {
        uint32_t bits = search->live[i]; /* a visit sets none of a lower state */

        for (uint32_t s = i * 8 + 7; bits != 0; s--, bits = bits << 1 & 0xFFu) {
            if ((bits & 0x80u) == 0) {
                continue;
            }
            if (search->n == 2) {
                visit(search, s, 2, least); /* what most searches ask for, with loops unrolled */
            } else {
                visit(search, s, search->n, least);
            }
        }
    }
}

static ee_status check_rows(const float *log_probs, size_t rows, size_t vocab)
{
    for (size_t t = 0; t < rows; t++) {
        const float *const row = log_probs + t * vocab;
        int refused = 0, possible = 0;

        for (size_t v = 0; v < vocab; v++) {
            refused |= !(row[v] <= ROUNDING);
            possible |= row[v] > NEVER;
        }
        if (refused || !possible) {
            return EE_ERR_NOT_FINITE;
        }
    }
    return EE_OK;
}

/* Side by side, so that a compiler may take vectors. */
static float highest_of(const float *row, size_t vocab)
{
    float lanes[8], highest = NEVER;

    for (size_t i = 0; i < 8; i++) {
        lanes[i] = NEVER;
    }
    for (size_t v = 0; v + 8 <= vocab; v += 8) {
        for (size_t i = 0; i < 8; i++) {
            lanes[i] = larger(row[v + i], lanes[i]);
        }
    }
    for (size_t v = vocab - vocab % 8; v < vocab; v++) {
        highest = larger(row[v], highest);
    }
    for (size_t i = 0; i < 8; i++) {
        highest = larger(lanes[i], highest);
    }
    return highest;
}

static void feed(ee_phrase_search *search, const float *log_probs, size_t rows)
{
    const size_t vocab = search->graph.vocab;
    float *const row = search->row;

    for (size_t t = 0; t < rows; t++) {
        for (size_t v = 0; v < vocab; v++) {
            row[v] = log_probs[t * vocab + v];
        }
        row[search->graph.blank] -= BLANK_COST;
        const float highest = highest_of(row, vocab);

        for (size_t v = 0; v < vocab; v++) {
            row[v] = ee_flush(row[v] - highest);
        }
        if (search->begun && search->filler >= 0.0f) {
            end_sentences(search->found, search, -search->filler);
            add(search->states, search->n, -search->filler, 0);
            set_live(search, 0);
        }
        step(search);
        search->begun = 1;
    }
}

ee_status ee_phrase_search_feed(ee_phrase_search *search, const float *log_probs, size_t rows)
{
    if (search == NULL || (log_probs == NULL && rows > 0)) {
        return EE_ERR_ARGUMENT;
    }
    const ee_status status = check_rows(log_probs, rows, search->graph.vocab);

    if (status == EE_OK) {
        feed(search, log_probs, rows);
    }
    return status;
}

/* The score that a sentence must have not to be worse than n others or too far below the best. */
static float least_found(const ee_phrase_search *search, const ee_phrase *found, size_t count)
{
    return count == 0 ? -FLT_MAX
           : count == search->n ? found[count - 1].score : found[0].score - SPREAD;
}

ee_status ee_phrase_search_finish(const ee_phrase_search *search, ee_phrase *found, size_t *count)
{
    float scores[EE_PHRASES_MAX_N];
    uint64_t keys[EE_PHRASES_MAX_N];
    const tokens best = {scores, keys};

    if (search == NULL || found == NULL || count == NULL) {
        return EE_ERR_ARGUMENT;
    }
    clear(best, search->n);
    add_all(best, search->found, search->n, 0.0f, 0);
    end_sentences(best, search, 0.0f);
    *count = 0;
    for (; *count < search->n && scores[*count] > NEVER
           && scores[*count] >= scores[0] - SPREAD; (*count)++) {
        found[*count].score = scores[*count];
        found[*count].key = keys[*count];
    }
    return EE_OK;
}

/* A search of all rows which drops the tokens below `floor`, or `beam` below the best. */
static void attempt(ee_phrase_search *search, float floor, float beam, const float *log_probs,
                    size_t rows, ee_phrase *found, size_t *count)
{
    begin(search);
    search->floor = floor;
    search->beam = beam;
    feed(search, log_probs, rows);
    search->floor = -FLT_MAX;
    search->beam = UNLIMITED;
    (void)ee_phrase_search_finish(search, found, count);
}

ee_status ee_phrase_search_all(ee_phrase_search *search, const float *log_probs, size_t rows,
                               ee_phrase *found, size_t *count)
{
    if (search == NULL || (log_probs == NULL && rows > 0) || found == NULL || count == NULL) {
        return EE_ERR_ARGUMENT;
    }
    const ee_status status = check_rows(log_probs, rows, search->graph.vocab);

    if (status != EE_OK) {
        return status;
    }
    attempt(search, FLOOR, UNLIMITED, log_probs, rows, found, count);
    if (*count == 0) {
        attempt(search, -FLT_MAX, BEAM, log_probs, rows, found, count);
    }
    const float least = least_found(search, found, *count);

    /* Scores only fall: what was dropped below `least` could not have been found. */
    if (search->dropped > NEVER && !(search->dropped < least)) {
        attempt(search, least, UNLIMITED, log_probs, rows, found, count);
    }
    return EE_OK;
}
