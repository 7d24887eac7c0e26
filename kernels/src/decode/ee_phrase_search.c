#include "ee_phrases.h"

#include <float.h>

#include "../common/ee_exact.h"
#include "../common/ee_memory.h"
#include "../common/ee_size.h"
#include "ee_phrase_tables.h"

/* Rounding may lift a log-probability above zero by about this much; logits are far beyond it. */
static const float ROUNDING = 1e-3f;
/* How far below the best of a frame a token is dropped at the first attempt. */
static const float BEAM = 9.0f;
/* How far below the best sentence others are found. */
static const float SPREAD = 10.0f;
/* What a blank costs, and how far a sentence may fall behind free speech: see
 * ee_ref/decode/graph.py. */
static const float BLANK_WEIGHT = 3.0f, BLANK_COST = 2.0f, LAG = 32.0f, LAG_PER_FRAME = 0.75f;
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
    size_t frames; /* that were fed */
    /* Before the next frame a token is dropped that is `beam` below the best of the frame before, or
     * that cannot end at `floor` or above: `most` is all that it can still have. */
    float beam, floor;
    float best;    /* of the last frame */
    tokens found;  /* sentences that ended earlier, filler after them */
    /* n tokens for each: */
    tokens states; /* state: the best there, with a blank or any label as the last one */
    tokens blanks; /* state that an arc leaves after a blank alone: with a blank as the last one */
    tokens arcs;   /* arc: with its label as the last one */
    float *row;    /* (vocab) of a frame: `relative` of ee_ref/decode/graph.py */
    float *highest; /* (vocab) of each label, of all frames */
    float *most;   /* state: no less than what the rest of a sentence adds to a score */
    uint16_t *blank_of; /* state: its place in `blanks`, or NO_BLANK */
    uint32_t *live; /* state: a bit, whether there is a token at it or on an arc from it */
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

static size_t live_words(const ee_phrase_graph *graph)
{
    return ((size_t)graph->states + 31) / 32;
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
    search->live = take(arena, &used, live_words(graph), sizeof(uint32_t));
    search->row = take(arena, &used, graph->vocab, sizeof(float));
    search->highest = take(arena, &used, graph->vocab, sizeof(float));
    search->most = take(arena, &used, graph->states, sizeof(float));
    search->blank_of = take(arena, &used, graph->states, sizeof(uint16_t));
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
    search->live[state / 32] |= 1u << state % 32;
}

static void clear_live(ee_phrase_search *search, uint32_t state)
{
    search->live[state / 32] &= ~(1u << state % 32);
}

/* Forgets all frames. States that are not live have no tokens, nor have their arcs. */
static void begin(ee_phrase_search *search)
{
    const ee_phrase_graph *const graph = &search->graph;
    const uint32_t n = search->n;

    for (uint32_t s = 0; s < graph->states; s++) {
        if ((search->live[s / 32] >> s % 32 & 1u) == 0) {
            continue;
        }
        clear(at(search->states, s, n), n);
        clear(at(search->arcs, graph->first[s], n),
              n * (size_t)(graph->first[s + 1] - graph->first[s]));
        if (search->blank_of[s] != NO_BLANK) {
            clear(at(search->blanks, search->blank_of[s], n), n);
        }
        clear_live(search, s);
    }
    clear(search->found, n);
    search->frames = 0;
    search->best = 0.0f;
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
    ee_status status = ee_phrase_search_size(graph, n, &needed);
    if (status == EE_OK && !(filler <= FLT_MAX)) {
        status = EE_ERR_CONFIG;
    }
    if (status == EE_OK) {
        status = ee_check_memory(arena, bytes, needed, EE_ERR_ARENA_TOO_SMALL);
    }
    if (status != EE_OK) {
        return status;
    }
    (void)lay_out(opened, graph, n, arena);
    opened->graph = *graph;
    opened->n = n;
    opened->filler = filler;
    opened->beam = UNLIMITED;
    opened->floor = NEVER;
    uint16_t blanks = 0;
    for (uint32_t s = 0; s < graph->states; s++) {
        opened->blank_of[s] = needs_blank(graph, s) ? blanks++ : NO_BLANK;
        opened->most[s] = 0.0f;
    }
    for (size_t i = 0; i < live_words(graph); i++) {
        opened->live[i] = 0;
    }
    clear(opened->states, (size_t)graph->states * n);
    clear(opened->blanks, (size_t)blanks * n);
    clear(opened->arcs, (size_t)graph->arcs * n);
    begin(opened);
    *search = opened;
    return EE_OK;
}

/* ---- Search ---- */

static float larger(float a, float b)
{
    return a > b ? a : b;
}

/* Below it there are no tokens after so many frames. */
static float limit(const ee_phrase_search *search, size_t frames)
{
    return -(LAG + LAG_PER_FRAME * (float)frames) - larger(search->filler, 0.0f);
}

/* Drops the tokens below `least`; returns whether one is left. */
static inline int keep(tokens here, uint32_t n, float least)
{
    for (uint32_t i = n; i-- > 0 && here.score[i] < least;) {
        here.score[i] = NEVER;
    }
    return here.score[0] > NEVER;
}

/* Sentences that end before the next frame, with filler after them. */
static void end_sentences(tokens found, const ee_phrase_search *search, float after)
{
    const float least = limit(search, search->frames);

    for (uint32_t i = 0; i < search->graph.final_count; i++) {
        const tokens ended = at(search->states, search->graph.finals[i], search->n);

        for (uint32_t j = 0; j < search->n && ended.score[j] >= least; j++) {
            add(found, search->n, ended.score[j] + after, ended.key[j]);
        }
    }
}

/* The arcs of a state, for a frame. here: the tokens at it; blank: those with a blank as the last
 * label, where an arc needs them, otherwise `here`. least, next_least: of all tokens, before and
 * after the frame. Returns whether an arc has a token then. */
static inline int follow(ee_phrase_search *search, uint32_t state, tokens here, tokens blank,
                         uint32_t n, float least, float next_least)
{
    const ee_phrase_graph *const graph = &search->graph;
    int live = 0;

    for (uint32_t a = graph->first[state]; a < graph->first[state + 1]; a++) {
        const uint32_t target = graph->target[a];
        const tokens from = ee_bit(graph->after_blank, a) ? blank : here;
        const tokens on = at(search->arcs, a, n);
        const float e = search->row[ee_number(graph->label, a)];
        const float needed = search->floor - search->most[target];

        if (!(on.score[0] > NEVER && keep(on, n, larger(needed, least)))
            && from.score[0] + e < larger(needed, next_least)) {
            continue; /* Most arcs end here: what would be dropped before the next frame. */
        }
        add_all(on, from, n, 0.0f, graph->weights[ee_number(graph->weight, a)]);
        rescore(on, n, e);
        search->best = larger(on.score[0], search->best);
        add_all(at(search->states, target, n), on, n, 0.0f, 0);
        set_live(search, target);
        live = 1;
    }
    return live;
}

/* A state and the arcs from it, for a frame. */
static inline void visit(ee_phrase_search *search, uint32_t state, uint32_t n, float least,
                         float next_least)
{
    const tokens here = at(search->states, state, n);
    const int needs = search->blank_of[state] != NO_BLANK;
    const tokens blank = needs ? at(search->blanks, search->blank_of[state], n) : here;
    const float needed = larger(search->floor - search->most[state], least);

    clear_live(search, state);
    const int stays = keep(here, n, needed);
    if (needs) {
        (void)keep(blank, n, needed);
    }
    if (follow(search, state, here, blank, n, least, next_least) || stays) {
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
    const float least = larger(limit(search, search->frames), search->best - search->beam);
    const float next_least = limit(search, search->frames + 1);

    search->best = NEVER;
    for (size_t i = live_words(&search->graph); i-- > 0;) {
        uint32_t bits = search->live[i]; /* a visit sets none of a lower state */

        for (uint32_t s = (uint32_t)i * 32 + 31; bits != 0; s--, bits <<= 1) {
            for (; bits >> 24 == 0; bits <<= 8) {
                s -= 8;
            }
            if (bits >> 31 == 0) {
                continue;
            }
            if (search->n == 2) { /* what most searches ask for, with loops unrolled */
                visit(search, s, 2, least, next_least);
            } else {
                visit(search, s, search->n, least, next_least);
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

/* Side by side, in so many lanes that compilers take vectors. */
static float highest_of(const float *row, size_t vocab)
{
    enum { LANES = 32 };
    float lanes[LANES], highest = NEVER;

    for (size_t i = 0; i < LANES; i++) {
        lanes[i] = NEVER;
    }
    for (size_t v = 0; v + LANES <= vocab; v += LANES) {
        for (size_t i = 0; i < LANES; i++) {
            lanes[i] = larger(row[v + i], lanes[i]);
        }
    }
    for (size_t v = vocab - vocab % LANES; v < vocab; v++) {
        highest = larger(row[v], highest);
    }
    for (size_t i = 0; i < LANES; i++) {
        highest = larger(lanes[i], highest);
    }
    return highest;
}

/* search->row of a frame. */
static void read_row(ee_phrase_search *search, const float *log_probs)
{
    const size_t vocab = search->graph.vocab;
    float *const row = search->row;

    for (size_t v = 0; v < vocab; v++) {
        row[v] = log_probs[v];
    }
    row[search->graph.blank] = BLANK_WEIGHT * row[search->graph.blank] - BLANK_COST;
    const float highest = highest_of(row, vocab);

    for (size_t v = 0; v < vocab; v++) {
        row[v] = ee_flush(row[v] - highest);
    }
}

static void feed(ee_phrase_search *search, const float *log_probs, size_t rows)
{
    for (size_t t = 0; t < rows; t++) {
        read_row(search, log_probs + t * search->graph.vocab);
        if (search->frames > 0 && search->filler >= 0.0f) {
            end_sentences(search->found, search, -search->filler);
            add(search->states, search->n, -search->filler, 0);
            set_live(search, 0);
        }
        step(search);
        search->frames++;
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

/* ---- A whole utterance ---- */

/* Fills search->most. */
static void look_ahead(ee_phrase_search *search, const float *log_probs, size_t rows)
{
    const ee_phrase_graph *const graph = &search->graph;
    const size_t vocab = graph->vocab;
    float *const highest = search->highest, *const most = search->most;
    uint32_t ends = graph->final_count;

    for (size_t v = 0; v < vocab; v++) {
        highest[v] = NEVER;
    }
    for (size_t t = 0; t < rows; t++) {
        read_row(search, log_probs + t * vocab);
        for (size_t v = 0; v < vocab; v++) {
            highest[v] = larger(search->row[v], highest[v]);
        }
    }
    for (uint32_t s = graph->states; s-- > 0;) {
        const int final = ends > 0 && graph->finals[ends - 1] == s;

        ends -= final ? 1 : 0;
        most[s] = final ? 0.0f : NEVER;
        for (uint32_t a = graph->first[s]; a < graph->first[s + 1]; a++) {
            most[s] = larger(highest[ee_number(graph->label, a)] + most[graph->target[a]],
                             most[s]);
        }
    }
}

/* A search of all rows which drops what cannot end at `floor`, and what is `beam` behind. */
static void attempt(ee_phrase_search *search, float floor, float beam, const float *log_probs,
                    size_t rows, ee_phrase *found, size_t *count)
{
    begin(search);
    /* With what rounding may take from as many sums. */
    search->floor = floor + (float)rows * floor * 0x1p-22f;
    search->beam = beam;
    feed(search, log_probs, rows);
    search->floor = NEVER;
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
    const float lowest = limit(search, rows);

    look_ahead(search, log_probs, rows);
    attempt(search, lowest, BEAM, log_probs, rows, found, count);
    attempt(search, larger(least_found(search, found, *count), lowest), UNLIMITED, log_probs, rows,
            found, count);
    return EE_OK;
}
