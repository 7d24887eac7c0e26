/* ee_prefetch.h: the weights of the next panel, asked for while the present one is multiplied.
 *
 * A model's weights come from memory, or from a cache shared by many, once an utterance. A panel is
 * a few hundred bytes of each of many rows, too short for the prefetchers of a core: without this,
 * packing waits for them, which was 4 to 5 % of the time of all layers of the 31.5 M parameter shape
 * with VNNI on AMD Zen 5. */
#ifndef EE_PREFETCH_H
#define EE_PREFETCH_H

#include <stddef.h>
#include <stdint.h>

enum { EE_CACHE_LINE = 64 };

/* Lines that are still to be asked for: of `rows` rows of `depth` bytes, from `column` of the
 * first one on. */
typedef struct {
    const int8_t *weight;
    size_t rows, depth, stride, column;
} ee_prefetch;

/* The panel behind that of `outs` outputs from `out` on and `depth` inputs from `in` on: the next
 * outputs, or the first ones of the next inputs, or none behind the last panel. weight (all_outs,
 * all_in) with its stride. */
static inline ee_prefetch ee_prefetch_next(const int8_t *weight, size_t stride, size_t all_outs,
                                           size_t all_in, size_t out, size_t outs, size_t in,
                                           size_t depth)
{
    if (all_outs - out > outs) {
        const size_t left = all_outs - out - outs;
        const ee_prefetch next = {
            weight + (out + outs) * stride + in, left < outs ? left : outs, depth, stride, 0};
        return next;
    }
    const size_t left = all_in - in - depth;
    const ee_prefetch next = {
        weight + in + depth, left == 0 ? 0 : outs < all_outs ? outs : all_outs,
        left < depth ? left : depth, stride, 0};
    return next;
}

/* Likewise of a packed matrix, whose panels of `outs` outputs, each `stride` bytes long, lie one behind
 * the other: what is asked for has no gaps. */
static inline ee_prefetch ee_prefetch_packed(const int8_t *weight, size_t stride, size_t all_outs,
                                             size_t all_in, size_t out, size_t outs, size_t in,
                                             size_t depth)
{
    if (all_outs - out > outs) {
        const ee_prefetch next = {
            weight + (out + outs) * stride + in * outs, 1, depth * outs, 0, 0};
        return next;
    }
    const size_t left = all_in - in - depth;
    const ee_prefetch next = {
        weight + (in + depth) * outs, left > 0, (left < depth ? left : depth) * outs, 0, 0};
    return next;
}

/* The share of each of `parts` parts. */
static inline size_t ee_prefetch_share(const ee_prefetch *next, size_t parts)
{
    const size_t lines = next->rows * ((next->depth + EE_CACHE_LINE - 1) / EE_CACHE_LINE);

    return lines / parts + (lines % parts != 0);
}

/* Asks for `lines` more, if there are so many, into the second-level cache, or the first where
 * is_near, a constant, says that it holds the next panel as well. */
static inline void ee_prefetch_some(ee_prefetch *next, size_t lines, int is_near)
{
    for (; lines > 0 && next->rows > 0; lines--) {
        if (is_near) {
            __builtin_prefetch(next->weight + next->column, 0, 3);
        } else {
            __builtin_prefetch(next->weight + next->column, 0, 2);
        }
        next->column += EE_CACHE_LINE;
        if (next->column >= next->depth) {
            next->column = 0;
            next->weight += next->stride;
            next->rows--;
        }
    }
}

#endif
