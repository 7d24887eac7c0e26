/* Frames in, frames out. */
#include "frames.h"

#include <string.h>

enum { HEADER_BYTES = 16 };

static const unsigned char MAGIC[4] = {'E', 'E', 'C', 'F'};

/* CRC-32 of zlib, four bits at a time; begins and ends with all bits turned by the caller. */
static uint32_t crc_add(uint32_t crc, const void *data, size_t bytes)
{
    static const uint32_t TABLE[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
        0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
        0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
    };
    const unsigned char *at = data;

    while (bytes-- > 0) {
        crc ^= *at++;
        crc = (crc >> 4) ^ TABLE[crc & 15];
        crc = (crc >> 4) ^ TABLE[crc & 15];
    }
    return crc;
}

uint32_t eec_crc(const void *data, size_t bytes)
{
    return ~crc_add(~(uint32_t)0, data, bytes);
}

uint32_t eec_get_u32(const unsigned char *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

uint32_t eec_get_u16(const unsigned char *at)
{
    return at[0] | (uint32_t)at[1] << 8;
}

void eec_put_u32(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (unsigned char)(value >> (8 * i));
    }
}

void eec_put_u16(unsigned char *at, uint32_t value)
{
    at[0] = (unsigned char)value;
    at[1] = (unsigned char)(value >> 8);
}

size_t eec_padding(size_t at)
{
    return (EEC_ALIGNMENT - at % EEC_ALIGNMENT) % EEC_ALIGNMENT;
}

/* ---- In ---- */

int eec_read(const ee_conformance *port, void *data, size_t bytes)
{
    return port->read(port->context, data, bytes) == bytes;
}

static int is_header(const unsigned char head[HEADER_BYTES])
{
    return memcmp(head, MAGIC, sizeof MAGIC) == 0 && eec_get_u32(head + 12) == eec_crc(head, 12);
}

int eec_read_header(const ee_conformance *port, frame *found)
{
    unsigned char head[HEADER_BYTES];
    size_t have = 0;

    while (eec_read(port, head + have, HEADER_BYTES - have)) {
        if (is_header(head)) {
            found->type = head[4];
            found->sequence = eec_get_u16(head + 6);
            found->bytes = eec_get_u32(head + 8);
            return 1;
        }
        size_t skip = 1;
        while (skip < HEADER_BYTES && head[skip] != MAGIC[0]) {
            skip++;
        }
        have = HEADER_BYTES - skip;
        memmove(head, head + skip, have);
    }
    return 0;
}

int eec_discard(const ee_conformance *port, size_t bytes)
{
    unsigned char piece[256];

    while (bytes > 0) {
        const size_t part = bytes < sizeof piece ? bytes : sizeof piece;
        if (!eec_read(port, piece, part)) {
            return 0;
        }
        bytes -= part;
    }
    return 1;
}

/* ---- Out ---- */

void eec_put(sender *s, const void *data, size_t bytes)
{
    s->ok = s->ok && (bytes == 0 || s->port->write(s->port->context, data, bytes));
    s->crc = crc_add(s->crc, data, bytes);
    s->sent += bytes;
}

sender eec_begin(const ee_conformance *port, int type, uint32_t sequence, size_t bytes)
{
    sender s = {port, ~(uint32_t)0, 0, 1};
    unsigned char head[HEADER_BYTES];

    memcpy(head, MAGIC, sizeof MAGIC);
    head[4] = (unsigned char)type;
    head[5] = 0;
    eec_put_u16(head + 6, sequence);
    eec_put_u32(head + 8, (uint32_t)bytes);
    eec_put_u32(head + 12, eec_crc(head, 12));
    eec_put(&s, head, sizeof head);
    s.crc = ~(uint32_t)0;
    s.sent = 0;
    return s;
}

int eec_finish(sender *s)
{
    unsigned char crc[EEC_CRC_BYTES];

    eec_put_u32(crc, ~s->crc);
    eec_put(s, crc, sizeof crc);
    return s->ok;
}
