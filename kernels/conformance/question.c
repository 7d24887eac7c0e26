/* The arguments of a question, the memory it may use, and what comes of it. */
#include <string.h>

#include "frames.h"

enum { GUARD = 0xA5, GUARD_BYTES = 64, GARBAGE = 0x55 };

size_t eec_element_bytes(char dtype)
{
    return dtype == 'b' ? 1 : dtype == 'h' ? 2 : dtype == 'f' || dtype == 'i' ? 4 : 0;
}

/* Copies what fits, with its NUL. */
static void copy_text(char to[NAME_BYTES], const char *from)
{
    const size_t bytes = strlen(from), fits = bytes < NAME_BYTES ? bytes : NAME_BYTES - 1;

    memcpy(to, from, fits);
    to[fits] = '\0';
}

/* ---- Arguments ---- */

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
    return eec_get_u32(found->value);
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

/* ---- Memory ---- */

size_t eec_product(size_t a, size_t b)
{
    return b != 0 && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

unsigned char *eec_reserve(question *q, size_t bytes)
{
    unsigned char *const at = q->next;
    const size_t rounded = (bytes + EEC_ALIGNMENT - 1) / EEC_ALIGNMENT * EEC_ALIGNMENT;

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
    const size_t all = bytes > SIZE_MAX - GUARD_BYTES ? SIZE_MAX : bytes + GUARD_BYTES;
    unsigned char *const at = eec_reserve(q, all);

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

int eec_guards_hold(const question *q)
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
    const size_t bytes = eec_product(eec_product(rows, columns), eec_element_bytes(dtype));
    void *const data = eec_take(q, bytes);

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

void *eec_output_matrix(question *q, const char *name, char dtype, size_t rows, size_t columns)
{
    return add_output(q, name, dtype, 2, rows, columns);
}