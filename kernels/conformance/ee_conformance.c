/* Frames in, frames out, and the arguments of a question. */
#include "conformance.h"

#include <string.h>

enum {
    PROTOCOL = 1,
    HEADER_BYTES = 16,
    CRC_BYTES = 4,
    ALIGNMENT = 64,
    GUARD = 0xA5,
    GUARD_BYTES = 64,
    GARBAGE = 0x55,
    LEAST_ROOM = 4096, /* for frames, beside a model */
    SHA256_CHARACTERS = 64
};

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

static const unsigned char MAGIC[4] = {'E', 'E', 'C', 'F'};

/* ---- Bytes ----------------------------------------------------------------------------------- */

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

static uint32_t crc_of(const void *data, size_t bytes)
{
    return ~crc_add(~(uint32_t)0, data, bytes);
}

static uint32_t get_u32(const unsigned char *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint32_t get_u16(const unsigned char *at)
{
    return at[0] | (uint32_t)at[1] << 8;
}

static void put_u32(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (unsigned char)(value >> (8 * i));
    }
}

static void put_u16(unsigned char *at, uint32_t value)
{
    at[0] = (unsigned char)value;
    at[1] = (unsigned char)(value >> 8);
}

static unsigned char *aligned(unsigned char *at)
{
    return at + (ALIGNMENT - (uintptr_t)at % ALIGNMENT) % ALIGNMENT;
}

static size_t element_bytes(char dtype)
{
    return dtype == 'b' ? 1 : dtype == 'h' ? 2 : dtype == 'f' || dtype == 'i' ? 4 : 0;
}

static void copy_name(char *to, const char *from, size_t bytes)
{
    memcpy(to, from, bytes);
    to[bytes] = '\0';
}

/* Copies what fits, with its NUL. */
static void copy_text(char *to, const char *from)
{
    size_t bytes = strlen(from);

    copy_name(to, from, bytes < NAME_BYTES ? bytes : NAME_BYTES - 1);
}

/* ---- Arguments ------------------------------------------------------------------------------- */

void eec_fail(question *q, int code, const char *text, const char *about)
{
    if (q->code == CODE_NONE) {
        q->code = code;
        q->text = text;
        copy_text(q->about, about);
    }
}

const tensor *eec_optional(question *q, const char *name, char dtype, uint32_t axes)
{
    for (size_t i = 0; i < q->input_count; i++) {
        const tensor *const found = &q->inputs[i];
        if (strcmp(found->name, name) == 0) {
            if (found->dtype == dtype && found->axes == axes) {
                return found;
            }
            eec_fail(q, CODE_ARGUMENT, "another dtype or number of axes expected", name);
        }
    }
    return NULL;
}

const tensor *eec_argument(question *q, const char *name, char dtype, uint32_t axes)
{
    const tensor *const found = eec_optional(q, name, dtype, axes);

    if (found == NULL) {
        eec_fail(q, CODE_ARGUMENT, "a tensor is missing", name);
    }
    return found;
}

static const parameter *find_parameter(const question *q, const char *name)
{
    for (size_t i = 0; i < q->parameter_count; i++) {
        if (strcmp(q->parameters[i].name, name) == 0) {
            return &q->parameters[i];
        }
    }
    return NULL;
}

int eec_has_parameter(const question *q, const char *name)
{
    return find_parameter(q, name) != NULL;
}

static uint32_t parameter_bits(question *q, const char *name, char type)
{
    const parameter *const found = find_parameter(q, name);

    if (found == NULL || found->type != type) {
        eec_fail(q, CODE_ARGUMENT, "a parameter is missing or of another type", name);
        return 0;
    }
    return get_u32(found->value);
}

int32_t eec_integer(question *q, const char *name)
{
    return (int32_t)parameter_bits(q, name, 'i');
}

float eec_number(question *q, const char *name)
{
    const uint32_t bits = parameter_bits(q, name, 'f');
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

const float *eec_floats(question *q, const char *name, size_t count)
{
    const tensor *const found = eec_argument(q, name, 'f', 1);

    if (found != NULL && found->shape[0] != count) {
        eec_fail(q, CODE_ARGUMENT, "a tensor of another size expected", name);
    }
    return found != NULL ? found->data : NULL;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

size_t eec_product(size_t a, size_t b)
{
    return b != 0 && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

/* The next `bytes` of free memory and a multiple of 64, or NULL. */
static unsigned char *reserve(question *q, size_t bytes)
{
    unsigned char *const at = q->next;
    const size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

    if (q->code != CODE_NONE) {
        return NULL;
    }
    if (rounded < bytes || rounded > (size_t)(q->end - at)) {
        q->wanted = bytes;
        eec_fail(q, CODE_UNSUPPORTED, "not enough memory for it", "");
        return NULL;
    }
    q->next = at + rounded;
    return at;
}

void *eec_take(question *q, size_t bytes)
{
    unsigned char *const at =
        bytes > SIZE_MAX - GUARD_BYTES ? reserve(q, SIZE_MAX) : reserve(q, bytes + GUARD_BYTES);

    if (at == NULL) {
        return NULL;
    }
    if (q->guard_count == MAX_GUARDS) {
        eec_fail(q, CODE_UNSUPPORTED, "more pieces of memory than there are guards", "");
        return NULL;
    }
    memset(at, GARBAGE, bytes);
    memset(at + bytes, GUARD, GUARD_BYTES);
    q->guards[q->guard_count++] = at + bytes;
    return at;
}

static int guards_hold(const question *q)
{
    for (size_t i = 0; i < q->guard_count; i++) {
        for (size_t b = 0; b < GUARD_BYTES; b++) {
            if (q->guards[i][b] != GUARD) {
                return 0;
            }
        }
    }
    return 1;
}

static void *add_output(question *q, const char *name, char dtype, uint32_t axes, size_t rows,
                        size_t columns)
{
    void *const data = eec_take(q, eec_product(eec_product(rows, columns), element_bytes(dtype)));

    if (data == NULL || q->output_count == MAX_OUTPUTS) {
        eec_fail(q, CODE_UNSUPPORTED, "more results than there is room for", name);
        return NULL;
    }
    tensor *const out = &q->outputs[q->output_count++];
    copy_text(out->name, name);
    out->dtype = dtype;
    out->axes = axes;
    out->shape[0] = rows;
    out->shape[1] = columns;
    out->data = data;
    return data;
}

void *eec_output(question *q, const char *name, char dtype, size_t rows)
{
    return add_output(q, name, dtype, 1, rows, 1);
}

void *eec_output_matrix(question *q, const char *name, size_t rows, size_t columns)
{
    return add_output(q, name, 'f', 2, rows, columns);
}

/* ---- Bodies ---------------------------------------------------------------------------------- */

typedef struct {
    unsigned char *start;
    size_t at, bytes;
} cursor;

static unsigned char *step(cursor *c, size_t bytes)
{
    unsigned char *const here = c->start + c->at;

    if (bytes > c->bytes - c->at) {
        return NULL;
    }
    c->at += bytes;
    return here;
}

static int parse_name(cursor *c, char *name, size_t bytes)
{
    const unsigned char *const text = bytes < NAME_BYTES ? step(c, bytes) : NULL;

    if (text != NULL) {
        copy_name(name, (const char *)text, bytes);
    }
    return text != NULL;
}

static int parse_parameter(cursor *c, parameter *found)
{
    const unsigned char *const head = step(c, 4);

    if (head == NULL || !parse_name(c, found->name, head[0])) {
        return 0;
    }
    found->type = (char)head[1];
    found->value = step(c, get_u16(head + 2));
    return found->value != NULL && (found->type == 's' || get_u16(head + 2) == 4);
}

static int parse_tensor(cursor *c, tensor *found)
{
    const unsigned char *const head = step(c, 4);
    const unsigned char *shape;

    if (head == NULL || head[2] < 1 || head[2] > MAX_AXES) {
        return 0;
    }
    found->dtype = (char)head[1];
    found->axes = head[2];
    shape = step(c, 4 * (size_t)found->axes);
    if (shape == NULL || !parse_name(c, found->name, head[0])) {
        return 0;
    }
    size_t bytes = element_bytes(found->dtype);
    for (uint32_t i = 0; i < found->axes; i++) {
        found->shape[i] = get_u32(shape + 4 * i);
        if (found->shape[i] != 0 && bytes > SIZE_MAX / found->shape[i]) {
            return 0;
        }
        bytes *= found->shape[i];
    }
    if (step(c, (ALIGNMENT - c->at % ALIGNMENT) % ALIGNMENT) == NULL) {
        return 0;
    }
    found->data = step(c, bytes);
    return element_bytes(found->dtype) != 0 && found->data != NULL;
}

static void parse(question *q, unsigned char *payload, size_t bytes)
{
    cursor c = {payload, 0, bytes};
    const unsigned char *const head = step(&c, 8);
    int good = head != NULL && parse_name(&c, q->name, get_u16(head));

    q->parameter_count = good ? get_u16(head + 2) : 0;
    q->input_count = good ? get_u16(head + 4) : 0;
    good = good && q->parameter_count <= MAX_PARAMETERS && q->input_count <= MAX_TENSORS;
    for (size_t i = 0; good && i < q->parameter_count; i++) {
        good = parse_parameter(&c, &q->parameters[i]);
    }
    for (size_t i = 0; good && i < q->input_count; i++) {
        good = parse_tensor(&c, &q->inputs[i]);
    }
    if (!good || c.at != bytes) {
        q->input_count = q->parameter_count = 0;
        eec_fail(q, CODE_BAD_BODY, "a body that is not whole, or too much for this port", "");
    }
}

/* ---- Answers --------------------------------------------------------------------------------- */

/* A frame that is being sent: everything goes through its checksum. */
typedef struct {
    const ee_conformance *port;
    uint32_t crc;
    size_t sent;
    int ok;
} sender;

static void put(sender *s, const void *data, size_t bytes)
{
    s->ok = s->ok && (bytes == 0 || s->port->write(s->port->context, data, bytes));
    s->crc = crc_add(s->crc, data, bytes);
    s->sent += bytes;
}

static sender begin(const ee_conformance *port, int type, uint32_t sequence, size_t bytes)
{
    sender s = {port, ~(uint32_t)0, 0, 1};
    unsigned char head[HEADER_BYTES];

    memcpy(head, MAGIC, sizeof MAGIC);
    head[4] = (unsigned char)type;
    head[5] = 0;
    put_u16(head + 6, sequence);
    put_u32(head + 8, (uint32_t)bytes);
    put_u32(head + 12, crc_of(head, 12));
    put(&s, head, sizeof head);
    s.crc = ~(uint32_t)0;
    s.sent = 0;
    return s;
}

static int finish(sender *s)
{
    unsigned char crc[CRC_BYTES];

    put_u32(crc, ~s->crc);
    put(s, crc, sizeof crc);
    return s->ok;
}

static void put_counts(sender *s, size_t parameters, size_t tensors)
{
    unsigned char head[8] = {0};

    put_u16(head + 2, (uint32_t)parameters);
    put_u16(head + 4, (uint32_t)tensors);
    put(s, head, sizeof head);
}

enum { COUNTS_BYTES = 8, PARAMETER_HEAD = 4, TENSOR_HEAD = 4 };

static void put_parameter(sender *s, const char *name, char type, const void *value, size_t bytes)
{
    unsigned char head[PARAMETER_HEAD] = {(unsigned char)strlen(name), (unsigned char)type};

    put_u16(head + 2, (uint32_t)bytes);
    put(s, head, sizeof head);
    put(s, name, strlen(name));
    put(s, value, bytes);
}

static void put_integer(sender *s, const char *name, uint32_t value)
{
    unsigned char bytes[4];

    put_u32(bytes, value);
    put_parameter(s, name, 'i', bytes, sizeof bytes);
}

static size_t parameter_bytes(const char *name, size_t value)
{
    return PARAMETER_HEAD + strlen(name) + value;
}

static size_t rows_columns(const tensor *t)
{
    return t->axes == 1 ? t->shape[0] : t->shape[0] * t->shape[1];
}

static size_t padding(size_t at)
{
    return (ALIGNMENT - at % ALIGNMENT) % ALIGNMENT;
}

static int send_result(const question *q, uint32_t sequence)
{
    static const unsigned char ZEROS[ALIGNMENT];
    size_t bytes = COUNTS_BYTES;

    for (size_t i = 0; i < q->output_count; i++) {
        const tensor *const t = &q->outputs[i];
        bytes += TENSOR_HEAD + 4 * (size_t)t->axes + strlen(t->name);
        bytes += padding(bytes) + rows_columns(t) * element_bytes(t->dtype);
    }
    sender s = begin(q->port, RESULT, sequence, bytes);
    put_counts(&s, 0, q->output_count);
    for (size_t i = 0; i < q->output_count; i++) {
        const tensor *const t = &q->outputs[i];
        unsigned char head[TENSOR_HEAD + 4 * MAX_AXES] = {
            (unsigned char)strlen(t->name), (unsigned char)t->dtype, (unsigned char)t->axes};
        for (uint32_t axis = 0; axis < t->axes; axis++) {
            put_u32(head + TENSOR_HEAD + 4 * axis, (uint32_t)t->shape[axis]);
        }
        put(&s, head, TENSOR_HEAD + 4 * (size_t)t->axes);
        put(&s, t->name, strlen(t->name));
        put(&s, ZEROS, padding(s.sent));
        put(&s, t->data, rows_columns(t) * element_bytes(t->dtype));
    }
    return finish(&s);
}

/* ERROR or UNSUPPORTED: "text: about". */
static int send_problem(const question *q, uint32_t sequence)
{
    const int unsupported = q->code == CODE_UNSUPPORTED;
    const size_t text = strlen(q->text), about = strlen(q->about);
    const size_t all = text + (about > 0 ? 2 + about : 0);
    unsigned char head[PARAMETER_HEAD] = {4, 's'};
    size_t bytes = COUNTS_BYTES + parameter_bytes("text", all) + parameter_bytes("code", 4);

    if (q->wanted > 0) {
        bytes += parameter_bytes("bytes", 4);
    }
    sender s = begin(q->port, unsupported ? UNSUPPORTED : ERROR, sequence, bytes);
    put_counts(&s, q->wanted > 0 ? 3 : 2, 0);
    put_integer(&s, "code", (uint32_t)q->code);
    put_u16(head + 2, (uint32_t)all);
    put(&s, head, sizeof head);
    put(&s, "text", 4);
    put(&s, q->text, text);
    if (about > 0) {
        put(&s, ": ", 2);
        put(&s, q->about, about);
    }
    if (q->wanted > 0) {
        put_integer(&s, "bytes", (uint32_t)q->wanted);
    }
    return finish(&s);
}

static int send_empty(const question *q, int type, uint32_t sequence)
{
    sender s = begin(q->port, type, sequence, COUNTS_BYTES);

    put_counts(&s, 0, 0);
    return finish(&s);
}

/* ---- What the port can do -------------------------------------------------------------------- */

static const conformance_op *const TABLES[] = {
    eec_ops_qs8,
#ifndef EE_NO_F32
    eec_ops_f32,
#endif
    eec_ops_model,
};

enum { TABLE_COUNT = sizeof TABLES / sizeof TABLES[0] };

/* The names of all ops, each with a space behind it: their length, and sent if `s` is there. */
static size_t put_ops(sender *s)
{
    size_t bytes = 0;

    for (size_t i = 0; i < TABLE_COUNT; i++) {
        for (const conformance_op *op = TABLES[i]; op->name != NULL; op++) {
            if (s != NULL) {
                put(s, op->name, strlen(op->name));
                put(s, " ", 1);
            }
            bytes += strlen(op->name) + 1;
        }
    }
    return bytes;
}

static const char *or_nothing(const char *text)
{
    return text != NULL ? text : "";
}

static int send_port(const question *q, uint32_t sequence)
{
    const ee_conformance *const port = q->port;
    const struct {
        const char *name, *value;
    } texts[] = {
        {"name", or_nothing(port->name)},
        {"version", or_nothing(port->version)},
        {"isa", or_nothing(port->isa)},
        {"models", port->image != NULL ? port->image_sha256 : ""},
    };
    const size_t count = sizeof texts / sizeof texts[0];
    const size_t ops = put_ops(NULL);
    unsigned char head[PARAMETER_HEAD] = {3, 's'};
    size_t bytes = COUNTS_BYTES + parameter_bytes("protocol", 4)
                   + parameter_bytes("largest_frame", 4) + parameter_bytes("ops", ops);

    for (size_t i = 0; i < count; i++) {
        bytes += parameter_bytes(texts[i].name, strlen(texts[i].value));
    }
    sender s = begin(port, PORT, sequence, bytes);
    put_counts(&s, 3 + count, 0);
    put_integer(&s, "protocol", PROTOCOL);
    const size_t room = (size_t)(q->end - q->next) - CRC_BYTES;
    put_integer(&s, "largest_frame", (uint32_t)(room < INT32_MAX ? room : INT32_MAX));
    for (size_t i = 0; i < count; i++) {
        put_parameter(&s, texts[i].name, 's', texts[i].value, strlen(texts[i].value));
    }
    put_u16(head + 2, (uint32_t)ops);
    put(&s, head, sizeof head);
    put(&s, "ops", 3);
    put_ops(&s);
    return finish(&s);
}

static void run_case(question *q)
{
    for (size_t i = 0; i < TABLE_COUNT && q->code == CODE_NONE; i++) {
        for (const conformance_op *op = TABLES[i]; op->name != NULL; op++) {
            if (strcmp(op->name, q->name) == 0) {
                op->run(q);
                if (q->code == CODE_NONE && !guards_hold(q)) {
                    eec_fail(q, CODE_OVERRUN, "memory behind a result or scratch was written", "");
                }
                return;
            }
        }
    }
    eec_fail(q, CODE_UNSUPPORTED, "no such op", q->name);
}

/* ---- Models ---------------------------------------------------------------------------------- */

/* Opens an image in place; its table is taken from free memory. */
static void open_image(question *q, const void *image, size_t bytes)
{
    size_t needed;
    ee_status status = ee_image_memory(image, bytes, 0, &needed);

    if (status == EE_OK) {
        unsigned char *const memory = reserve(q, needed);
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

/* The model of the question becomes that of the cases to come. `floor`: where its memory begins. */
static void load_model(question *q, unsigned char *floor)
{
    const ee_conformance *const port = q->port;
    const tensor *sent = q->input_count > 0 ? eec_argument(q, "image", 'b', 1) : NULL;

    q->image.model = NULL;
    if (q->code != CODE_NONE) {
        return;
    }
    if (sent != NULL) {
        const size_t bytes = sent->shape[0];
        memmove(floor, sent->data, bytes);
        q->next = aligned(floor + bytes);
        open_image(q, floor, bytes);
    } else if (port->image != NULL && strcmp(q->name, port->image_sha256) == 0) {
        q->next = floor;
        open_image(q, port->image, port->image_bytes);
    } else {
        eec_fail(q, CODE_UNSUPPORTED, "this model is not built in", q->name);
    }
    if (q->code == CODE_NONE && (size_t)(q->end - q->next) < LEAST_ROOM) {
        q->image.model = NULL;
        q->wanted = LEAST_ROOM;
        eec_fail(q, CODE_UNSUPPORTED, "no memory left for cases", "");
    }
}

/* ---- The loop -------------------------------------------------------------------------------- */

static int read_all(const ee_conformance *port, void *data, size_t bytes)
{
    return port->read(port->context, data, bytes) == bytes;
}

/* The next header that is whole; 0 when no more bytes come. What is none is passed over, byte by
 * byte. */
static int read_header(const ee_conformance *port, unsigned char head[HEADER_BYTES])
{
    size_t have = 0;

    for (;;) {
        if (!read_all(port, head + have, HEADER_BYTES - have)) {
            return 0;
        }
        if (memcmp(head, MAGIC, sizeof MAGIC) == 0 && get_u32(head + 12) == crc_of(head, 12)) {
            return 1;
        }
        size_t skip = 1;
        while (skip < HEADER_BYTES && head[skip] != MAGIC[0]) {
            skip++;
        }
        have = HEADER_BYTES - skip;
        memmove(head, head + skip, have);
    }
}

/* Reads a payload over which there is no room, and forgets it. */
static int discard(const ee_conformance *port, size_t bytes)
{
    unsigned char piece[256];

    while (bytes > 0) {
        const size_t part = bytes < sizeof piece ? bytes : sizeof piece;
        if (!read_all(port, piece, part)) {
            return 0;
        }
        bytes -= part;
    }
    return 1;
}

int ee_conformance_serve(const ee_conformance *port)
{
    unsigned char *const memory = port->memory;
    unsigned char head[HEADER_BYTES];
    question *const q = port->memory;

    /* Both aligned, so that what begins at the next multiple of 64 is never behind the end. */
    const size_t below = (sizeof *q + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    const size_t usable = port->bytes / ALIGNMENT * ALIGNMENT;

    if (memory == NULL || (uintptr_t)memory % ALIGNMENT != 0 || usable < below + LEAST_ROOM) {
        return EE_CONFORMANCE_MEMORY;
    }
    memset(q, 0, sizeof *q);
    q->port = port;
    q->end = memory + usable;
    unsigned char *const floor = memory + below;
    unsigned char *base = floor; /* above the model in use, LEAST_ROOM or more before the end */

    while (read_header(port, head)) {
        const int type = head[4];
        const uint32_t sequence = get_u16(head + 6);
        const size_t bytes = get_u32(head + 8);

        q->next = type == MODEL ? floor : base;
        q->code = CODE_NONE;
        q->wanted = 0;
        q->name[0] = '\0';
        q->parameter_count = q->input_count = q->output_count = q->guard_count = 0;
        if (type == MODEL) {
            /* The memory of the model before is needed for this one. */
            base = floor;
            q->image.model = NULL;
        }
        if (bytes > (size_t)(q->end - q->next) - CRC_BYTES) {
            q->wanted = bytes;
            eec_fail(q, CODE_UNSUPPORTED, "the frame is larger than the memory left", "");
            if (!discard(port, bytes + CRC_BYTES) || !send_problem(q, sequence)) {
                return EE_CONFORMANCE_ENDED;
            }
            continue;
        }
        unsigned char *const payload = q->next;
        if (!read_all(port, payload, bytes + CRC_BYTES)) {
            return EE_CONFORMANCE_ENDED;
        }
        if (get_u32(payload + bytes) != crc_of(payload, bytes)) {
            eec_fail(q, CODE_BAD_FRAME, "the checksum of the payload does not fit", "");
            if (!send_problem(q, 0)) {
                return EE_CONFORMANCE_ENDED;
            }
            continue;
        }
        q->next = aligned(payload + bytes);
        int sent;
        if (type == HELLO) {
            q->next = base;
            sent = send_port(q, sequence);
        } else if (type == BYE) {
            send_empty(q, END, sequence);
            return EE_CONFORMANCE_BYE;
        } else {
            parse(q, payload, bytes);
            if (type == MODEL && q->code == CODE_NONE) {
                load_model(q, floor);
                base = q->image.model != NULL ? q->next : floor;
            } else if (type == CASE && q->code == CODE_NONE) {
                run_case(q);
            } else {
                eec_fail(q, CODE_ARGUMENT, "a frame of another type expected", "");
            }
            sent = q->code == CODE_NONE ? send_result(q, sequence) : send_problem(q, sequence);
        }
        if (!sent) {
            return EE_CONFORMANCE_ENDED;
        }
    }
    return EE_CONFORMANCE_ENDED;
}
