/* The loop: a frame, what it asks for, an answer. */
#include <string.h>

#include "frames.h"

enum { LEAST_ROOM = 4096 /* for frames, beside a model */ };

/* The question being answered lies at the start of the port's memory. */
typedef struct {
    question *q;
    unsigned char *floor; /* free memory begins here without a model */
    unsigned char *base;  /* with the model in use, LEAST_ROOM or more before the end */
} server;

static unsigned char *aligned(unsigned char *at)
{
    return at + eec_padding((uintptr_t)at);
}

static int open_server(server *s, const ee_conformance *port)
{
    /* Both aligned, so that what begins at the next multiple of 64 is never behind the end. */
    const size_t below = sizeof *s->q + eec_padding(sizeof *s->q);
    const size_t usable = port->bytes / EEC_ALIGNMENT * EEC_ALIGNMENT;

    if (port->memory == NULL || (uintptr_t)port->memory % EEC_ALIGNMENT != 0
        || usable < below + LEAST_ROOM) {
        return 0;
    }
    s->q = port->memory;
    memset(s->q, 0, sizeof *s->q);
    s->q->port = port;
    s->q->end = (unsigned char *)port->memory + usable;
    s->floor = s->base = (unsigned char *)port->memory + below;
    return 1;
}

/* ---- Models ---- */

/* Opens an image in place; its table is taken from free memory. */
static void open_image(question *q, const void *image, size_t bytes)
{
    size_t needed;
    ee_status status = ee_image_memory(image, bytes, 0, &needed);

    if (status == EE_OK) {
        unsigned char *const memory = eec_reserve(q, needed);
        if (memory == NULL) {
            return;
        }
        status = ee_image_open(&q->image, image, bytes, 0, memory, needed, q->port->ops);
    }
    if (status == EE_ERR_DTYPE) {
        eec_fail(q, CODE_UNSUPPORTED, "models of this arithmetic", ee_status_name(status));
    } else if (status != EE_OK) {
        eec_fail(q, CODE_STATUS, "the model was refused", ee_status_name(status));
    }
}

/* The model of the question becomes that of the cases to come. */
static void load_model(server *s)
{
    question *const q = s->q;
    const ee_conformance *const port = q->port;
    const tensor *sent = q->input_count > 0 ? eec_argument(q, "image", 'b', 1) : NULL;

    if (q->code != CODE_NONE) {
        return;
    }
    if (sent != NULL) {
        const size_t bytes = sent->shape[0];
        memmove(s->floor, sent->data, bytes);
        q->next = aligned(s->floor + bytes);
        open_image(q, s->floor, bytes);
    } else if (port->image != NULL && strcmp(q->name, port->image_sha256) == 0) {
        q->next = s->floor;
        open_image(q, port->image, port->image_bytes);
    } else {
        eec_fail(q, CODE_UNSUPPORTED, "this model is not built in", q->name);
    }
    if (q->code == CODE_NONE && (size_t)(q->end - q->next) < LEAST_ROOM) {
        q->image.model = NULL;
        q->wanted = LEAST_ROOM;
        eec_fail(q, CODE_UNSUPPORTED, "no memory left for cases", "");
    }
    if (q->code == CODE_NONE) {
        s->base = q->next;
    }
}

/* ---- Questions ---- */

/* Nothing is left of the question before; of the model before, whose memory is needed, neither when
 * the next one brings another. */
static void forget(server *s, int type)
{
    question *const q = s->q;

    if (type == MODEL) {
        s->base = s->floor;
        q->image.model = NULL;
    }
    q->next = s->base;
    q->code = CODE_NONE;
    q->wanted = 0;
    q->name[0] = '\0';
    q->parameter_count = q->input_count = q->output_count = q->guard_count = 0;
}

/* The payload of a frame, in free memory; what is wrong with it is noted. 0 when no more bytes
 * come. */
static int receive(question *q, frame *f)
{
    unsigned char *const payload = q->next;
    const size_t bytes = f->bytes;

    if (bytes > (size_t)(q->end - payload) - EEC_CRC_BYTES) {
        q->wanted = bytes;
        eec_fail(q, CODE_UNSUPPORTED, "the frame is larger than the memory left", "");
        return eec_discard(q->port, bytes + EEC_CRC_BYTES);
    }
    if (!eec_read(q->port, payload, bytes + EEC_CRC_BYTES)) {
        return 0;
    }
    if (eec_get_u32(payload + bytes) != eec_crc(payload, bytes)) {
        f->sequence = 0;
        eec_fail(q, CODE_BAD_FRAME, "the checksum of the payload does not fit", "");
    }
    return 1;
}

/* Does what a frame of MODEL or CASE asks for. */
static void handle(server *s, const frame *f)
{
    question *const q = s->q;
    unsigned char *const payload = q->next;

    q->next = aligned(payload + f->bytes);
    eec_parse(q, payload, f->bytes);
    if (q->code != CODE_NONE) {
        return;
    }
    if (f->type == MODEL) {
        load_model(s);
    } else if (f->type == CASE) {
        eec_run_case(q);
    } else {
        eec_fail(q, CODE_ARGUMENT, "a frame of another type expected", "");
    }
}

int ee_conformance_serve(const ee_conformance *port)
{
    server s;
    frame f;

    if (!open_server(&s, port)) {
        return EE_CONFORMANCE_MEMORY;
    }
    while (eec_read_header(port, &f)) {
        question *const q = s.q;
        int sent;

        forget(&s, f.type);
        if (!receive(q, &f)) {
            return EE_CONFORMANCE_ENDED;
        }
        const int whole = q->code == CODE_NONE;
        if (whole && f.type == BYE) {
            eec_send_end(q, f.sequence);
            return EE_CONFORMANCE_BYE;
        }
        if (whole && f.type == HELLO) {
            sent = eec_send_port(q, f.sequence);
        } else {
            if (whole) {
                handle(&s, &f);
            }
            sent = q->code == CODE_NONE ? eec_send_result(q, f.sequence)
                                        : eec_send_problem(q, f.sequence);
        }
        if (!sent) {
            return EE_CONFORMANCE_ENDED;
        }
    }
    return EE_CONFORMANCE_ENDED;
}
