/* ee_pool.h: a team of threads, for hosts. Firmware has no use for it: NULL is its team, or one of
 * its own (docs/porting.md).
 *
 * The caller of a composite, or of ee_session_step, is one of the workers; the others are threads
 * that wait for it. Between two pieces of work they look for the next one for a millisecond, then
 * they sleep. Any number of sessions in any number of threads may share a pool: it works for one at
 * a time, and the others meanwhile do their work in their own thread.
 *
 * After fork() the child has none of the threads: there the pool is the calling thread alone.
 */
#ifndef EE_POOL_H
#define EE_POOL_H

#include "ee.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cdef:begin */
enum {
    EE_MAX_WORKERS = 256,
    /* Frames in a block of the pool's team: many, because kernels of a host may reorder the weights
     * once for each block. For float32 models more: what int8 mode keeps of so many frames would
     * leave the second-level cache (0.95 to 0.97 of its speed), and float32 packs longer. */
    EE_POOL_BLOCK_FRAMES = 256,
    EE_POOL_BLOCK_FRAMES_F32 = 384
};

typedef struct ee_pool ee_pool;

/* Bytes of memory that ee_pool_open needs. EE_ERR_ARGUMENT unless workers is in 1..EE_MAX_WORKERS,
 * and for NULL. */
ee_status ee_pool_size(size_t workers, size_t *bytes);

/* Starts workers - 1 threads. memory: of ee_pool_size, aligned to EE_MEMORY_ALIGNMENT, the pool's
 * until it is closed. Without threads, by the system or by EE_NO_THREADS, more than one worker is
 * EE_ERR_THREADS. On an error *pool is NULL and no thread is left. */
ee_status ee_pool_open(void *memory, size_t bytes, size_t workers, ee_pool **pool);

/* The team to open sessions with, valid as long as the pool; NULL only for NULL. */
const ee_team *ee_pool_team(const ee_pool *pool);

/* Most frames of a block of its team, 1 or more, before sessions are opened; at first
 * EE_POOL_BLOCK_FRAMES. Sessions need arenas for that. */
void ee_pool_set_block_frames(ee_pool *pool, size_t frames);

/* Ends the threads and waits for them. No work may be in progress or begin. NULL does nothing. */
void ee_pool_close(ee_pool *pool);
/* cdef:end */

#ifdef __cplusplus
}
#endif

#endif
