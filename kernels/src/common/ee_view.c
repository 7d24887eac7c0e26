#include <string.h>

#include "ee_view.h"

/* Frames of a chunk, at least 1: those of the view, or all. */
static size_t chunk_frames(size_t rows, size_t chunk)
{
    const size_t all = ee_size_max(rows, 1);

    return chunk == 0 ? all : ee_size_min(chunk, all);
}

ee_attention_frames ee_attention_frames_of(size_t rows, size_t past, size_t chunk, size_t left,
                                           const ee_team *team)
{
    ee_attention_frames f = {.rows = rows, .past = ee_size_min(past, left), .left = left};

    f.seen = ee_size_add(f.past, rows);
    f.chunk = chunk_frames(rows, chunk);
    f.window = ee_size_min(f.seen, ee_size_add(left, f.chunk));
    f.query_step = ee_query_frames(f.chunk, f.window, team);
    f.is_whole = f.past == 0 && f.chunk >= rows;
    return f;
}

size_t ee_query_items(const ee_attention_frames *f, size_t heads)
{
    return heads * ee_block_count(f->rows, f->chunk) * ee_block_count(f->chunk, f->query_step);
}

ee_queries ee_queries_of(const ee_attention_frames *f, size_t heads, size_t item)
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

void ee_keep(const ee_kept_kv *kept, size_t column, const float *from, size_t from_stride,
             size_t first, size_t count)
{
    const size_t skipped = first < kept->first ? ee_size_min(kept->first - first, count) : 0;

    if (kept->rows != NULL && skipped < count) {
        ee_copy_rows(kept->rows + (first + skipped - kept->first) * 2 * kept->dim + column,
                     from + skipped * from_stride, count - skipped, kept->dim, 2 * kept->dim,
                     from_stride);
    }
}

void ee_copy_rows(float *to, const float *from, size_t rows, size_t columns, size_t to_stride,
                  size_t from_stride)
{
    for (size_t t = 0; t < rows; t++) {
        memcpy(to + t * to_stride, from + t * from_stride, columns * sizeof *to);
    }
}

ee_conv_frames ee_conv_frames_of(size_t rows, size_t past, size_t chunk, size_t kernel,
                                 size_t ahead)
{
    const ee_conv_frames f = {
        rows, ee_size_min(past, kernel - 1 - ahead), chunk_frames(rows, chunk), kernel, ahead,
    };

    return f;
}

ee_conv_part ee_conv_part_of(const ee_conv_frames *f, size_t first, size_t count)
{
    const size_t chunk_end = ee_size_min((first / f->chunk + 1) * f->chunk, f->rows);
    const size_t inside = ee_size_min(chunk_end - first, count);
    const ee_conv_part part = {
        inside, ee_size_min(f->past + first, f->kernel - 1 - f->ahead),
        ee_size_min(chunk_end - first - inside, f->ahead),
    };

    return part;
}

void ee_conv_recall(const ee_conv_frames *f, float *gated, const float *past, size_t rows,
                    size_t dim)
{
    if (f->past > 0) {
        memcpy(gated, past + (rows - f->past) * dim, f->past * dim * sizeof *gated);
    }
}

ee_layer_frames ee_layer_frames_planned(const ee_view *view, size_t rows, size_t kernel,
                                        const ee_team *team)
{
    const size_t past = view->chunk > 0 ? SIZE_MAX : 0;
    const ee_layer_frames f = {
        ee_attention_frames_of(rows, past, view->chunk, view->left, team),
        ee_conv_frames_of(rows, past, view->chunk, kernel, view->ahead),
    };

    return f;
}

ee_layer_frames ee_layer_frames_of(const ee_view *view, const ee_layer_past *past, size_t rows,
                                   size_t kernel, const ee_team *team)
{
    ee_layer_frames f = ee_layer_frames_planned(view, rows, kernel, team);

    f.attention.past = ee_size_min(f.attention.past, past != NULL ? past->kv_rows : 0);
    f.attention.seen = f.attention.past + rows;
    f.conv.past = ee_size_min(f.conv.past, past != NULL ? past->gated_rows : 0);
    return f;
}

ee_kept_kv ee_make_room(ee_layer_past *past, const ee_view *view, size_t rows, size_t dim)
{
    const size_t most = view->chunk > 0 ? view->left : 0;
    const size_t added = ee_size_min(rows, most);

    if (past == NULL) {
        return (ee_kept_kv){NULL, 0, dim};
    }
    const size_t stay = ee_size_min(past->kv_rows, most - added);
    if (stay > 0) {
        memmove(past->kv, past->kv + (past->kv_rows - stay) * 2 * dim,
                stay * 2 * dim * sizeof *past->kv);
    }
    past->kv_rows = stay + added;
    return (ee_kept_kv){past->kv + stay * 2 * dim, rows - added, dim};
}

void ee_keep_gated(ee_layer_past *past, const ee_view *view, const ee_conv_frames *f,
                   const float *gated, size_t dim)
{
    const size_t seen = f->past + f->rows;
    const size_t most = view->chunk > 0 ? f->kernel - 1 - f->ahead : 0;

    if (past == NULL) {
        return;
    }
    past->gated_rows = ee_size_min(seen, most);
    if (past->gated_rows > 0) {
        memcpy(past->gated, gated + (seen - past->gated_rows) * dim,
               past->gated_rows * dim * sizeof *gated);
    }
}
