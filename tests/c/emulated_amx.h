/* emulated_amx.h: the tile instructions that kernels use, in portable C, for a CPU without them.
 *
 *   cc -include tests/c/emulated_amx.h ...
 *
 * compiles the very files of the library, which then has `amx` on every CPU with AVX-512 VNNI.
 * Each instruction checks what the manual says raises an exception (Intel 64 and IA-32
 * Architectures Software Developer's Manual, volume 2, LDTILECFG and what follows it), and ends the
 * program where it does. */
#ifndef EMULATED_AMX_H
#define EMULATED_AMX_H

#ifdef __x86_64__

#define _GNU_SOURCE /* as files that ask for it do, before any header */
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define X86_HAS_AMX 1

enum { EMULATED_TILES = 8, EMULATED_ROWS = 16, EMULATED_ROW_BYTES = 64 };

typedef struct {
    int is_configured;
    struct {
        size_t rows, row_bytes;
        int8_t data[EMULATED_ROWS][EMULATED_ROW_BYTES];
    } tiles[EMULATED_TILES];
} emulated_amx_state;

/* Of this thread, and of this file: kernels configure the tiles that they use. */
static __thread emulated_amx_state emulated_amx;

static inline void emulated_amx_demand(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "emulated AMX: %s\n", what);
        abort();
    }
}

/* A tile that is configured. */
static inline size_t emulated_amx_tile(size_t tile)
{
    emulated_amx_demand(emulated_amx.is_configured, "#UD: tiles are not configured");
    emulated_amx_demand(tile < EMULATED_TILES, "#UD: no such tile");
    emulated_amx_demand(emulated_amx.tiles[tile].rows > 0, "#UD: a tile without a shape");
    return tile;
}

static inline void emulated_amx_release(void)
{
    memset(&emulated_amx, 0, sizeof emulated_amx);
}

static inline void emulated_amx_loadconfig(const void *config)
{
    const uint8_t *const bytes = (const uint8_t *)config;

    emulated_amx_release();
    emulated_amx_demand(bytes[0] <= 1, "#GP: palette");
    if (bytes[0] == 0) {
        return;
    }
    emulated_amx_demand(bytes[1] < EMULATED_ROWS, "#GP: start row");
    for (size_t i = 2; i < 16; i++) {
        emulated_amx_demand(bytes[i] == 0, "#GP: reserved byte");
    }
    for (size_t i = 0; i < 16; i++) {
        const size_t row_bytes = bytes[16 + 2 * i] + 256u * bytes[17 + 2 * i];
        const size_t rows = bytes[48 + i];

        if (i >= EMULATED_TILES) {
            emulated_amx_demand(row_bytes == 0 && rows == 0, "#GP: shape of a tile of no palette");
            continue;
        }
        emulated_amx_demand(row_bytes <= EMULATED_ROW_BYTES && rows <= EMULATED_ROWS,
                            "#GP: shape too large");
        emulated_amx_demand((row_bytes == 0) == (rows == 0), "#GP: rows without bytes");
        emulated_amx.tiles[i].rows = rows;
        emulated_amx.tiles[i].row_bytes = row_bytes;
    }
    emulated_amx.is_configured = 1;
}

static inline void emulated_amx_zero(size_t tile)
{
    tile = emulated_amx_tile(tile);
    memset(emulated_amx.tiles[tile].data, 0, sizeof emulated_amx.tiles[tile].data);
}

static inline void emulated_amx_loadd(size_t tile, const void *base, size_t stride)
{
    emulated_amx_zero(tile);
    for (size_t r = 0; r < emulated_amx.tiles[tile].rows; r++) {
        memcpy(emulated_amx.tiles[tile].data[r], (const char *)base + r * stride,
               emulated_amx.tiles[tile].row_bytes);
    }
}

static inline void emulated_amx_stored(size_t tile, void *base, size_t stride)
{
    tile = emulated_amx_tile(tile);
    for (size_t r = 0; r < emulated_amx.tiles[tile].rows; r++) {
        memcpy((char *)base + r * stride, emulated_amx.tiles[tile].data[r],
               emulated_amx.tiles[tile].row_bytes);
    }
}

/* sum[m][n] += a[m][4k..4k+3] . b[k][4n..4n+3], both signed. */
static inline void emulated_amx_dpbssd(size_t sum, size_t a, size_t b)
{
    emulated_amx_state *const amx = &emulated_amx;

    sum = emulated_amx_tile(sum);
    a = emulated_amx_tile(a);
    b = emulated_amx_tile(b);
    const size_t rows = amx->tiles[sum].rows, row_bytes = amx->tiles[sum].row_bytes;
    const size_t groups = amx->tiles[a].row_bytes / 4;

    emulated_amx_demand(sum != a && sum != b && a != b, "#UD: a tile twice");
    emulated_amx_demand(row_bytes % 4 == 0 && amx->tiles[a].row_bytes % 4 == 0
                            && amx->tiles[b].row_bytes % 4 == 0, "#UD: no whole groups");
    emulated_amx_demand(amx->tiles[a].rows == rows && amx->tiles[b].rows == groups
                            && amx->tiles[b].row_bytes == row_bytes, "#UD: shapes do not fit");
    for (size_t m = 0; m < rows; m++) {
        int32_t sums[EMULATED_ROW_BYTES / 4];

        memcpy(sums, amx->tiles[sum].data[m], sizeof sums);
        for (size_t k = 0; k < groups; k++) {
            for (size_t n = 0; n < row_bytes / 4; n++) {
                for (size_t j = 0; j < 4; j++) {
                    sums[n] += amx->tiles[a].data[m][4 * k + j] * amx->tiles[b].data[k][4 * n + j];
                }
            }
        }
        memcpy(amx->tiles[sum].data[m], sums, sizeof sums);
    }
}

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbssd
#define _tile_loadconfig emulated_amx_loadconfig
#define _tile_release emulated_amx_release
#define _tile_loadd emulated_amx_loadd
#define _tile_stored emulated_amx_stored
#define _tile_zero emulated_amx_zero
#define _tile_dpbssd emulated_amx_dpbssd

#endif

#endif
