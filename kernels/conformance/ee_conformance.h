/* ee_conformance.h: a port that the conformance suite can be run on: the C files of this folder
 * but desk.c, compiled into a program, and two functions that move bytes
 * (docs/conformance-protocol.md).
 *
 *   static ee_conformance port = {.read = uart_read, .write = uart_write, .memory = ram, ...};
 *   ee_conformance_serve(&port);
 *
 * Nothing is allocated: frames, models and results lie in the memory given. To prove kernels of
 * one's own, give them as `ops`. Little-endian targets only, as flash images are.
 */
#ifndef EE_CONFORMANCE_H
#define EE_CONFORMANCE_H

#include <stddef.h>

#include "ee.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    /* Fills `data` with the next bytes from the host, waiting for them. Returns how many: fewer
     * than `bytes` only when there will be no more. */
    size_t (*read)(void *context, void *data, size_t bytes);
    /* Sends bytes to the host; 0 when that is not possible any more. */
    int (*write)(void *context, const void *data, size_t bytes);
    void *context;
    void *memory; /* aligned to 64 bytes; 4 MB hold every case of the exact tiers */
    size_t bytes;
    const char *name, *version, *isa; /* of the port, for the report */
    const ee_ops *ops;
    /* A flash image that need not be sent, and its SHA-256 in hexadecimal; or NULL. */
    const void *image;
    size_t image_bytes;
    const char *image_sha256;
} ee_conformance;

enum {
    EE_CONFORMANCE_BYE = 0,    /* the host said so */
    EE_CONFORMANCE_ENDED = 1,  /* no more bytes come, or none can be sent */
    EE_CONFORMANCE_MEMORY = 2  /* memory too small to begin with, or not aligned */
};

/* Answers frames until the host says BYE or is gone. */
int ee_conformance_serve(const ee_conformance *port);

/* Those kernels, that of one op of int8 mode ("linear_qs8") with the lowest bit of its last value
 * wrong: as `ops` they show that the suite judges what it is given. NULL for another name. What is
 * returned is valid until the next call. */
const ee_ops *ee_conformance_wrong(const ee_ops *ops, const char *op);

#ifdef __cplusplus
}
#endif

#endif
