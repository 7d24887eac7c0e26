/* Bodies: those of questions into a `question`, answers out of it. */
#include <string.h>

#include "frames.h"

enum { PROTOCOL = 1 };

/* ---- In ---- */

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
        memcpy(name, text, bytes);
        name[bytes] = '\0';
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
    found->value = step(c, eec_get_u16(head + 2));
    return found->value != NULL && (found->type == 's' || eec_get_u16(head + 2) == 4);
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
    size_t bytes = eec_element_bytes(found->dtype);
    for (uint32_t i = 0; i < found->axes; i++) {
        found->shape[i] = eec_get_u32(shape + 4 * i);
        if (found->shape[i] != 0 && bytes > SIZE_MAX / found->shape[i]) {
            return 0;
        }
        bytes *= found->shape[i];
    }
    if (step(c, eec_padding(c->at)) == NULL) {
        return 0;
    }
    found->data = step(c, bytes);
    return eec_element_bytes(found->dtype) != 0 && found->data != NULL;
}

void eec_parse(question *q, unsigned char *payload, size_t bytes)
{
    cursor c = {payload, 0, bytes};
    const unsigned char *const head = step(&c, 8);
    int good = head != NULL && parse_name(&c, q->name, eec_get_u16(head));

    q->parameter_count = good ? eec_get_u16(head + 2) : 0;
    q->input_count = good ? eec_get_u16(head + 4) : 0;
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

/* ---- Out ---- */

enum { COUNTS_BYTES = 8, PARAMETER_HEAD = 4, TENSOR_HEAD = 4 };

static void put_counts(sender *s, size_t parameters, size_t tensors)
{
    unsigned char head[COUNTS_BYTES] = {0};

    eec_put_u16(head + 2, (uint32_t)parameters);
    eec_put_u16(head + 4, (uint32_t)tensors);
    eec_put(s, head, sizeof head);
}

static void put_parameter(sender *s, const char *name, char type, const void *value, size_t bytes)
{
    unsigned char head[PARAMETER_HEAD] = {(unsigned char)strlen(name), (unsigned char)type};

    eec_put_u16(head + 2, (uint32_t)bytes);
    eec_put(s, head, sizeof head);
    eec_put(s, name, strlen(name));
    eec_put(s, value, bytes);
}

static void put_integer(sender *s, const char *name, uint32_t value)
{
    unsigned char bytes[4];

    eec_put_u32(bytes, value);
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

int eec_send_result(const question *q, uint32_t sequence)
{
    static const unsigned char ZEROS[EEC_ALIGNMENT];
    size_t bytes = COUNTS_BYTES;

    for (size_t i = 0; i < q->output_count; i++) {
        const tensor *const t = &q->outputs[i];
        bytes += TENSOR_HEAD + 4 * (size_t)t->axes + strlen(t->name);
        bytes += eec_padding(bytes) + rows_columns(t) * eec_element_bytes(t->dtype);
    }
    sender s = eec_begin(q->port, RESULT, sequence, bytes);
    put_counts(&s, 0, q->output_count);
    for (size_t i = 0; i < q->output_count; i++) {
        const tensor *const t = &q->outputs[i];
        unsigned char head[TENSOR_HEAD + 4 * MAX_AXES] = {
            (unsigned char)strlen(t->name), (unsigned char)t->dtype, (unsigned char)t->axes};
        for (uint32_t axis = 0; axis < t->axes; axis++) {
            eec_put_u32(head + TENSOR_HEAD + 4 * axis, (uint32_t)t->shape[axis]);
        }
        eec_put(&s, head, TENSOR_HEAD + 4 * (size_t)t->axes);
        eec_put(&s, t->name, strlen(t->name));
        eec_put(&s, ZEROS, eec_padding(s.sent));
        eec_put(&s, t->data, rows_columns(t) * eec_element_bytes(t->dtype));
    }
    return eec_finish(&s);
}

/* The text is "text: about". */
int eec_send_problem(const question *q, uint32_t sequence)
{
    const int unsupported = q->code == CODE_UNSUPPORTED;
    const size_t text = strlen(q->text), about = strlen(q->about);
    const size_t all = text + (about > 0 ? 2 + about : 0);
    unsigned char head[PARAMETER_HEAD] = {4, 's'};
    size_t bytes = COUNTS_BYTES + parameter_bytes("text", all) + parameter_bytes("code", 4);

    if (q->wanted > 0) {
        bytes += parameter_bytes("bytes", 4);
    }
    sender s = eec_begin(q->port, unsupported ? UNSUPPORTED : ERROR, sequence, bytes);
    put_counts(&s, q->wanted > 0 ? 3 : 2, 0);
    put_integer(&s, "code", (uint32_t)q->code);
    eec_put_u16(head + 2, (uint32_t)all);
    eec_put(&s, head, sizeof head);
    eec_put(&s, "text", 4);
    eec_put(&s, q->text, text);
    if (about > 0) {
        eec_put(&s, ": ", 2);
        eec_put(&s, q->about, about);
    }
    if (q->wanted > 0) {
        put_integer(&s, "bytes", (uint32_t)q->wanted);
    }
    return eec_finish(&s);
}

int eec_send_end(const question *q, uint32_t sequence)
{
    sender s = eec_begin(q->port, END, sequence, COUNTS_BYTES);

    put_counts(&s, 0, 0);
    return eec_finish(&s);
}

static const char *or_nothing(const char *text)
{
    return text != NULL ? text : "";
}

int eec_send_port(const question *q, uint32_t sequence)
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
    const size_t ops = eec_put_ops(NULL);
    unsigned char head[PARAMETER_HEAD] = {3, 's'};
    size_t bytes = COUNTS_BYTES + parameter_bytes("protocol", 4)
                   + parameter_bytes("largest_frame", 4) + parameter_bytes("ops", ops);

    for (size_t i = 0; i < count; i++) {
        bytes += parameter_bytes(texts[i].name, strlen(texts[i].value));
    }
    sender s = eec_begin(port, PORT, sequence, bytes);
    put_counts(&s, 3 + count, 0);
    put_integer(&s, "protocol", PROTOCOL);
    const size_t room = (size_t)(q->end - q->next) - EEC_CRC_BYTES;
    put_integer(&s, "largest_frame", (uint32_t)(room < INT32_MAX ? room : INT32_MAX));
    for (size_t i = 0; i < count; i++) {
        put_parameter(&s, texts[i].name, 's', texts[i].value, strlen(texts[i].value));
    }
    eec_put_u16(head + 2, (uint32_t)ops);
    eec_put(&s, head, sizeof head);
    eec_put(&s, "ops", 3);
    eec_put_ops(&s);
    return eec_finish(&s);
}
