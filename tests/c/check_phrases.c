/* The phrase search: known answers, the arena to the byte, and what is refused.
 * tests/test_phrase_search.py and tests/test_packed.py compare it with its Python twins. */
#include <float.h>

#include "check.h"
#include "ee_phrases.h"

/* Labels 1 2 with key 0, 1 1 with key 4, 2 with key 5; 1 1 needs a blank in between. */
static const uint16_t first[] = {0, 2, 4, 4};
static const uint16_t target[] = {1, 2, 2, 2};
static const uint8_t label[] = {1, 2, 1, 2};
static const uint8_t weight[] = {0, 2, 1, 0};
static const uint8_t after_blank[] = {1u << 2};
static const uint64_t weights[] = {0, 4, 5};
static const uint16_t finals[] = {2};
static const ee_phrase_graph graph = {
    .vocab = 3, .blank = 0, .states = 3, .arcs = 4, .weight_count = 3, .final_count = 1,
    .first = first, .target = target, .label = {label, NULL}, .weight = {weight, NULL},
    .after_blank = after_blank, .weights = weights, .finals = finals,
};

/* 1 1 2 in three frames is best; with three times its own cost and 2 for each blank 1 - 1 costs 5,
 * - 2 2 costs 7. */
static const float log_probs[] = {-1, 0, -9, -1, 0, -2, -9, 0, 0};

enum { BEYOND = 0x5A };
static unsigned char *beyond; /* the end of the arena, and a line at most */

static void check_arena(guarded *arena)
{
    CHECK(sentinels_intact(arena), "before the arena");
    for (; beyond < (unsigned char *)(arena->data + arena->count); beyond++) {
        CHECK(*beyond == BEYOND, "behind the arena");
    }
    guarded_free(arena);
}

static ee_phrase_search *opened(const ee_phrase_graph *of, uint32_t n, float filler, guarded *arena)
{
    ee_phrase_search *search = NULL;
    size_t bytes = 0;

    CHECK(ee_phrase_search_size(of, n, &bytes) == EE_OK, "size");
    /* From a multiple of 64 bytes to the unreadable page. */
    *arena = guarded_floats((bytes + 63) / 64 * 16);
    beyond = (unsigned char *)arena->data + bytes;
    memset(beyond, BEYOND, (size_t)((unsigned char *)(arena->data + arena->count) - beyond));
    CHECK(ee_phrase_search_open(&search, of, n, filler, arena->data, bytes) == EE_OK, "open");
    return search;
}

static void check_known(void)
{
    guarded arena;
    ee_phrase_search *const search = opened(&graph, 3, -1.0f, &arena);
    ee_phrase found[3];
    size_t count;

    for (int pieces = 0; pieces < 3; pieces++) {
        if (pieces == 0) {
            CHECK(ee_phrase_search_feed(search, NULL, 0) == EE_OK, "nothing");
            CHECK(ee_phrase_search_finish(search, found, &count) == EE_OK && count == 0, "none");
            CHECK(ee_phrase_search_feed(search, log_probs, 1) == EE_OK, "one frame");
            CHECK(ee_phrase_search_feed(search, log_probs + 3, 2) == EE_OK, "two frames");
            CHECK(ee_phrase_search_finish(search, found, &count) == EE_OK, "pieces");
        } else {
            CHECK(ee_phrase_search_all(search, log_probs, 3, found, &count) == EE_OK, "whole");
        }
        CHECK(count == 3, "%zu sentences", count);
        CHECK(found[0].key == 0 && found[0].score == 0.0f, "best %g", (double)found[0].score);
        CHECK(found[1].key == 4 && found[1].score == -5.0f, "next %g", (double)found[1].score);
        CHECK(found[2].key == 5 && found[2].score == -7.0f, "last %g", (double)found[2].score);
    }
    check_arena(&arena);
}

static void check_spread_and_filler(void)
{
    const float far[] = {-25, 0, -25, -25, -25, 0, 0, -25, -25};
    guarded arena;
    ee_phrase found[2];
    size_t count;
    ee_phrase_search *search = opened(&graph, 2, -1.0f, &arena);

    CHECK(ee_phrase_search_all(search, far, 3, found, &count) == EE_OK, "far");
    CHECK(count == 1 && found[0].key == 0, "%zu within 10", count);
    guarded_free(&arena);
    search = opened(&graph, 2, 3.0f, &arena);
    CHECK(ee_phrase_search_all(search, far, 3, found, &count) == EE_OK, "filler");
    CHECK(count == 2 && found[0].score == 0.0f && found[1].key == 5
              && found[1].score == -3.0f, "2 behind something else");
    check_arena(&arena);
}

static void check_refused(void)
{
    const float wrong[] = {NAN, INFINITY, 1.0f};
    guarded arena;
    ee_phrase_search *search = opened(&graph, 2, -1.0f, &arena), *none = search;
    ee_phrase found[2], before[2];
    size_t bytes = 0, count = 0;
    float rows[6] = {0, 0, 0, 0, 0, 0};

    CHECK(ee_phrase_search_feed(search, log_probs, 3) == EE_OK, "feed");
    CHECK(ee_phrase_search_finish(search, before, &count) == EE_OK && count == 2, "finish");
    for (size_t i = 0; i < 4; i++) {
        for (size_t v = 3; v < 6; v++) {
            rows[v] = i < 3 ? wrong[i] : -INFINITY;
        }
        CHECK(ee_phrase_search_feed(search, rows, 2) == EE_ERR_NOT_FINITE, "row %zu", i);
        CHECK(ee_phrase_search_all(search, rows, 2, found, &count) == EE_ERR_NOT_FINITE, "%zu", i);
    }
    CHECK(ee_phrase_search_finish(search, found, &count) == EE_OK && count == 2
              && found[1].score == before[1].score, "a wrong row changed something");
    CHECK(ee_phrase_search_feed(NULL, rows, 1) == EE_ERR_ARGUMENT, "no search");
    CHECK(ee_phrase_search_feed(search, NULL, 1) == EE_ERR_ARGUMENT, "no rows");
    CHECK(ee_phrase_search_finish(search, NULL, &count) == EE_ERR_ARGUMENT, "no place");
    CHECK(ee_phrase_search_all(search, rows, 1, found, NULL) == EE_ERR_ARGUMENT, "no count");

    CHECK(ee_phrase_search_size(&graph, 2, &bytes) == EE_OK, "size");
    CHECK(ee_phrase_search_open(&none, &graph, 2, -1.0f, arena.data, bytes - 1)
              == EE_ERR_ARENA_TOO_SMALL && none == NULL, "small");
    CHECK(ee_phrase_search_open(&none, &graph, 2, -1.0f, arena.data + 1, bytes)
              == EE_ERR_ALIGNMENT, "alignment");
    CHECK(ee_phrase_search_open(&none, &graph, 2, NAN, arena.data, bytes) == EE_ERR_CONFIG, "nan");
    CHECK(ee_phrase_search_open(&none, &graph, 2, INFINITY, arena.data, bytes) == EE_ERR_CONFIG,
          "infinite");
    CHECK(ee_phrase_search_open(&none, &graph, 2, -1.0f, NULL, bytes) == EE_ERR_ARGUMENT, "arena");
    CHECK(ee_phrase_search_open(NULL, &graph, 2, -1.0f, arena.data, bytes) == EE_ERR_ARGUMENT,
          "search");
    CHECK(ee_phrase_search_size(NULL, 2, &bytes) == EE_ERR_ARGUMENT, "graph");
    CHECK(ee_phrase_search_size(&graph, 2, NULL) == EE_ERR_ARGUMENT, "bytes");
    CHECK(ee_phrase_search_size(&graph, 0, &bytes) == EE_ERR_CONFIG && bytes == 0, "none");
    CHECK(ee_phrase_search_size(&graph, 9, &bytes) == EE_ERR_CONFIG, "nine");
    guarded_free(&arena);
}

static void check_wrong_graphs(void)
{
    static const uint16_t falling[] = {0, 3, 2, 4}, back[] = {1, 2, 1, 2}, outside[] = {1, 2, 3, 2};
    static const uint16_t twice[] = {2, 2};
    static const uint8_t unsorted[] = {2, 1, 1, 2}, blank[] = {0, 2, 1, 2}, high[] = {1, 3, 1, 2};
    static const uint8_t heavy[] = {0, 3, 1, 0};
    ee_phrase_graph wrong[16];
    size_t count = 0, bytes;

    for (size_t i = 0; i < 16; i++) {
        wrong[i] = graph;
    }
    wrong[count++].first = falling;
    wrong[count++].first = NULL;
    wrong[count++].target = back;
    wrong[count++].target = outside;
    wrong[count++].label.narrow = unsorted;
    wrong[count++].label.narrow = blank;
    wrong[count++].label.narrow = high;
    wrong[count++].label.narrow = NULL;
    wrong[count++].weight.narrow = heavy;
    wrong[count].finals = twice;
    wrong[count++].final_count = 2;
    wrong[count++].states = 0;
    wrong[count++].states = 65536;
    wrong[count++].arcs = 5;
    wrong[count++].vocab = 1;
    wrong[count++].blank = 3;
    wrong[count++].after_blank = NULL;
    for (size_t i = 0; i < count; i++) {
        CHECK(ee_phrase_search_size(&wrong[i], 2, &bytes) == EE_ERR_CONFIG, "graph %zu", i);
    }
}

static void check_section(void)
{
    /* A header of zeros: no graph, no words. tests/test_packed.py has more. */
    guarded section = guarded_floats(32);
    ee_phrases phrases;
    uint16_t word;
    size_t count;

    memset(section.data, 0, 128);
    phrases.graph.states = 1;
    CHECK(ee_phrases_open(&phrases, section.data, 128) == EE_ERR_IMAGE_LAYOUT
              && phrases.graph.states == 0, "zeros");
    CHECK(ee_phrases_open(&phrases, section.data + 1, 64) == EE_ERR_ALIGNMENT, "alignment");
    CHECK(ee_phrases_open(&phrases, NULL, 0) == EE_ERR_ARGUMENT, "no section");
    CHECK(ee_phrases_open(NULL, section.data, 128) == EE_ERR_ARGUMENT, "no place");
    CHECK(ee_phrases_sentence(NULL, 0, &word, 1, &count) == EE_ERR_ARGUMENT, "no phrases");
    CHECK(ee_phrases_string(NULL, 0) == NULL, "no phrases");
    guarded_free(&section);
}

int main(void)
{
    check_known();
    check_spread_and_filler();
    check_refused();
    check_wrong_graphs();
    check_section();
    return check_result("check_phrases");
}
