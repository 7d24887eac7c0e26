/* frames.h: frames, and the bodies in them (docs/conformance-protocol.md). */
#ifndef FRAMES_H
#define FRAMES_H

#include "conformance.h"

enum { EEC_ALIGNMENT = 64, EEC_CRC_BYTES = 4 };

/* Types of frames. */
enum {
    HELLO = 0x01,
    MODEL = 0x02,
    CASE = 0x03,
    BYE = 0x04,
    PORT = 0x81,
    RESULT = 0x82,
    UNSUPPORTED = 0x83,
    ERROR = 0x84,
    END = 0x85
};

/* ---- frames.c ---- */

/* CRC-32 of zlib. */
uint32_t eec_crc(const void *data, size_t bytes);

uint32_t eec_get_u16(const unsigned char *at);
uint32_t eec_get_u32(const unsigned char *at);
void eec_put_u16(unsigned char *at, uint32_t value);
void eec_put_u32(unsigned char *at, uint32_t value);

/* Bytes up to the next multiple of EEC_ALIGNMENT. */
size_t eec_padding(size_t at);

/* A frame that came: its payload and the payload's checksum are still to be read. */
typedef struct {
    int type;
    uint32_t sequence;
    size_t bytes; /* of the payload */
} frame;

/* The next header that is whole; 0 when no more bytes come. What is none is passed over, byte by
 * byte. */
int eec_read_header(const ee_conformance *port, frame *found);

/* Whether all bytes came. */
int eec_read(const ee_conformance *port, void *data, size_t bytes);

/* Reads bytes for which there is no room, and forgets them. */
int eec_discard(const ee_conformance *port, size_t bytes);

/* A frame that is being sent: everything goes through its checksum. */
typedef struct {
    const ee_conformance *port;
    uint32_t crc;
    size_t sent; /* of the payload */
    int ok;
} sender;

/* `bytes`: of the payload. */
sender eec_begin(const ee_conformance *port, int type, uint32_t sequence, size_t bytes);
void eec_put(sender *s, const void *data, size_t bytes);
/* Whether all of it was sent. */
int eec_finish(sender *s);

/* ---- bodies.c ---- */

/* Fills in name, parameters and inputs from a payload, which stays where it is. */
void eec_parse(question *q, unsigned char *payload, size_t bytes);

/* Each sends one answer: whether that was possible. */
int eec_send_port(const question *q, uint32_t sequence);
int eec_send_result(const question *q, uint32_t sequence);
int eec_send_problem(const question *q, uint32_t sequence); /* ERROR or UNSUPPORTED */
int eec_send_end(const question *q, uint32_t sequence);

/* ---- table.c ---- */

/* The names of all ops, each with a space behind it: their length, and sent if `s` is there. */
size_t eec_put_ops(sender *s);

/* Computes the case, or notes why not. */
void eec_run_case(question *q);

#endif
