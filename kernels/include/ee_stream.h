/* ee_stream.h: audio of any length, as it comes: samples in, events out. docs/streaming.md is the
 * contract; ee_ref/stream is the same in Python.
 *
 *   ee_stream_size -> ee_stream_open               once
 *   ee_stream_feed_s16, or ee_stream_feed_f32      samples, any number at a time
 *   ee_stream_finish                               if there is an end
 *
 * Events are given to a function of the caller while samples are fed. However the samples are cut,
 * they are the same; with a model in int8 mode on every target. All memory is one arena, whose size
 * does not depend on how long the stream listens. */
#ifndef EE_STREAM_H
#define EE_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "ee.h"
#include "ee_decode.h"
#include "ee_exits.h"
#include "ee_frontend.h"
#include "ee_phrases.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cdef:begin */
enum {
    EE_STREAM_MAX_WORDS = 255, /* of a phrase */
    EE_STREAM_MAX_ROWS = 32768 /* of each part of a view, and of each time of an endpoint */
};

/* A word. Times are samples since the beginning of the stream. */
typedef struct {
    uint32_t first, bytes; /* where it lies in the text of the event */
    float confidence;
    int64_t start, end;
} ee_stream_word;

/* What was heard. Pointers are valid until the function that is given the event returns. */
typedef struct {
    uint32_t final;     /* 1: these words stay; 0: they replace those of the event before that was
                           not final */
    uint32_t endpoint;  /* 1: this ends an utterance */
    uint32_t exit;      /* the deepest one of the words; 0 for an utterance without any */
    int64_t start, end; /* in samples: of the words, of the endpoint where there are none */
    float confidence;   /* the least of the words, or 1; with phrases, that of the best one */
    const char *text;   /* the words, with single spaces between them and a zero byte behind */
    size_t bytes;       /* of the text, without the zero byte */
    const ee_stream_word *words; /* (count); none with phrases, of which only the end is known */
    size_t count;
    uint32_t accepted;         /* 1: the text is a phrase, and this is what it means */
    ee_phrase_meaning meaning; /* without an intent and slots, where there is none */
} ee_stream_event;

typedef void ee_stream_heard(void *context, const ee_stream_event *event);

/* Final rows, in order: log-probabilities for a decoder of the caller's. rows->exit is where they
 * come from, rows->first their place in the stream (modulo SIZE_MAX + 1). Rows outside of runs have
 * exit 0 and no data: they are blank. */
typedef void ee_stream_rows(void *context, const ee_output *rows);

/* What a stream is made of. The parts outlive it. Neither function uses the stream; either may be
 * NULL. Times are in rows. */
typedef struct {
    const ee_model *model;
    const ee_frontend *frontend;
    const ee_labels *labels;
    const ee_phrases *phrases; /* all that may be said; NULL: words as they are heard */
    const ee_team *team;       /* what does the work; NULL: the calling thread */
    uint32_t blank;            /* the label of the CTC blank */
    uint32_t left, hop, ahead; /* windows, hop at least 1; not read where the model has chunks */
    uint32_t before;           /* of silence, after which an empty utterance ends; 0: never */
    uint32_t after;            /* of silence after speech, at least 1 */
    uint32_t longest;          /* of an utterance, at least 1 */
    float filler;              /* of the search for phrases (ee_phrase_search_open) */
    ee_policy policy;          /* where to stop, where something is heard */
    ee_stream_heard *heard;
    ee_stream_rows *rows;
    void *context;             /* for both functions */
} ee_stream_config;

typedef struct ee_stream ee_stream;

/* Bytes of arena that a stream uses. What does not fit together, or is out of its range, is
 * EE_ERR_CONFIG, and so is a model that no stream hears: a Zipformer, or one that takes samples;
 * besides, the errors of ee_frontend_check, ee_arena_size (a window of more rows than the model has
 * positions) and ee_phrase_search_size. */
ee_status ee_stream_size(const ee_stream_config *config, size_t *bytes);

/* Begins a stream. The arena is aligned to EE_MEMORY_ALIGNMENT; config may go. Errors as above,
 * EE_ERR_ALIGNMENT and EE_ERR_ARENA_TOO_SMALL; then *stream is NULL and nothing is written. */
ee_status ee_stream_open(ee_stream **stream, const ee_stream_config *config, void *arena,
                         size_t bytes);

/* The next samples at the rate of the model, which are not needed after this returns.
 * EE_ERR_NOT_FINITE for NaN, infinity or a sample beyond 2^20, and EE_ERR_ARGUMENT, leave the stream
 * as it was. EE_ERR_ENDED after ee_stream_finish. Any other error ends the stream: a run of a model
 * with chunks and positions that has no more of them (EE_ERR_TOO_MANY_FRAMES), a phrase of too many
 * words or slots (EE_ERR_BUFFER_TOO_SMALL), a model whose log-probabilities are none. */
ee_status ee_stream_feed_f32(ee_stream *stream, const float *samples, size_t count);

/* The same of 16-bit samples, which stand for samples[i]/32768. */
ee_status ee_stream_feed_s16(ee_stream *stream, const int16_t *samples, size_t count);

/* There are no more samples: gives the events that are left. Errors as for feeding. */
ee_status ee_stream_finish(ee_stream *stream);
/* cdef:end */

#ifdef __cplusplus
}
#endif

#endif
