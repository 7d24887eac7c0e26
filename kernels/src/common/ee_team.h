/* ee_team.h: what composites share to run their blocks of frames on a team. */
#ifndef EE_TEAM_H
#define EE_TEAM_H

#include "ee_kernels.h"
#include "ee_size.h"

/* The row tiles of the x86 kernels are divisors of this. */
enum { EE_BLOCK_TILE = 12 };

static inline size_t ee_workers(const ee_team *team)
{
    return team != NULL ? team->workers : 1;
}

/* The weight_stride of a model's matrix whose rows hold n. */
static inline size_t ee_weight_stride(const ee_ops_f32 *ops, size_t n)
{
    return ops->is_packed ? 0 : ee_row_stride(n);
}

/* Frames of a block: as few blocks as the team allows, but one for each worker when there are
 * frames enough, and all of one size but the last. A block of a few left-over frames would read all
 * weights again for next to nothing. Without a team memory counts for more than whole tiles. */
static inline size_t ee_block_frames(size_t rows, const ee_team *team)
{
    const size_t most = team != NULL ? team->block_frames : EE_BLOCK_FRAMES;
    const size_t least_blocks = rows / most + (rows % most != 0);
    const size_t blocks = ee_size_max(
        least_blocks, ee_size_min(ee_workers(team), rows / EE_BLOCK_TILE));

    if (blocks == 0) {
        return 1;
    }
    const size_t frames = rows / blocks + (rows % blocks != 0);
    const size_t beyond_tile = team != NULL ? frames % EE_BLOCK_TILE : 0;
    const size_t tiled = beyond_tile > 0 ? frames + EE_BLOCK_TILE - beyond_tile : frames;
    return ee_size_min(ee_size_min(tiled, most), rows);
}

/* Calls task(context, item, worker) for every item; the context is not changed. */
static inline void ee_run(const ee_team *team, ee_task task, const void *context, size_t items)
{
    void *const passed = (void *)(uintptr_t)context;

    if (team != NULL) {
        team->run(team, task, passed, items);
        return;
    }
    for (size_t item = 0; item < items; item++) {
        task(passed, item, 0);
    }
}

/* How `rows` frames are cut into blocks, and where the scratch of the workers lies: that of one
 * after that of the other, scratch_bytes each. */
typedef struct {
    size_t rows, step;
    char *scratch;
    size_t scratch_bytes;
} ee_blocks;

/* Frames first..first+count-1, and scratch that no other worker has. */
typedef struct {
    size_t first, count;
    void *scratch;
} ee_block;

static inline ee_blocks ee_blocks_f32(size_t rows, size_t step, float *scratch,
                                      size_t scratch_floats)
{
    const ee_blocks blocks = {rows, step, (char *)scratch, scratch_floats * sizeof(float)};

    return blocks;
}

static inline ee_blocks ee_blocks_without_scratch(size_t rows, size_t step)
{
    return ee_blocks_f32(rows, step, NULL, 0);
}

static inline void *ee_worker_scratch(const ee_blocks *blocks, size_t worker)
{
    return blocks->scratch_bytes > 0 ? blocks->scratch + worker * blocks->scratch_bytes : NULL;
}

static inline ee_block ee_block_of(const ee_blocks *blocks, size_t item, size_t worker)
{
    const size_t first = item * blocks->step;
    const ee_block block = {
        first, ee_size_min(blocks->rows - first, blocks->step), ee_worker_scratch(blocks, worker),
    };

    return block;
}

static inline size_t ee_block_count(size_t rows, size_t step)
{
    return rows / step + (rows % step != 0);
}

/* ee_run with the blocks for items. */
static inline void ee_for_blocks(const ee_team *team, const ee_blocks *blocks, ee_task task,
                                 const void *context)
{
    ee_run(team, task, context, ee_block_count(blocks->rows, blocks->step));
}

/* Queries of attention that are scored at once, each against so many keys. Their scores lie in the
 * scratch of a worker, so that a long utterance is scored in smaller blocks: about half a
 * megabyte. */
static inline size_t ee_query_frames(size_t rows, size_t keys, const ee_team *team)
{
    const size_t scores = 131072;
    const size_t fitting = scores / ee_size_max(keys, 1) / EE_BLOCK_TILE * EE_BLOCK_TILE;

    return ee_size_min(ee_block_frames(rows, team), ee_size_max(fitting, EE_BLOCK_FRAMES));
}

/* out[c, t] = x[t, c]: x (rows, columns), out (columns, rows), with their strides. A cache line of
 * x at a time: a whole column would touch as many lines as there are rows. */
static inline void ee_transpose(float *out, const float *x, size_t rows, size_t columns,
                                size_t out_stride, size_t x_stride)
{
    const size_t line = 16;

    for (size_t c = 0; c < columns; c += line) {
        const size_t end = ee_size_min(columns, c + line);
        for (size_t t = 0; t < rows; t++) {
            for (size_t i = c; i < end; i++) {
                out[i * out_stride + t] = x[t * x_stride + i];
            }
        }
    }
}

/* out = x + factor * y; out may be x. A factor of 1 changes no bit of y. */
static inline void ee_add_scaled(float *out, const float *x, const float *y, float factor,
                                 size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = x[i] + y[i] * factor;
    }
}

#endif
