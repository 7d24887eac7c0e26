/* Phrases of a flash image. The input is words, then a section. What opens is searched with
 * log-probabilities that follow from a word, and what is found is read. */
#include "ee_phrases.h"
#include "fuzz.h"

enum { SEED, ROWS, N, FILLER, WORDS };
enum { MOST_ROWS = 8, MAX_WORDS = 255 };

static void read_sentence(const ee_phrases *phrases, uint64_t key, size_t capacity)
{
    uint16_t *const words = fuzz_memory(capacity * sizeof(*words), sizeof(void *));
    char text[64];
    size_t count = 0, length, bytes = 0;
    ee_phrase_meaning meaning;

    if (ee_phrases_sentence(phrases, key, words, capacity, &count) == EE_OK) {
        EXPECT(count <= capacity && ee_phrases_letters(phrases, words, count) >= 1);
        (void)ee_phrases_text(text, sizeof(text), &length, phrases, words, count);
        EXPECT(strlen(text) == (length < sizeof(text) ? length : sizeof(text) - 1));
        EXPECT(ee_phrases_meaning_size(phrases, count, &bytes) == EE_OK);
        void *const memory = fuzz_memory(bytes, sizeof(void *));
        if (ee_phrases_meaning(&meaning, phrases, words, count, memory, bytes) == EE_OK) {
            EXPECT(meaning.intent == EE_PHRASES_NONE
                   || ee_phrases_string(phrases, meaning.intent) != NULL);
            for (uint32_t i = 0; i < meaning.slots; i++) {
                EXPECT(ee_phrases_string(phrases, meaning.slot[i]) != NULL
                       && ee_phrases_string(phrases, meaning.value[i]) != NULL);
            }
        }
        free(memory);
    }
    free(words);
}

/* What a whole search finds is what its pieces find. */
static void search(const ee_phrases *phrases, const uint32_t *words)
{
    const size_t vocab = phrases->graph.vocab, rows = words[ROWS] % MOST_ROWS;
    const uint32_t n = words[N] % EE_PHRASES_MAX_N + 1;
    const float filler = (float)(words[FILLER] % 8) - 1.0f;
    float *const log_probs = fuzz_memory(rows * vocab * sizeof(float), sizeof(void *));
    ee_phrase found[EE_PHRASES_MAX_N], again[EE_PHRASES_MAX_N];
    ee_phrase_search *opened;
    size_t bytes = 0, count, second;
    uint32_t state = words[SEED];

    for (size_t i = 0; i < rows * vocab; i++) {
        state = state * 1664525u + 1013904223u;
        log_probs[i] = i % vocab == 0 ? -1.0f : -(float)(state >> 24) / 16.0f;
    }
    EXPECT(ee_phrase_search_size(&phrases->graph, n, &bytes) == EE_OK);
    void *const arena = fuzz_memory(bytes, EE_MEMORY_ALIGNMENT);
    EXPECT(ee_phrase_search_open(&opened, &phrases->graph, n, filler, arena, bytes) == EE_OK);
    EXPECT(ee_phrase_search_feed(opened, log_probs, rows) == EE_OK);
    EXPECT(ee_phrase_search_finish(opened, found, &count) == EE_OK && count <= n);
    EXPECT(ee_phrase_search_all(opened, log_probs, rows, again, &second) == EE_OK);
    EXPECT(count == second);
    for (size_t i = 0; i < count; i++) {
        EXPECT(found[i].key == again[i].key && found[i].score == again[i].score);
        read_sentence(phrases, found[i].key, MAX_WORDS);
    }
    free(arena);
    free(log_probs);
}

void fuzz_one(const unsigned char *data, size_t size)
{
    uint32_t words[WORDS];
    ee_phrases phrases;

    if (size < sizeof(words)) {
        return;
    }
    memcpy(words, data, sizeof(words));
    const size_t bytes = size - sizeof(words);
    void *const section = fuzz_memory(bytes, EE_MEMORY_ALIGNMENT);

    EXPECT(section != NULL || bytes == 0);
    if (bytes > 0) {
        memcpy(section, data + sizeof(words), bytes);
    }
    if (ee_phrases_open(&phrases, section, bytes) == EE_OK) {
        search(&phrases, words);
        for (uint32_t i = 0; i < 4; i++) {
            read_sentence(&phrases, (uint64_t)words[SEED] << (16 * i), i * 8);
        }
    } else {
        EXPECT(phrases.graph.states == 0);
    }
    free(section);
}

/* A count of the header, or any two bytes, of which most are a number of a table. */
size_t fuzz_mutate(unsigned char *data, size_t size, size_t capacity, fuzz_random *random)
{
    enum { HEADER_WORDS = 22 };

    for (uint32_t i = fuzz_below(random, 4); size >= 4 * (WORDS + HEADER_WORDS) && i > 0; i--) {
        unsigned char *const at = data + 4 * (size_t)fuzz_below(random, WORDS + HEADER_WORDS);
        unsigned char *const byte = data + 2 * (size_t)fuzz_below(random, (uint32_t)(size / 2));

        switch (fuzz_below(random, 8)) {
        case 0:
            size = fuzz_change_size(data, size, capacity, random);
            break;
        case 1:
        case 2:
            fuzz_put(at, fuzz_value(random, fuzz_get(at)));
            break;
        default:
            byte[0] = (unsigned char)fuzz_below(random, 256);
            byte[1] = (unsigned char)(fuzz_below(random, 2) == 0 ? byte[1] : 0);
        }
    }
    return size;
}
