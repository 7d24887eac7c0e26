/* The conformance port: bytes from a host. The input is how many bytes of memory the port has
 * beyond the least, then what the host sends. What the port answers has to be whole frames. */
#include "conformance.h"
#include "sign.h"

enum { LEAST_BYTES = 4096 + 128, MOST_BYTES = 1 << 18, FRAME_BYTES = 16, CRC_BYTES = 4 };

typedef struct {
    const unsigned char *data;
    size_t size, at;
    /* What is being sent: its header, then the bytes of payload and checksum still to come. */
    unsigned char head[FRAME_BYTES];
    size_t have, rest;
    uint32_t answers;
} host;

static size_t read_host(void *context, void *data, size_t bytes)
{
    host *const h = context;
    const size_t left = h->size - h->at;
    const size_t part = bytes < left ? bytes : left;

    memcpy(data, h->data + h->at, part);
    h->at += part;
    return part;
}

static int write_host(void *context, const void *data, size_t bytes)
{
    host *const h = context;
    const unsigned char *from = data;

    while (bytes > 0) {
        const size_t open = h->have < FRAME_BYTES ? FRAME_BYTES - h->have : h->rest;
        const size_t part = bytes < open ? bytes : open;

        if (h->have < FRAME_BYTES) {
            memcpy(h->head + h->have, from, part);
            h->have += part;
            if (h->have == FRAME_BYTES) {
                EXPECT(memcmp(h->head, "EECF", 4) == 0
                       && fuzz_get(h->head + 12) == ee_crc32_c(0, h->head, 12));
                h->rest = fuzz_get(h->head + 8) + (size_t)CRC_BYTES;
                EXPECT(h->rest <= 2 * (size_t)MOST_BYTES);
            }
        } else {
            /* Read, for the sanitizer. */
            (void)ee_crc32_c(0, from, part);
            h->rest -= part;
            if (h->rest == 0) {
                h->have = 0;
                h->answers++;
            }
        }
        from += part;
        bytes -= part;
    }
    return 1;
}

void fuzz_one(const unsigned char *data, size_t size)
{
    if (size < 4) {
        return;
    }
    host h = {.data = data + 4, .size = size - 4};
    const size_t bytes = sizeof(question) + LEAST_BYTES + fuzz_get(data) % MOST_BYTES;
    const ee_conformance port = {
        .read = read_host, .write = write_host, .context = &h,
        .memory = fuzz_memory(bytes, 64), .bytes = bytes,
        .name = "fuzz", .version = "1", .isa = "any",
        .ops = ee_ops_for(size % 2 == 0 ? EE_ISA_C : ee_isa_best()),
    };

    const int end = ee_conformance_serve(&port);
    EXPECT(end == EE_CONFORMANCE_BYE || (end == EE_CONFORMANCE_ENDED && h.at == h.size));
    EXPECT(h.have == 0 && h.answers <= h.size / (FRAME_BYTES + CRC_BYTES));
    free(port.memory);
}

/* ---- Mutations ------------------------------------------------------------------------------- */

enum { MOST_FRAMES = 16, MOST_FIELDS = 512 };

/* Where a payload lies, and the numbers of a body that its reader goes by. */
typedef struct {
    size_t start, bytes;
} frame;

typedef struct {
    size_t at, bytes; /* of the field */
} field;

static size_t find_frames(const unsigned char *data, size_t size, frame *frames)
{
    size_t count = 0;

    for (size_t at = 4; at + FRAME_BYTES + CRC_BYTES <= size && count < MOST_FRAMES; at++) {
        if (memcmp(data + at, "EECF", 4) == 0) {
            const size_t room = size - at - FRAME_BYTES - CRC_BYTES;
            const size_t bytes = fuzz_get(data + at + 8);
            frames[count].start = at + FRAME_BYTES;
            frames[count].bytes = bytes < room ? bytes : room;
            at += FRAME_BYTES + frames[count++].bytes;
        }
    }
    return count;
}

/* The checksums of a payload, of an image in it, and of its header. */
static void sign_frame(unsigned char *data, const frame *f)
{
    unsigned char *const payload = data + f->start;

    for (size_t at = 0; at + EE_IMAGE_HEADER_BYTES <= f->bytes; at += 64) {
        if (memcmp(payload + at, "EEIM", 4) == 0) {
            sign_image(payload + at, f->bytes - at);
        }
    }
    fuzz_put(payload + f->bytes, ee_crc32_c(0, payload, f->bytes));
    fuzz_put(payload - 4, ee_crc32_c(0, payload - FRAME_BYTES, 12));
}

static size_t add_field(field *fields, size_t count, size_t at, size_t bytes)
{
    if (count < MOST_FIELDS) {
        fields[count].at = at;
        fields[count++].bytes = bytes;
    }
    return count;
}

/* The fields of a body, as far as it can be followed. */
static size_t find_fields(const unsigned char *payload, size_t size, field *fields)
{
    size_t count = 0, at = 8;

    if (size < at) {
        return 0;
    }
    for (size_t i = 0; i < 3; i++) {
        count = add_field(fields, count, 2 * i, 2);
    }
    const uint32_t parameters = fuzz_get(payload) >> 16, tensors = payload[4];
    at += payload[0];
    for (uint32_t i = 0; i < parameters && at + 8 <= size; i++) {
        count = add_field(fields, count, at, 1);
        count = add_field(fields, count, at + 1, 1);
        count = add_field(fields, count, at + 2, 2);
        at += 4 + (size_t)payload[at];
        if (at + 4 <= size) {
            count = add_field(fields, count, at, 4);
        }
        at += 4;
    }
    for (uint32_t i = 0; i < tensors && at + 8 <= size; i++) {
        const size_t name = payload[at], axes = payload[at + 2];
        size_t bytes = payload[at + 1] == 'b' ? 1 : payload[at + 1] == 'h' ? 2 : 4;
        for (size_t b = 0; b < 3; b++) {
            count = add_field(fields, count, at + b, 1);
        }
        at += 4;
        for (size_t axis = 0; axis < axes && at + 4 <= size; axis++, at += 4) {
            count = add_field(fields, count, at, 4);
            bytes *= fuzz_get(payload + at);
        }
        at = (at + name + 63) / 64 * 64;
        at = bytes <= size ? at + bytes : size;
    }
    return count;
}

static void change_field(unsigned char *payload, size_t size, fuzz_random *random)
{
    field fields[MOST_FIELDS];
    const size_t count = find_fields(payload, size, fields);
    uint32_t value = 0;

    if (count == 0) {
        return;
    }
    const field f = fields[fuzz_below(random, count)];
    if (f.at + f.bytes > size) {
        return;
    }
    memcpy(&value, payload + f.at, f.bytes);
    value = fuzz_value(random, value);
    memcpy(payload + f.at, &value, f.bytes);
}

/* The payload of a frame grows or shrinks; what follows moves. */
static size_t resize(unsigned char *data, size_t size, size_t capacity, frame *f,
                     fuzz_random *random)
{
    const size_t end = f->start + f->bytes;
    const size_t bytes = fuzz_below(random, 2) ? fuzz_below(random, f->bytes + 1)
                                               : f->bytes + fuzz_below(random, 200);

    if (size - f->bytes + bytes > capacity) {
        return size;
    }
    memmove(data + f->start + bytes, data + end, size - end);
    if (bytes > f->bytes) {
        memset(data + end, 0, bytes - f->bytes);
    }
    size = size - f->bytes + bytes;
    f->bytes = bytes;
    fuzz_put(data + f->start - 8, (uint32_t)bytes);
    return size;
}

/* A frame once more, at the end. */
static size_t repeat(unsigned char *data, size_t size, size_t capacity, const frame *f)
{
    const size_t bytes = FRAME_BYTES + f->bytes + CRC_BYTES;

    if (size + bytes > capacity) {
        return size;
    }
    memcpy(data + size, data + f->start - FRAME_BYTES, bytes);
    return size + bytes;
}

static size_t change(unsigned char *data, size_t size, size_t capacity, fuzz_random *random)
{
    frame frames[MOST_FRAMES];
    const size_t count = find_frames(data, size, frames);

    if (count == 0) {
        fuzz_change_byte(data, size, random);
        return size;
    }
    frame *const f = &frames[fuzz_below(random, count)];
    unsigned char *const payload = data + f->start;
    unsigned char *at;

    switch (fuzz_below(random, 14)) {
    case 0:
        /* Any memory, or about as much as a frame and what is made of it take. */
        fuzz_put(data, fuzz_below(random, 2) ? fuzz_value(random, fuzz_get(data))
                       : (uint32_t)f->bytes - LEAST_BYTES
                         + fuzz_below(random, fuzz_below(random, 2) ? 256 : LEAST_BYTES));
        break;
    case 1:
        payload[-12] = (unsigned char)(1 + fuzz_below(random, 5));
        break;
    case 2:
        fuzz_put(payload - 8, fuzz_value(random, fuzz_get(payload - 8)));
        break;
    case 3:
        size = resize(data, size, capacity, f, random);
        break;
    case 4:
        size = repeat(data, size, capacity, f);
        break;
    case 5:
        fuzz_change_byte(payload, f->bytes, random);
        break;
    case 6:
    case 7:
        fuzz_change_float(payload, f->bytes, random);
        break;
    case 8:
        if (f->bytes > EE_IMAGE_HEADER_BYTES) {
            at = payload + 4 * (size_t)fuzz_below(random, EE_IMAGE_HEADER_BYTES / 4);
            fuzz_put(at, fuzz_value(random, fuzz_get(at)));
        }
        break;
    case 9:
        return fuzz_change_size(data, size, capacity, random);
    default:
        change_field(payload, f->bytes, random);
    }
    return size;
}

size_t fuzz_mutate(unsigned char *data, size_t size, size_t capacity, fuzz_random *random)
{
    frame frames[MOST_FRAMES];

    for (uint32_t i = fuzz_below(random, 3); i > 0; i--) {
        size = change(data, size, capacity, random);
    }
    if (fuzz_below(random, 16) != 0) {
        const size_t count = find_frames(data, size, frames);
        for (size_t i = 0; i < count; i++) {
            sign_frame(data, &frames[i]);
        }
    }
    return size;
}
