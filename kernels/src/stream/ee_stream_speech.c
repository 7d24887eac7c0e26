#include <string.h>

#include "../common/ee_exact.h"
#include "../common/ee_size.h"
#include "ee_stream_parts.h"

enum { N_BEST = 2 /* the best phrase, and the one that it is measured against */ };

static const float IMPOSSIBLE = -87.0f; /* log-probability of a label in a row outside of runs */

/* ---- Memory ---- */

/* Bytes of the longest label, and the most words of which a label has a part. SIZE_MAX: labels that
 * contradict each other. */
static size_t longest_label(const ee_labels *labels, size_t *parts)
{
    size_t longest = 0;
    uint32_t begin = 0;

    *parts = 1;
    for (uint32_t v = 0; v < labels->vocab; v++) {
        const uint32_t end = labels->ends[v];
        size_t found = 0;
        char before = ' ';

        if (end < begin) {
            return SIZE_MAX;
        }
        longest = ee_size_max(longest, end - begin);
        for (uint32_t j = begin; j < end; j++) {
            found += labels->text[j] != ' ' && before == ' ';
            before = labels->text[j];
        }
        *parts = ee_size_max(*parts, found);
        begin = end;
    }
    return longest;
}

/* Tokens that an utterance may hold, and those ahead of its last block. A token takes a row. What is
 * left of an utterance that was too long is one word, and before the next block it began at most so
 * long ago; that block may lie beyond, and its end before the next one. */
static size_t most_tokens(const ee_stream_config *config)
{
    return config->longest + 3 * ee_block_rows(config) + 2;
}

/* Bytes of the longest word that phrases are made of. */
static size_t longest_word(const ee_phrases *phrases)
{
    const char *text = phrases->text;
    size_t longest = 0;

    for (uint32_t i = 0; i < phrases->words; i++) {
        size_t bytes = 0;

        while (*text++ != '\0') {
            bytes++;
        }
        longest = ee_size_max(longest, bytes);
    }
    return longest;
}

static ee_status open_phrases(ee_speech *p, const ee_stream_config *config,
                              ee_stream_memory *memory)
{
    const uint32_t vocab = config->model->config.vocab;
    size_t meaning;
    ee_status status =
        ee_phrase_search_size(&config->phrases->graph, N_BEST, &p->search_bytes);

    if (status == EE_OK) {
        status = ee_phrases_meaning_size(config->phrases, EE_STREAM_MAX_WORDS, &meaning);
    }
    if (status != EE_OK) {
        return status;
    }
    p->search_bytes = ee_size_max(p->search_bytes, meaning);
    p->search_arena = ee_stream_take(memory, p->search_bytes, 1);
    p->kept = ee_stream_take(memory, EE_ROWS_BESIDE * sizeof(float), vocab);
    p->unheard = ee_stream_take(memory, sizeof(float), vocab);
    p->phrase_words = ee_stream_take(memory, EE_STREAM_MAX_WORDS, sizeof(uint16_t));
    p->text_bytes = EE_STREAM_MAX_WORDS * (longest_word(config->phrases) + 1);
    p->text = ee_stream_take(memory, p->text_bytes, 1);
    if (memory->start != NULL) {
        for (uint32_t v = 0; v < vocab; v++) {
            p->unheard[v] = v == config->blank ? 0.0f : IMPOSSIBLE;
        }
    }
    return EE_OK;
}

ee_status ee_speech_open(ee_speech *speech, const ee_stream_config *config,
                         ee_stream_memory *memory)
{
    const size_t tokens = most_tokens(config);
    size_t parts;

    speech->last_label = -1;
    speech->duration = INT64_MAX;
    if (config->phrases != NULL) {
        return open_phrases(speech, config, memory);
    }
    const size_t label = longest_label(config->labels, &parts);
    if (label == SIZE_MAX) {
        return EE_ERR_CONFIG;
    }
    /* A space may come before each part of a label. */
    speech->text_bytes = ee_size_add(ee_size_mul(tokens, ee_size_add(label, parts)), 1);
    speech->tokens = ee_stream_take(memory, tokens, sizeof(*speech->tokens));
    speech->text = ee_stream_take(memory, speech->text_bytes, 1);
    speech->shown = ee_stream_take(memory, speech->text_bytes, 1);
    speech->words = ee_stream_take(memory, ee_size_mul(tokens, parts), sizeof(*speech->words));
    return EE_OK;
}

/* ---- Labels to tokens ---- */

uint32_t ee_best_label(const float *log_probs, size_t vocab)
{
    uint32_t best = 0;

    for (uint32_t v = 1; v < vocab; v++) {
        best = log_probs[v] > log_probs[best] ? v : best;
    }
    return best;
}

/* The label of a row: 1 when a token is complete by it, which `complete` is then. */
static int follow(ee_heard_token *open, int *is_open, ee_heard_token *complete, uint32_t blank,
                  const ee_heard_token *heard)
{
    if (*is_open && heard->id == open->id) {
        if (heard->log_prob > open->log_prob) {
            open->row = heard->row;
            open->log_prob = heard->log_prob;
            open->exit = heard->exit;
        }
        return 0;
    }
    const int is_complete = *is_open;
    *complete = *open;
    *open = *heard;
    *is_open = heard->id != blank;
    return is_complete;
}

/* ---- Tokens to words ---- */

static int64_t clamped(int64_t value, int64_t low, int64_t high)
{
    value = value > low ? value : low;
    return value < high ? value : high;
}

/* Sample at the centre of a row. */
static int64_t centre_of(const ee_stream *stream, int64_t row)
{
    const ee_signal *const signal = &stream->signal;
    const int64_t feature = (int64_t)signal->stride * row + (int64_t)(signal->window / 2);

    return feature * (int64_t)signal->hop - (int64_t)stream->config.frontend->pad;
}

/* A row near the next one, from its lowest 32 bits. */
static int64_t whole_row(const ee_speech *p, uint32_t row)
{
    return p->row + (int32_t)(row - (uint32_t)p->row);
}

/* Text and words of tokens. */
static void spell(ee_stream *stream, size_t count)
{
    ee_speech *const p = &stream->speech;
    const ee_labels *const labels = stream->config.labels;
    const int64_t half = (int64_t)(stream->signal.span / 2);
    int64_t earliest = p->latest;
    int in_word = 0;

    p->length = 0;
    p->word_count = 0;
    for (size_t i = 0; i < count; i++) {
        const ee_heard_token *const token = &p->tokens[i];
        const int64_t centre = centre_of(stream, whole_row(p, token->row));
        const float probability = ee_exp(token->log_prob);
        const float confidence = probability < 1.0f ? probability : 1.0f;

        for (uint32_t j = token->id > 0 ? labels->ends[token->id - 1] : 0;
             j < labels->ends[token->id]; j++) {
            if (labels->text[j] == ' ') {
                in_word = 0;
                continue;
            }
            if (!in_word) {
                ee_stream_word *const begun = &p->words[p->word_count++];
                in_word = 1;
                if (p->length > 0) {
                    earliest = begun[-1].end;
                    p->text[p->length++] = ' ';
                }
                begun->first = (uint32_t)p->length;
                begun->confidence = confidence;
                begun->start = clamped(centre - half, earliest, p->duration);
            }
            ee_stream_word *const word = &p->words[p->word_count - 1];
            p->text[p->length++] = labels->text[j];
            word->bytes = (uint32_t)p->length - word->first;
            word->end = clamped(centre + half, word->start, p->duration);
            word->confidence = confidence < word->confidence ? confidence : word->confidence;
        }
    }
    p->text[p->length] = '\0';
}

/* Tokens of words behind which another word has begun: with a token of its own, for a label may hold
 * the end of one word and the beginning of the next. */
static size_t complete_tokens(const ee_speech *p, const ee_labels *labels)
{
    size_t last = 0, complete = 0; /* last: token of the word ahead */
    int in_word = 0, has_word = 0;

    for (size_t i = 0; i < p->count; i++) {
        const uint32_t id = p->tokens[i].id;

        for (uint32_t j = id > 0 ? labels->ends[id - 1] : 0; j < labels->ends[id]; j++) {
            if (labels->text[j] == ' ') {
                in_word = 0;
                continue;
            }
            if (!in_word && has_word && last != i) {
                complete = i;
            }
            in_word = has_word = 1;
            last = i;
        }
    }
    return complete;
}

/* ---- Events ---- */

static void give(ee_stream *stream, ee_stream_event *event)
{
    const ee_speech *const p = &stream->speech;

    event->text = p->text;
    event->bytes = p->length;
    event->words = p->words;
    event->count = p->word_count;
    if (event->count > 0) {
        event->start = event->words[0].start;
        event->end = event->words[event->count - 1].end;
    } else {
        event->start = clamped(centre_of(stream, p->row), 0, p->duration);
        event->end = event->start;
    }
    if (stream->config.heard != NULL) {
        stream->config.heard(stream->config.context, event);
    }
}

/* What was spelled, from this exit. */
static ee_stream_event words_event(const ee_speech *p, uint32_t exit)
{
    ee_stream_event event = {.exit = exit, .confidence = 1.0f};

    event.meaning.intent = EE_PHRASES_NONE;
    for (size_t i = 0; i < p->word_count; i++) {
        const float confidence = p->words[i].confidence;
        event.confidence = confidence < event.confidence ? confidence : event.confidence;
    }
    return event;
}

static void spell_nothing(ee_speech *p)
{
    p->length = 0;
    p->word_count = 0;
    p->text[0] = '\0';
}

/* The words of the first `count` tokens, which are final. */
static void give_final(ee_stream *stream, size_t count, int endpoint)
{
    ee_speech *const p = &stream->speech;
    uint32_t deepest = 0;

    for (size_t i = 0; i < count; i++) {
        deepest = p->tokens[i].exit > deepest ? p->tokens[i].exit : deepest;
    }
    spell(stream, count);
    p->count -= count;
    memmove(p->tokens, p->tokens + count, p->count * sizeof(*p->tokens));
    if (p->word_count > 0) {
        p->latest = p->words[p->word_count - 1].end;
    }
    if (p->word_count > 0 || !endpoint) {
        ee_stream_event event = words_event(p, deepest);
        event.final = 1;
        event.endpoint = (uint32_t)endpoint;
        give(stream, &event);
    }
}

/* What of the utterance is not final, if it differs from what was said before of it. ahead: labels
 * of rows behind the final ones. */
static void show(ee_stream *stream, const float *log_probs, size_t ahead, uint32_t exit)
{
    ee_speech *const p = &stream->speech;
    const uint32_t blank = stream->config.blank;
    const size_t vocab = stream->config.model->config.vocab;
    ee_heard_token open = p->open;
    int is_open = p->is_open;
    size_t count = p->count;

    for (size_t t = 0; t < ahead; t++, log_probs += vocab) {
        const uint32_t label = ee_best_label(log_probs, vocab);
        const uint32_t row = (uint32_t)p->row + (uint32_t)t;
        const ee_heard_token heard = {label, row, row, log_probs[label], exit};

        count += (size_t)follow(&open, &is_open, &p->tokens[count], blank, &heard);
    }
    if (is_open) {
        p->tokens[count++] = open;
    }
    spell(stream, count);
    if (p->length != p->shown_length || memcmp(p->text, p->shown, p->length) != 0) {
        ee_stream_event event = words_event(p, exit);
        memcpy(p->shown, p->text, p->length);
        p->shown_length = p->length;
        give(stream, &event);
    }
}

/* The utterance is over; tokens that are left begin the next one. */
static void close_utterance(ee_speech *p)
{
    p->has_first = p->count > 0 && p->tokens != NULL;
    p->first = p->has_first ? p->tokens[0].first : 0;
    p->begin = p->row;
    p->shown_length = 0;
    p->search = NULL;
    p->kept_rows = 0;
    p->deepest = 0;
}

/* ---- Phrases ---- */

/* A row of an utterance, or of those before it. */
static ee_status search_row(ee_stream *stream, const float *log_probs, uint32_t exit)
{
    ee_speech *const p = &stream->speech;
    const size_t vocab = stream->config.model->config.vocab;
    ee_status status = EE_OK;

    if (!p->is_open && p->count == 0) {
        const size_t at = (size_t)(p->row % EE_ROWS_BESIDE);

        memcpy(p->kept + at * vocab, log_probs, vocab * sizeof(float));
        p->kept_exits[at] = exit;
        p->kept_rows += p->kept_rows < EE_ROWS_BESIDE;
        return EE_OK;
    }
    if (p->search == NULL) {
        status = ee_phrase_search_open(&p->search, &stream->config.phrases->graph, N_BEST,
                                       stream->config.filler, p->search_arena, p->search_bytes);
        for (uint32_t left = p->kept_rows; status == EE_OK && left > 0; left--) {
            const size_t at = (size_t)((p->row - left) % EE_ROWS_BESIDE);

            p->deepest = p->kept_exits[at] > p->deepest ? p->kept_exits[at] : p->deepest;
            status = ee_phrase_search_feed(p->search, p->kept + at * vocab, 1);
        }
    }
    p->deepest = exit > p->deepest ? exit : p->deepest;
    return status == EE_OK ? ee_phrase_search_feed(p->search, log_probs, 1) : status;
}

/* The phrase of an utterance that is over. One without a row is none: the end of one that was too
 * long, and of the stream. */
static ee_status give_phrase(ee_stream *stream)
{
    ee_speech *const p = &stream->speech;
    const ee_phrases *const phrases = stream->config.phrases;
    const ee_phrase_confidence weights = {phrases->bias, phrases->free, phrases->margin,
                                          phrases->threshold};
    ee_phrase best[N_BEST] = {{0.0f, 0}, {0.0f, 0}};
    ee_phrase_scores scores;
    size_t found, words = 0, meaning_bytes;
    int accepted = 0;

    spell_nothing(p);
    ee_stream_event event = words_event(p, p->deepest);
    ee_status status = ee_phrase_search_finish(p->search, best, &found);
    if (status == EE_OK && found > 0) {
        status = ee_phrases_sentence(phrases, best[0].key, p->phrase_words, EE_STREAM_MAX_WORDS,
                                     &words);
    }
    if (status == EE_OK) {
        status = ee_phrase_judge(&weights, found, best[0].score, best[1].score,
                                 ee_phrases_letters(phrases, p->phrase_words, words), &scores,
                                 &accepted);
    }
    if (status == EE_OK && accepted) {
        status = ee_phrases_text(p->text, p->text_bytes, &p->length, phrases, p->phrase_words,
                                 words);
    }
    if (status == EE_OK && accepted) {
        status = ee_phrases_meaning_size(phrases, words, &meaning_bytes);
    }
    if (status == EE_OK && accepted) {
        status = ee_phrases_meaning(&event.meaning, phrases, p->phrase_words, words,
                                    p->search_arena, p->search_bytes);
    }
    if (status != EE_OK) {
        return status;
    }
    event.final = event.endpoint = 1;
    event.accepted = (uint32_t)accepted;
    event.confidence = scores.confidence;
    give(stream, &event);
    return EE_OK;
}

/* ---- Rows ---- */

/* An utterance ends with its first `count` tokens. */
static ee_status end_utterance(ee_stream *stream, size_t count)
{
    ee_speech *const p = &stream->speech;
    ee_status status = EE_OK;

    if (stream->config.phrases != NULL) {
        status = p->search != NULL ? give_phrase(stream) : EE_OK;
        p->count = 0;
    } else {
        give_final(stream, count, 1);
    }
    close_utterance(p);
    return status;
}

static void add(ee_speech *p, const ee_heard_token *token)
{
    if (p->tokens != NULL) {
        p->tokens[p->count] = *token;
    }
    p->count++;
    if (!p->has_first) {
        p->has_first = 1;
        p->first = token->first;
    }
}

/* One final row. */
static ee_status next_row(ee_stream *stream, const float *log_probs, uint32_t label,
                          float log_prob, uint32_t exit)
{
    ee_speech *const p = &stream->speech;
    const ee_stream_config *const config = &stream->config;
    const uint32_t row = (uint32_t)p->row;
    const ee_heard_token heard = {label, row, row, log_prob, exit};
    ee_heard_token complete;
    ee_status status = EE_OK;

    if (follow(&p->open, &p->is_open, &complete, config->blank, &heard)) {
        add(p, &complete);
    }
    if (config->phrases != NULL) {
        status = search_row(stream, log_probs, exit);
    }
    if (label != config->blank) {
        p->last_label = p->row;
    }
    p->row++;
    if (status != EE_OK || label != config->blank) {
        return status;
    }
    if (p->count > 0) {
        if (p->row - 1 - p->last_label >= (int64_t)config->after) {
            status = end_utterance(stream, p->count);
        }
    } else if (config->before > 0 && p->row - p->begin >= (int64_t)config->before) {
        spell_nothing(p);
        ee_stream_event event = words_event(p, 0);
        event.final = event.endpoint = 1;
        give(stream, &event);
        close_utterance(p);
    }
    return status;
}

/* Words that are final now, and the end of an utterance that is too long. */
static ee_status after_block(ee_stream *stream)
{
    ee_speech *const p = &stream->speech;
    const ee_stream_config *const config = &stream->config;

    if (!p->has_first) {
        return EE_OK;
    }
    const size_t complete =
        config->phrases == NULL ? complete_tokens(p, config->labels) : 0;
    if ((uint32_t)p->row - p->first >= config->longest) {
        return end_utterance(stream, complete > 0 ? complete : p->count);
    }
    if (complete > 0) {
        give_final(stream, complete, 0);
    }
    return EE_OK;
}

ee_status ee_speech_block(ee_stream *stream, const float *log_probs, size_t rows, size_t ahead,
                          uint32_t exit)
{
    const size_t vocab = stream->config.model->config.vocab;
    ee_status status = EE_OK;

    for (size_t t = 0; status == EE_OK && t < rows; t++, log_probs += vocab) {
        const uint32_t label = ee_best_label(log_probs, vocab);
        status = next_row(stream, log_probs, label, log_probs[label], exit);
    }
    if (status == EE_OK) {
        status = after_block(stream);
    }
    if (status == EE_OK && stream->config.phrases == NULL) {
        show(stream, log_probs, ahead, exit);
    }
    return status;
}

ee_status ee_speech_unheard(ee_stream *stream, size_t rows)
{
    ee_status status = EE_OK;

    for (size_t t = 0; status == EE_OK && t < rows; t++) {
        status = next_row(stream, stream->speech.unheard, stream->config.blank, 0.0f, 0);
        if (status == EE_OK) {
            status = after_block(stream);
        }
    }
    return status;
}

ee_status ee_speech_finish(ee_stream *stream)
{
    ee_speech *const p = &stream->speech;

    if (p->is_open) {
        p->is_open = 0;
        add(p, &p->open);
    }
    return p->count > 0 ? end_utterance(stream, p->count) : EE_OK;
}
