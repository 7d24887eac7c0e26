/* ee_view.h: which frames attention and the depthwise convolution see, and what is kept of them: the
 * same in both modes. */
#ifndef EE_VIEW_H
#define EE_VIEW_H

#include "ee_team.h"

/* The frames of attention. Those that it sees are counted from the oldest of the past. */
typedef struct {
    size_t rows, past;  /* it is given, and has the keys and values of before these */
    size_t seen;        /* both */
    size_t chunk, left; /* as in ee_view, but that chunk is at least 1 */
    size_t window;      /* the most that one query sees */
    size_t query_step;  /* that are scored at once */
    int is_whole;       /* whether every query sees everything, of which nothing is past */
} ee_attention_frames;

ee_attention_frames ee_attention_frames_of(size_t rows, size_t past, size_t chunk, size_t left,
                                           const ee_team *team);

/* Queries first..first+count-1 of one head, and the frames that they see. */
typedef struct {
    size_t head, first, count, seen_first, seen_count;
} ee_queries;

/* Blocks of queries, for each head: none reaches from one chunk into the next, and some may be
 * empty. */
size_t ee_query_items(const ee_attention_frames *f, size_t heads);
ee_queries ee_queries_of(const ee_attention_frames *f, size_t heads, size_t item);

/* Where keys and values (count, 2*dim) are kept: those of frames first, first + 1, ... of the ones
 * given. rows may be NULL. */
typedef struct {
    float *rows;
    size_t first, dim;
} ee_kept_kv;

/* Keeps keys (column 0) or values (column dim) of frames first..first+count-1. */
void ee_keep(const ee_kept_kv *kept, size_t column, const float *from, size_t from_stride,
             size_t first, size_t count);

/* to[t, d] = from[t, d], each with its stride. */
void ee_copy_rows(float *to, const float *from, size_t rows, size_t columns, size_t to_stride,
                  size_t from_stride);

/* The frames of the depthwise convolution: `rows` that it is given, and `past` older ones before
 * them in memory, no more than it reaches. */
typedef struct {
    size_t rows, past, chunk, kernel, ahead;
} ee_conv_frames;

ee_conv_frames ee_conv_frames_of(size_t rows, size_t past, size_t chunk, size_t kernel,
                                 size_t ahead);

/* The first `count` of some frames, which lie in one chunk, as one call of the kernel: with `before`
 * and `after` frames around them. */
typedef struct {
    size_t count, before, after;
} ee_conv_part;

/* Of frames first..first+count-1. */
ee_conv_part ee_conv_part_of(const ee_conv_frames *f, size_t first, size_t count);

/* The newest rows of the past (rows, dim) to their place before the frames given. */
void ee_conv_recall(const ee_conv_frames *f, float *gated, const float *past, size_t rows,
                    size_t dim);

/* The frames of a layer. */
typedef struct {
    ee_attention_frames attention;
    ee_conv_frames conv;
} ee_layer_frames;

/* With as much past as the view may want: no other needs more scratch. */
ee_layer_frames ee_layer_frames_planned(const ee_view *view, size_t rows, size_t kernel,
                                        const ee_team *team);
/* With the past that there is, which may be NULL. */
ee_layer_frames ee_layer_frames_of(const ee_view *view, const ee_layer_past *past, size_t rows,
                                   size_t kernel, const ee_team *team);

/* Makes room in a past, which may be NULL, for keys and values of the newest frames given; the
 * oldest of the past go. Says where the new ones belong. */
ee_kept_kv ee_make_room(ee_layer_past *past, const ee_view *view, size_t rows, size_t dim);

/* Keeps the newest of gated (past + rows, dim). */
void ee_keep_gated(ee_layer_past *past, const ee_view *view, const ee_conv_frames *f,
                   const float *gated, size_t dim);

#endif
