#include "ee_phrases.h"

#include "../common/ee_exact.h"
#include "../common/ee_size.h"
#include "ee_phrase_tables.h"

enum {
    FLAG = 0x8000 /* in link_symbol: a call of a list, not a word; in a value: a number as text */
};

/* What a section begins with, before its tables. */
typedef struct {
    uint32_t vocab, blank, states, arcs, finals, weights;
    uint32_t word_states, word_arcs, lists, values, nodes, links, calls, templates, fixed;
    uint32_t words, strings, text;
    float bias, free, margin, threshold;
} section_header;

typedef char header_is_packed[sizeof(section_header) == 22 * sizeof(uint32_t) ? 1 : -1];

/* ---- Opening ---- */

typedef struct {
    const unsigned char *next;
    size_t left;
    int failed; /* something did not fit */
} section_reader;

static const void *take(section_reader *reader, size_t count, size_t bytes)
{
    const void *const taken = reader->next;
    const size_t size = ee_size_mul(count, bytes);

    if (size > reader->left) {
        reader->failed = 1;
        return NULL;
    }
    reader->next += size;
    reader->left -= size;
    return taken;
}

static const uint16_t *take_16(section_reader *reader, size_t count)
{
    return take(reader, count, sizeof(uint16_t));
}

/* Numbers below `limit`. */
static ee_numbers take_numbers(section_reader *reader, size_t count, uint32_t limit)
{
    ee_numbers numbers = {NULL, NULL};

    if (limit > 256) {
        numbers.wide = take_16(reader, count);
    } else {
        numbers.narrow = take(reader, count + count % 2, 1);
    }
    return numbers;
}

static const uint8_t *take_bits(section_reader *reader, size_t count)
{
    return take(reader, (count + 7) / 8, 1);
}

static int are_below(const uint16_t *numbers, size_t count, uint32_t limit)
{
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] >= limit) {
            return 0;
        }
    }
    return 1;
}

static int are_numbers_below(ee_numbers numbers, size_t count, uint32_t limit)
{
    for (size_t i = 0; i < count; i++) {
        if (ee_number(numbers, i) >= limit) {
            return 0;
        }
    }
    return 1;
}

/* Places (count + 1) of the parts of `last` things. */
static int are_rising(const uint16_t *places, size_t count, uint32_t last)
{
    for (size_t i = 0; i < count; i++) {
        if (places[i] > places[i + 1]) {
            return 0;
        }
    }
    return places[0] == 0 && places[count] == last;
}

/* Arcs of `states`, which lead to later ones. */
static int are_arcs(const uint16_t *first, const uint16_t *target, size_t states, uint32_t arcs)
{
    if (!are_rising(first, states, arcs)) {
        return 0;
    }
    for (size_t s = 0; s < states; s++) {
        for (size_t a = first[s]; a < first[s + 1]; a++) {
            if (target[a] <= s || target[a] >= states) {
                return 0;
            }
        }
    }
    return 1;
}

/* As many strings as there should be, each with its zero byte. */
static int are_strings(const ee_phrases *phrases, uint32_t text)
{
    uint32_t strings = 0;

    for (uint32_t i = 0; i < text; i++) {
        strings += phrases->text[i] == '\0';
    }
    return strings == phrases->strings && (text == 0 || phrases->text[text - 1] == '\0');
}

static int are_values(const uint16_t *values, size_t count, uint32_t strings)
{
    for (size_t i = 0; i < count; i++) {
        if ((values[i] & (FLAG - 1u)) >= strings) {
            return 0;
        }
    }
    return 1;
}

static int is_grammar(const ee_phrases *phrases)
{
    if (!are_arcs(phrases->node_first, phrases->link_target, phrases->nodes, phrases->links)) {
        return 0;
    }
    for (uint32_t i = 0; i < phrases->links; i++) {
        const uint32_t symbol = phrases->link_symbol[i];
        if ((symbol & FLAG) != 0 ? symbol - FLAG >= phrases->calls : symbol >= phrases->words) {
            return 0;
        }
    }
    for (uint32_t i = 0; i < phrases->templates; i++) {
        if (phrases->template_intent[i] != EE_PHRASES_NONE
            && phrases->template_intent[i] >= phrases->strings) {
            return 0;
        }
    }
    return are_below(phrases->call_list, phrases->calls, phrases->lists)
           && are_below(phrases->call_slot, phrases->calls, phrases->strings)
           && are_below(phrases->template_node, phrases->templates, phrases->nodes)
           && are_rising(phrases->template_fixed, phrases->templates, phrases->fixed)
           && are_below(phrases->fixed_slot, phrases->fixed, phrases->strings)
           && are_values(phrases->fixed_value, phrases->fixed, phrases->strings);
}

static int is_valid(const ee_phrases *phrases, uint32_t text)
{
    size_t bytes;

    return ee_phrase_search_size(&phrases->graph, 1, &bytes) == EE_OK
           && phrases->words <= phrases->strings && phrases->strings <= FLAG
           && are_strings(phrases, text)
           && are_arcs(phrases->word_first, phrases->word_target, phrases->word_states,
                       phrases->word_arcs)
           && are_numbers_below(phrases->word, phrases->word_arcs, phrases->words)
           && are_numbers_below(phrases->word_skip, phrases->word_arcs,
                                phrases->graph.weight_count)
           && are_below(phrases->list_state, phrases->lists, phrases->word_states)
           && are_rising(phrases->list_first, phrases->lists, phrases->values)
           && are_values(phrases->value, phrases->values, phrases->strings)
           && is_grammar(phrases) && ee_is_finite(phrases->bias) && ee_is_finite(phrases->free)
           && ee_is_finite(phrases->margin) && ee_is_finite(phrases->threshold);
}

/* Whether all counts but that of text fit the 16 bits by which tables name things. */
static int are_small(const section_header *header)
{
    const uint32_t *const counts = &header->vocab;

    for (size_t i = 0; i < offsetof(section_header, text) / sizeof(*counts); i++) {
        if (counts[i] > UINT16_MAX) {
            return 0;
        }
    }
    return header->word_states > 0;
}

/* In the order of weights_io/FORMAT.md. Returns the bytes of text. */
static uint32_t take_tables(ee_phrases *phrases, section_reader *reader)
{
    const section_header *const header = take(reader, 1, sizeof(*header));

    if (header == NULL || !are_small(header)) {
        reader->failed = 1;
        return 0;
    }
    ee_phrase_graph *const graph = &phrases->graph;

    graph->vocab = header->vocab;
    graph->blank = header->blank;
    graph->states = header->states;
    graph->arcs = header->arcs;
    graph->final_count = header->finals;
    graph->weight_count = header->weights;
    phrases->bias = header->bias;
    phrases->free = header->free;
    phrases->margin = header->margin;
    phrases->threshold = header->threshold;
    phrases->word_states = header->word_states;
    phrases->word_arcs = header->word_arcs;
    phrases->lists = header->lists;
    phrases->values = header->values;
    phrases->nodes = header->nodes;
    phrases->links = header->links;
    phrases->calls = header->calls;
    phrases->templates = header->templates;
    phrases->fixed = header->fixed;
    phrases->words = header->words;
    phrases->strings = header->strings;

    graph->weights = take(reader, header->weights, sizeof(uint64_t));
    graph->first = take_16(reader, (size_t)header->states + 1);
    graph->target = take_16(reader, header->arcs);
    graph->finals = take_16(reader, header->finals);
    phrases->word_first = take_16(reader, (size_t)header->word_states + 1);
    phrases->word_target = take_16(reader, header->word_arcs);
    phrases->list_state = take_16(reader, header->lists);
    phrases->list_first = take_16(reader, (size_t)header->lists + 1);
    phrases->value = take_16(reader, header->values);
    phrases->node_first = take_16(reader, (size_t)header->nodes + 1);
    phrases->link_target = take_16(reader, header->links);
    phrases->link_symbol = take_16(reader, header->links);
    phrases->call_list = take_16(reader, header->calls);
    phrases->call_slot = take_16(reader, header->calls);
    phrases->template_node = take_16(reader, header->templates);
    phrases->template_intent = take_16(reader, header->templates);
    phrases->template_fixed = take_16(reader, (size_t)header->templates + 1);
    phrases->fixed_slot = take_16(reader, header->fixed);
    phrases->fixed_value = take_16(reader, header->fixed);
    graph->label = take_numbers(reader, header->arcs, header->vocab);
    graph->weight = take_numbers(reader, header->arcs, header->weights);
    phrases->word = take_numbers(reader, header->word_arcs, header->words);
    phrases->word_skip = take_numbers(reader, header->word_arcs, header->weights);
    graph->after_blank = take_bits(reader, header->arcs);
    phrases->word_final = take_bits(reader, header->word_states);
    phrases->node_final = take_bits(reader, header->nodes);
    phrases->text = take(reader, header->text, 1);
    return header->text;
}

ee_status ee_phrases_open(ee_phrases *opened, const void *section, size_t bytes)
{
    section_reader reader = {section, bytes, 0};
    ee_phrases phrases;

    if (opened == NULL) {
        return EE_ERR_ARGUMENT;
    }
    opened->graph.states = 0;
    if (section == NULL) {
        return EE_ERR_ARGUMENT;
    }
    if (!ee_is_aligned(section, EE_MEMORY_ALIGNMENT)) {
        return EE_ERR_ALIGNMENT;
    }
    const uint32_t text = take_tables(&phrases, &reader);

    if (reader.failed || reader.left >= EE_MEMORY_ALIGNMENT
        || bytes % EE_MEMORY_ALIGNMENT != 0 || !is_valid(&phrases, text)) {
        return EE_ERR_IMAGE_LAYOUT;
    }
    *opened = phrases;
    return EE_OK;
}

/* ---- Sentences ---- */

/* How many sentences come before those over an arc of words. */
static uint64_t skip_of(const ee_phrases *phrases, uint32_t arc)
{
    return phrases->graph.weights[ee_number(phrases->word_skip, arc)];
}

const char *ee_phrases_string(const ee_phrases *phrases, uint32_t number)
{
    const char *text;

    if (phrases == NULL || number >= phrases->strings) {
        return NULL;
    }
    for (text = phrases->text; number > 0; text++) {
        number -= *text == '\0';
    }
    return text;
}

ee_status ee_phrases_sentence(const ee_phrases *phrases, uint64_t key, uint16_t *words,
                              size_t capacity, size_t *count)
{
    uint32_t state = 0;

    if (phrases == NULL || count == NULL || (words == NULL && capacity > 0)) {
        return EE_ERR_ARGUMENT;
    }
    *count = 0;
    /* A sentence that ends here comes before those that go on, and those over an arc before those
     * over the next one. */
    while (key > 0 || !ee_bit(phrases->word_final, state)) {
        uint32_t a = phrases->word_first[state + 1];

        while (a > phrases->word_first[state] && skip_of(phrases, a - 1) > key) {
            a--;
        }
        if (a == phrases->word_first[state]) {
            return EE_ERR_CONFIG;
        }
        a--;
        if (*count == capacity) {
            return EE_ERR_BUFFER_TOO_SMALL;
        }
        words[(*count)++] = (uint16_t)ee_number(phrases->word, a);
        key -= skip_of(phrases, a);
        state = phrases->word_target[a];
    }
    return EE_OK;
}

uint32_t ee_phrases_letters(const ee_phrases *phrases, const uint16_t *words, size_t count)
{
    uint32_t letters = 0;

    for (size_t i = 0; i < count; i++) {
        const char *text = ee_phrases_string(phrases, words[i]);
        for (; text != NULL && *text != '\0'; text++) {
            letters += ((unsigned char)*text & 0xC0u) != 0x80u; /* not inside a UTF-8 sequence */
        }
    }
    return letters > 0 ? letters : 1;
}

ee_status ee_phrases_text(char *text, size_t capacity, size_t *length, const ee_phrases *phrases,
                          const uint16_t *words, size_t count)
{
    size_t written = 0;

    if (length == NULL || phrases == NULL || (text == NULL && capacity > 0)
        || (words == NULL && count > 0)) {
        return EE_ERR_ARGUMENT;
    }
    *length = 0;
    for (size_t i = 0; i < count; i++) {
        if (words[i] >= phrases->words) {
            return EE_ERR_CONFIG;
        }
    }
    for (size_t i = 0; i < count; i++) {
        const char *word = ee_phrases_string(phrases, words[i]);

        for (int space = i > 0; space || *word != '\0'; written++) {
            const char byte = space ? ' ' : *word++;
            space = 0;
            if (written + 1 < capacity) {
                text[written] = byte;
            }
        }
    }
    if (capacity > 0) {
        text[written < capacity ? written : capacity - 1] = '\0';
    }
    *length = written;
    return written < capacity ? EE_OK : EE_ERR_BUFFER_TOO_SMALL;
}

/* ---- Meaning ---- */

/* Words to be read by the grammar. `readable` has a bit for each node and place: whether the words
 * from the place on can be read from the node on. */
typedef struct {
    const ee_phrases *phrases;
    const uint16_t *words;
    size_t count;
    uint8_t *readable;
    size_t row; /* bytes of a node */
} sentence;

static int is_readable(const sentence *read, size_t node, size_t place)
{
    return ee_bit(read->readable + node * read->row, place);
}

/* The last place in front of which a value of a list ends that begins at `place` and behind which
 * the words can be read from `node` on; 0 for none. *number is that of the value. */
static size_t end_of_value(const sentence *read, uint32_t list, size_t place, size_t node,
                           uint64_t *number)
{
    const ee_phrases *const phrases = read->phrases;
    uint32_t state = phrases->list_state[list];
    uint64_t so_far = 0;
    size_t end = 0;

    for (; place < read->count; place++) {
        uint32_t a = phrases->word_first[state];

        while (a < phrases->word_first[state + 1]
               && ee_number(phrases->word, a) != read->words[place]) {
            a++;
        }
        if (a == phrases->word_first[state + 1]) {
            return end;
        }
        so_far += skip_of(phrases, a);
        state = phrases->word_target[a];
        if (ee_bit(phrases->word_final, state) && is_readable(read, node, place + 1)) {
            end = place + 1;
            *number = so_far;
        }
    }
    return end;
}

/* The place behind what a link reads at `place`, if the rest can be read then; 0 for none. *number
 * is that of the value of a list. */
static size_t end_of_link(const sentence *read, uint32_t link, size_t place, uint64_t *number)
{
    const ee_phrases *const phrases = read->phrases;
    const uint32_t symbol = phrases->link_symbol[link];
    const size_t node = phrases->link_target[link];

    if ((symbol & FLAG) != 0) {
        return end_of_value(read, phrases->call_list[symbol - FLAG], place, node, number);
    }
    return place < read->count && read->words[place] == symbol
                   && is_readable(read, node, place + 1)
               ? place + 1
               : 0;
}

static void find_readable(const sentence *read)
{
    const ee_phrases *const phrases = read->phrases;

    for (size_t node = phrases->nodes; node-- > 0;) {
        uint8_t *const row = read->readable + node * read->row;

        for (size_t i = 0; i < read->row; i++) {
            row[i] = 0;
        }
        for (size_t place = 0; place <= read->count; place++) {
            int can = place == read->count && ee_bit(phrases->node_final, node);
            uint64_t number;

            for (uint32_t link = phrases->node_first[node];
                 !can && link < phrases->node_first[node + 1]; link++) {
                can = end_of_link(read, link, place, &number) > 0;
            }
            row[place / 8] = (uint8_t)(row[place / 8] | can << place % 8);
        }
    }
}

/* Of a slot that is set twice, the later value counts. */
static ee_status set_slot(ee_phrase_meaning *meaning, uint32_t slot, uint32_t value)
{
    uint32_t i = 0;

    while (i < meaning->slots && meaning->slot[i] != slot) {
        i++;
    }
    if (i == EE_PHRASES_MAX_SLOTS) {
        return EE_ERR_BUFFER_TOO_SMALL;
    }
    meaning->slot[i] = slot;
    meaning->value[i] = value & (FLAG - 1u);
    meaning->slots += i == meaning->slots;
    return EE_OK;
}

/* The slots of a sentence that can be read from `node` on. */
static ee_status read_slots(ee_phrase_meaning *meaning, const sentence *read, size_t node)
{
    const ee_phrases *const phrases = read->phrases;
    ee_status status = EE_OK;

    for (size_t place = 0; status == EE_OK && place < read->count;) {
        uint32_t link = phrases->node_first[node];
        uint64_t number = 0;
        size_t end;

        while ((end = end_of_link(read, link, place, &number)) == 0) {
            link++;
        }
        if ((phrases->link_symbol[link] & FLAG) != 0) {
            const uint32_t call = phrases->link_symbol[link] - (uint32_t)FLAG;
            const uint32_t list = phrases->call_list[call];
            const uint32_t first = phrases->list_first[list];

            if (number >= phrases->list_first[list + 1] - first) {
                return EE_ERR_IMAGE_LAYOUT;
            }
            status = set_slot(meaning, phrases->call_slot[call], phrases->value[first + number]);
        }
        place = end;
        node = phrases->link_target[link];
    }
    return status;
}

ee_status ee_phrases_meaning_size(const ee_phrases *phrases, size_t count, size_t *bytes)
{
    if (phrases == NULL || bytes == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *bytes = ee_size_mul(phrases->nodes, count / 8 + 1);
    return *bytes == SIZE_MAX ? EE_ERR_TOO_LARGE : EE_OK;
}

ee_status ee_phrases_meaning(ee_phrase_meaning *meaning, const ee_phrases *phrases,
                             const uint16_t *words, size_t count, void *memory, size_t bytes)
{
    const sentence read = {phrases, words, count, memory, count / 8 + 1};
    size_t needed;

    if (meaning == NULL || (words == NULL && count > 0)) {
        return EE_ERR_ARGUMENT;
    }
    meaning->intent = EE_PHRASES_NONE;
    meaning->slots = 0;
    ee_status status = ee_phrases_meaning_size(phrases, count, &needed);
    if (status != EE_OK) {
        return status;
    }
    if (bytes < needed) {
        return EE_ERR_ARENA_TOO_SMALL;
    }
    if (memory == NULL && needed > 0) {
        return EE_ERR_ARGUMENT;
    }
    find_readable(&read);
    for (uint32_t i = 0; i < phrases->templates; i++) {
        const uint32_t node = phrases->template_node[i];

        if (is_readable(&read, node, 0)) {
            for (uint32_t j = phrases->template_fixed[i];
                 status == EE_OK && j < phrases->template_fixed[i + 1]; j++) {
                status = set_slot(meaning, phrases->fixed_slot[j], phrases->fixed_value[j]);
            }
            meaning->intent = phrases->template_intent[i];
            return status == EE_OK ? read_slots(meaning, &read, node) : status;
        }
    }
    return EE_ERR_CONFIG;
}
