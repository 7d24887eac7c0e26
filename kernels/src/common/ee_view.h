/* ee_view.h: which frames attention and the depthwise convolution see, and what is kept of them: the
 * same in both modes. */
#ifndef EE_VIEW_H
#define EE_VIEW_H

#include <string.h>

#include "ee_team.h"

/* Frames of a chunk, at least 1: those of the view, or all. */
static inline size_t ee_chunk_frames(size_t rows, size_t chunk)
{
    const size_t all = ee_size_max(rows, 1);

    return chunk == 0 ? all : ee_size_min(chunk, all);
}

/* to[t, d] = from[t, d] for so many columns, each with its stride. */
static inline void ee_copy_rows(float *to, const float *from, size_t rows, size_t columns,
                                size_t to_stride, size_t from_stride)
{
    for (size_t t = 0; t < rows; t++) {
        memcpy(to + t * to_stride, from + t * from_stride, columns * sizeof(float));
    }
}

/* The frames of attention. Those it sees are counted from the oldest of the past. */
typedef struct {
    size_t rows, past;     /* it is given, and has the keys and values of before these */
    size_t seen;           /* both */
    size_t chunk, left;    /* as in ee_view, but that chunk is at least 1 */
    size_t window;         /* the most that one query sees */
    size_t query_step;     /* that are scored at once */
    int is_whole;          /* whether every query sees everything, of which nothing is past */
} ee_attention_frames;

static inline ee_attention_frames ee_attention_frames_of(size_t rows, size_t past, size_t chunk,
                                                         size_t left, const ee_team *team)
{
    ee_attention_frames f = {.rows = rows, .past = ee_size_min(past, left), .left = left};

    f.seen = ee_size_add(f.past, rows);
    f.chunk = ee_chunk_frames(rows, chunk);
    f.window = ee_size_min(f.seen, ee_size_add(left, f.chunk));
    f.query_step = ee_query_frames(f.chunk, f.window, team);
    f.is_whole = f.past == 0 && f.chunk >= rows;
    return f;
}

/* Queries first..first+count-1 of one head, and the frames that they see. */
typedef struct {
    size_t head, first, count, seen_first, seen_count;
} ee_queries;

/* Blocks of queries: none reaches from one chunk into the next, and some may be empty. */
static inline size_t ee_query_items(const ee_attention_frames *f, size_t heads)
{
    return heads * ee_block_count(f->rows, f->chunk) * ee_block_count(f->chunk, f->query_step);
}

static inline ee_queries ee_queries_of(const ee_attention_frames *f, size_t heads, size_t item)
{
    const size_t blocks = ee_block_count(f->chunk, f->query_step);
    const size_t block = item / heads;
    const size_t start = block / blocks * f->chunk;
    const size_t end = ee_size_min(start + f->chunk, f->rows);
    const size_t first = ee_size_min(start + block % blocks * f->query_step, end);
    const size_t own = f->past + start;
    const size_t seen_first = own > f->left ? own - f->left : 0;
    const ee_queries queries = {
        item % heads, first, ee_size_min(end - first, f->query_step), seen_first,
        f->past + end - seen_first,
    };

    return queries;
}

/* Where keys and values (count, 2*dim) are kept: those of frames first, first + 1, ... of the ones
 * given. rows may be NULL. */
typedef struct {
    float *rows;
    size_t first, dim;
} ee_kept_kv;

/* Keeps keys (at column 0) or values (at column dim) of frames first..first+count-1. */
static inline void ee_keep(const ee_kept_kv *kept, size_t column, const float *from,
                           size_t from_stride, size_t first, size_t count)
{
    const size_t skipped = first < kept->first ? ee_size_min(kept->first - first, count) : 0;

    if (kept->rows != NULL && skipped < count) {
        ee_copy_rows(kept->rows + (first + skipped - kept->first) * 2 * kept->dim + column,
                     from + skipped * from_stride, count - skipped, kept->dim, 2 * kept->dim,
                     from_stride);
    }
}

/* The frames of the depthwise convolution: `rows` that it is given, and `past` older ones before
 * them in memory, no more than it reaches. */
typedef struct {
    size_t rows, past, chunk, kernel, ahead;
} ee_conv_frames;

static inline ee_conv_frames ee_conv_frames_of(size_t rows, size_t past, size_t chunk,
                                               size_t kernel, size_t ahead)
{
    const ee_conv_frames f = {
        rows, ee_size_min(past, kernel - 1 - ahead), ee_chunk_frames(rows, chunk), kernel, ahead,
    };

    return f;
}

/* Frames first..first+count-1 as one call of the kernel: the first `count` of them that lie in one
 * chunk, with `before` and `after` frames around them. */
typedef struct {
    size_t count, before, after;
} ee_conv_part;

static inline ee_conv_part ee_conv_part_of(const ee_conv_frames *f, size_t first, size_t count)
{
    const size_t chunk_end = ee_size_min((first / f->chunk + 1) * f->chunk, f->rows);
    const size_t inside = ee_size_min(chunk_end - first, count);
    const ee_conv_part part = {
        inside, ee_size_min(f->past + first, f->kernel - 1 - f->ahead),
        ee_size_min(chunk_end - first - inside, f->ahead),
    };

    return part;
}

/* The newest rows of the past (rows, dim) to their place before the frames given. */
static inline void ee_conv_recall(const ee_conv_frames *f, float *gated, const float *past,
                                  size_t rows, size_t dim)
{
    if (f->past > 0) {
        memcpy(gated, past + (rows - f->past) * dim, f->past * dim * sizeof(float));
    }
}

/* What a layer sees, and what it keeps. */
typedef struct {
    ee_attention_frames attention;
    ee_conv_frames conv;
} ee_layer_frames;

/* With as much past as the view may want. */
static inline ee_layer_frames ee_layer_frames_planned(const ee_view *view, size_t rows,
                                                      size_t kernel, const ee_team *team)
{
    const size_t past = view->chunk > 0 ? SIZE_MAX : 0;
    const ee_layer_frames f = {
        ee_attention_frames_of(rows, past, view->chunk, view->left, team),
        ee_conv_frames_of(rows, past, view->chunk, kernel, view->ahead),
    };

    return f;
}

/* With the past that there is. */
static inline ee_layer_frames ee_layer_frames_of(const ee_view *view, const ee_layer_past *past,
                                                 size_t rows, size_t kernel, const ee_team *team)
{
    ee_layer_frames f = ee_layer_frames_planned(view, rows, kernel, team);

    f.attention.past = ee_size_min(f.attention.past, past != NULL ? past->kv_rows : 0);
    f.attention.seen = f.attention.past + rows;
    f.conv.past = ee_size_min(f.conv.past, past != NULL ? past->gated_rows : 0);
    return f;
}

/* Makes room for keys and values of the newest frames given; the oldest of the past go. Says where
 * the new ones belong. */
static inline ee_kept_kv ee_make_room(ee_layer_past *past, const ee_view *view, size_t rows,
                                      size_t dim)
{
    const size_t most = view->chunk > 0 ? view->left : 0;
    const size_t added = ee_size_min(rows, most);

    if (past == NULL) {
        return (ee_kept_kv){NULL, 0, dim};
    }
    const size_t stay = ee_size_min(past->kv_rows, most - added);
    memmove(past->kv, past->kv + (past->kv_rows - stay) * 2 * dim, stay * 2 * dim * sizeof(float));
    past->kv_rows = stay + added;
    return (ee_kept_kv){past->kv + stay * 2 * dim, rows - added, dim};
}

/* Keeps the newest of gated (past + rows, dim). */
static inline void ee_keep_gated(ee_layer_past *past, const ee_view *view, const ee_conv_frames *f,
                                 const float *gated, size_t dim)
{
    const size_t seen = f->past + f->rows;
    const size_t most = view->chunk > 0 ? f->kernel - 1 - f->ahead : 0;

    if (past != NULL) {
        past->gated_rows = ee_size_min(seen, most);
        memcpy(past->gated, gated + (seen - past->gated_rows) * dim,
               past->gated_rows * dim * sizeof(float));
    }
}

#endif
