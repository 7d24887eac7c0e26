/* ee_stream_parts.h: the parts of a stream.
 *
 *   signal    samples -> rows that have come, their powers, rows of the stem
 *   hearing   the gate, runs, windows or chunks, the ear -> blocks of final rows
 *   speech    final rows -> words, endpoints, events
 *
 * Rows are counted from the beginning of the stream. */
#ifndef EE_STREAM_PARTS_H
#define EE_STREAM_PARTS_H

#include "../runtime/ee_graph.h"
#include "ee_stream.h"

enum {
    EE_ROWS_BESIDE = 5, /* that a run has before its first loud row, and behind its last one */
    EE_STEM_ROWS = 8 /* made at once: of 17 frames between the convolutions one is made twice */
};

typedef struct {
    const ee_ops *ops;
    ee_frontend frontend; /* without zeros of its own: those are values of the signal */
    size_t hop, stride, window; /* values of a feature; features of a row, and those that it reads */
    size_t span;   /* values of a row */
    size_t behind; /* values from the centre of a feature to its end */
    size_t margin; /* features before one whose values it is computed with */
    float *ring;   /* the last values */
    size_t ring_values;
    float *piece;     /* values in a row */
    float *scratch;   /* of the front end */
    float *features;  /* those of the rows last made */
    size_t features_held;
    int64_t features_end; /* the feature behind them */
    int64_t values, rows; /* that have come */
    float *stem; /* rows of the stem, row r at r % stem_rows */
    size_t stem_rows;
    int64_t stemmed; /* rows that are made */
} ee_signal;

typedef struct {
    uint64_t complete; /* the least power of the last complete block; 0 for one of silence */
    uint64_t lowest;   /* the same of the block that is not complete */
    uint32_t rows;     /* of that block */
} ee_gate;

typedef struct {
    ee_gate gate;
    ee_session *session;
    void *arena; /* of sessions */
    size_t arena_bytes, capacity;
    int64_t block;      /* the first row that is not final */
    int64_t begin;      /* windows look back no further: that of the run, or of what a pause began */
    int64_t last_label; /* the last final row with one */
    uint32_t quiet;     /* rows since the last loud one */
    int in_run;
} ee_hearing;

/* A label that was heard. Rows are kept modulo 2^32. */
typedef struct {
    uint32_t id, first, row; /* where its run began, and where it is most probable */
    float log_prob;          /* there */
    uint32_t exit;
} ee_heard_token;

typedef struct {
    int64_t row;        /* the next one */
    int64_t begin;      /* of what an endpoint may come after: the one before */
    int64_t last_label; /* the last row with one */
    int64_t latest;     /* sample: the end of the last final word */
    int64_t duration;   /* in samples, once it is known */
    ee_heard_token open; /* may go on */
    uint32_t first;      /* row of the first token of the utterance */
    int is_open, has_first;
    size_t count; /* of the tokens of the utterance of words that are not final */
    ee_heard_token *tokens; /* with phrases none are kept */
    char *text, *shown;     /* of an event, and of the one last given that was not final */
    size_t text_bytes, length, shown_length;
    ee_stream_word *words;
    size_t word_count;
    /* With phrases. Of the rows before the first token those that are not searched yet are kept;
     * row r at r % EE_ROWS_BESIDE. */
    ee_phrase_search *search; /* NULL: no utterance has begun */
    void *search_arena;       /* serves the meaning of a phrase when the search is over */
    size_t search_bytes;
    float *kept, *unheard; /* unheard: log-probabilities of a row outside of runs */
    uint32_t kept_exits[EE_ROWS_BESIDE], kept_rows, deepest;
    uint16_t *phrase_words;
} ee_speech;

struct ee_stream {
    ee_stream_config config;
    ee_signal signal;
    ee_hearing hearing;
    ee_speech speech;
    int64_t samples;
    int is_closed;
};

/* Memory of an arena is given out twice: to count, with start NULL, and to be used. */
typedef struct {
    char *start;
    size_t used;
} ee_stream_memory;

/* So many things of a size, aligned to a cache line. */
void *ee_stream_take(ee_stream_memory *memory, size_t count, size_t size);

/* Rows that a block may be computed with; those that have to come before it is decided, of which it
 * decides as many at most. */
size_t ee_view_rows(const ee_stream_config *config);
size_t ee_block_rows(const ee_stream_config *config);

/* Each part: its memory, and as it is at the beginning. */
void ee_signal_open(ee_signal *signal, const ee_stream_config *config, ee_stream_memory *memory);
ee_status ee_hearing_open(ee_hearing *hearing, const ee_stream_config *config,
                          ee_stream_memory *memory);
ee_status ee_speech_open(ee_speech *speech, const ee_stream_config *config,
                         ee_stream_memory *memory);

/* Samples that are missing until the next row has come; not above 0 where it has. */
int64_t ee_signal_missing(const ee_signal *signal);
/* Appends values, or zeros where neither pointer is set; at most as many as are missing. */
void ee_signal_append(ee_signal *signal, const float *f32, const int16_t *s16, size_t count);
/* The power of the next row, which has come. */
uint64_t ee_signal_next(ee_signal *signal);
/* Makes rows of the stem (dim) up to `end`. */
ee_status ee_signal_stem(ee_signal *signal, ee_session *session, size_t dim, int64_t end);

/* A row has come. */
ee_status ee_hearing_row(ee_stream *stream);
ee_status ee_hearing_finish(ee_stream *stream);

/* The best label of a row, of equal ones the lowest. */
uint32_t ee_best_label(const float *log_probs, size_t vocab);

/* Final rows, then `ahead` rows that will come again. */
ee_status ee_speech_block(ee_stream *stream, const float *log_probs, size_t rows, size_t ahead,
                          uint32_t exit);
/* Final rows outside of runs. */
ee_status ee_speech_unheard(ee_stream *stream, size_t rows);
ee_status ee_speech_finish(ee_stream *stream);

#endif
