/* Questions after the line of an op: tensors by name, of sizes that fit each other, laid out as
 * kernels want them. */
#include <string.h>

#include "conformance.h"

#define UNKNOWN SIZE_MAX

/* WEIGHT_FILL: what is behind a row of weights must not matter to a kernel. */
enum { MAX_WORDS = 6, WEIGHT_FILL = 0x55 };

typedef struct {
    char name[NAME_BYTES];
    int is_optional, is_int8;
    uint32_t axes;       /* of a scalar 0 */
    const char *axis[2]; /* "3D", up to a space or a bracket */
} argument;

/* ---- Text ---- */

/* The word at `at`; gives its end. */
static const char *read_word(const char *at, char word[NAME_BYTES])
{
    const size_t bytes = strcspn(at, " ?,;");

    memcpy(word, at, bytes);
    word[bytes] = '\0';
    return at + bytes;
}

/* "weight (3D D) int8", "bias? (D)", "eps"; gives its end. */
static const char *read_argument(const char *at, argument *a)
{
    memset(a, 0, sizeof *a);
    at = read_word(at, a->name);
    a->is_optional = *at == '?';
    at += a->is_optional;
    if (strncmp(at, " (", 2) == 0) {
        at++;
        do {
            a->axis[a->axes++] = ++at;
            at += strcspn(at, " )");
        } while (*at == ' ');
        at++;
    }
    a->is_int8 = strncmp(at, " int8", 5) == 0;
    return at + (a->is_int8 ? 5 : 0);
}

/* ---- Sizes ---- */

static size_t *size_of(operands *o, char letter)
{
    return &o->sizes[letter - 'A'];
}

/* The product of what is known of an axis; *unknown is the size that is not, or NULL. */
static size_t known_part(operands *o, const char *axis, size_t **unknown)
{
    size_t product = 1;

    *unknown = NULL;
    for (; *axis != ' ' && *axis != ')'; axis++) {
        if (*axis <= '9') {
            product = eec_product(product, (size_t)(*axis - '0'));
        } else if (*size_of(o, *axis) != UNKNOWN) {
            product = eec_product(product, *size_of(o, *axis));
        } else {
            *unknown = size_of(o, *axis);
        }
    }
    return product;
}

/* Whether an axis can be so long; a size that was not known is now. */
static int fits(operands *o, const char *axis, size_t length)
{
    size_t *unknown;
    const size_t known = known_part(o, axis, &unknown);

    if (unknown == NULL) {
        return length == known;
    }
    *unknown = known > 0 ? length / known : 0;
    return *unknown * known == length;
}

/* ---- Inputs ---- */

/* The rows of a matrix as far apart as kernels want them, in place when they lie so. */
static void *laid_out(question *q, const tensor *matrix, int is_weight)
{
    const size_t rows = matrix->shape[0], columns = matrix->shape[1];
    const size_t item = eec_element_bytes(matrix->dtype), bytes = columns * item;
    const size_t stride = item == 1  ? ee_row_stride_qs8(columns)
                        : is_weight ? ee_row_stride(columns) * item : bytes;

    if (stride == bytes) {
        return matrix->data;
    }
    unsigned char *const padded = eec_take(q, eec_product(rows, stride));
    for (size_t t = 0; padded != NULL && t < rows; t++) {
        memcpy(padded + t * stride, (const unsigned char *)matrix->data + t * bytes, bytes);
        memset(padded + t * stride + bytes, is_weight ? WEIGHT_FILL : 0, stride - bytes);
    }
    return padded;
}

static void *take_matrix(question *q, operands *o, const argument *a, const tensor *matrix)
{
    const int is_weight = strstr(a->name, "weight") != NULL;
    const size_t rows = matrix->shape[0], columns = matrix->shape[1];

    if (columns == 0 || rows > EE_MAX_SIZE || columns > EE_MAX_SIZE) {
        eec_fail(q, CODE_ARGUMENT,
                 "a matrix of 1 to 65536 columns and at most as many rows expected", a->name);
    } else if ((is_weight && rows == 0) || !fits(o, a->axis[0], rows)
               || !fits(o, a->axis[1], columns)) {
        eec_fail(q, CODE_ARGUMENT, "a matrix of another size expected", a->name);
    }
    return laid_out(q, matrix, is_weight);
}

/* The data of a tensor, or NULL. */
static void *take_tensor(question *q, operands *o, const argument *a)
{
    const char dtype = a->is_int8 ? 'b' : 'f';
    const tensor *const found = a->is_optional ? eec_optional(q, a->name, dtype, a->axes)
                                               : eec_argument(q, a->name, dtype, a->axes);

    if (found != NULL && a->axes == 2) {
        return take_matrix(q, o, a, found);
    }
    if (!fits(o, a->axis[0], found != NULL ? found->shape[0] : 0) && found != NULL) {
        eec_fail(q, CODE_ARGUMENT, "a tensor of another size expected", a->name);
    }
    return found != NULL ? found->data : NULL;
}

/* Of scalars it is only asked whether they are there. */
static void take_input(question *q, operands *o, const argument *a)
{
    if (a->axes > 0) {
        o->in[o->in_count++] = take_tensor(q, o, a);
    } else if (strcmp(a->name, "eps") == 0) {
        eec_number(q, a->name);
    } else {
        eec_integer(q, a->name);
    }
}

/* ---- Rules ---- */

/* N is what is left of T without before and after. */
static void without(question *q, operands *o, char word[MAX_WORDS][NAME_BYTES])
{
    const int32_t before = eec_integer(q, word[4]), after = eec_integer(q, word[5]);
    const int64_t left = (int64_t)*size_of(o, *word[2]) - before - after;

    if (before < 0 || after < 0 || left < 0) {
        eec_fail(q, CODE_ARGUMENT, "no more frames expected than there are", word[4]);
        return;
    }
    *size_of(o, *word[0]) = (size_t)left;
}

/* "K odd", "heads divides D", "stride positive", "chunk natural", "ahead below K",
 * "D is W times H", "N spans T", "I taps of D groups", "N of T without before after",
 * "N frames of F K stride" */
static void obey(question *q, operands *o, char word[MAX_WORDS][NAME_BYTES])
{
    if (strcmp(word[1], "odd") == 0) {
        if (*size_of(o, *word[0]) % 2 == 0) {
            eec_fail(q, CODE_ARGUMENT, "an odd number expected", word[0]);
        }
    } else if (strcmp(word[1], "divides") == 0) {
        const int32_t parts = eec_integer(q, word[0]);
        if (parts < 1 || *size_of(o, *word[2]) % (size_t)parts != 0) {
            eec_fail(q, CODE_ARGUMENT, "a divisor of dim expected", word[0]);
        }
    } else if (strcmp(word[1], "positive") == 0) {
        if (eec_integer(q, word[0]) < 1) {
            eec_fail(q, CODE_ARGUMENT, "a number of at least 1 expected", word[0]);
        }
    } else if (strcmp(word[1], "natural") == 0) {
        if (eec_integer(q, word[0]) < 0) {
            eec_fail(q, CODE_ARGUMENT, "a number of at least 0 expected", word[0]);
        }
    } else if (strcmp(word[1], "below") == 0) {
        const int32_t number = eec_integer(q, word[0]);
        if (number < 0 || (size_t)number >= *size_of(o, *word[2])) {
            eec_fail(q, CODE_ARGUMENT, "a number from 0 to the taps less 1 expected", word[0]);
        }
    } else if (strcmp(word[1], "is") == 0) {
        if (*size_of(o, *word[0]) != eec_product(*size_of(o, *word[2]), *size_of(o, *word[4]))) {
            eec_fail(q, CODE_ARGUMENT, "as many columns as those of all heads expected", word[0]);
        }
    } else if (strcmp(word[1], "spans") == 0) {
        const size_t frames = *size_of(o, *word[2]);
        if (frames > 0 && *size_of(o, *word[0]) != 2 * frames - 1) {
            eec_fail(q, CODE_ARGUMENT, "a column a distance of two frames expected", word[0]);
        }
    } else if (strcmp(word[1], "taps") == 0) {
        const size_t width = *size_of(o, *word[3]) / (size_t)eec_integer(q, word[4]);
        if (*size_of(o, *word[0]) % width != 0) {
            eec_fail(q, CODE_ARGUMENT, "columns for whole taps expected", word[0]);
        }
    } else if (strcmp(word[1], "of") == 0) {
        without(q, o, word);
    } else {
        *size_of(o, *word[0]) = ee_stem_conv_f32_frames(
            *size_of(o, *word[3]), *size_of(o, *word[4]), (size_t)eec_integer(q, word[5]));
    }
}

static const char *read_rule(question *q, operands *o, const char *at)
{
    char word[MAX_WORDS][NAME_BYTES];
    size_t count = 0;

    for (;; at++) {
        at = read_word(at, word[count++]);
        if (*at != ' ') {
            break;
        }
    }
    if (q->code == CODE_NONE) {
        obey(q, o, word);
    }
    return at;
}

/* ---- Outputs ---- */

/* Memory for a result: of int8 rows that which the kernel fills, padding and all. */
static void make_output(question *q, operands *o, const argument *a)
{
    size_t *unknown;
    const size_t rows = known_part(o, a->axis[0], &unknown);

    if (a->axes == 1) {
        o->out[o->out_count++] = eec_output(q, a->name, 'f', rows);
        return;
    }
    const size_t columns = known_part(o, a->axis[1], &unknown);
    void *const data = eec_output_matrix(q, a->name, a->is_int8 ? 'b' : 'f', rows, columns);
    o->out[o->out_count++] =
        a->is_int8 ? eec_take(q, eec_product(rows, ee_row_stride_qs8(columns))) : data;
}

/* The values of int8 rows, behind which there have to be zeros, become the result. */
static void give_rows(question *q, const int8_t *padded, const tensor *out)
{
    const size_t rows = out->shape[0], columns = out->shape[1];
    const size_t stride = ee_row_stride_qs8(columns);

    for (size_t t = 0; t < rows; t++) {
        memcpy((int8_t *)out->data + t * columns, padded + t * stride, columns);
        for (size_t i = columns; i < stride; i++) {
            if (padded[t * stride + i] != 0) {
                eec_fail(q, CODE_OVERRUN, "no zeros behind a row", out->name);
                return;
            }
        }
    }
}

/* ---- Lines ---- */

/* Does `each` with every argument up to the end of a list; gives that end. */
static const char *for_arguments(question *q, operands *o, const char *at,
                                 void (*each)(question *, operands *, const argument *))
{
    argument a;

    for (;; at += strlen(", ")) {
        at = read_argument(at, &a);
        each(q, o, &a);
        if (*at != ',') {
            return at;
        }
    }
}

int eec_take_operands(question *q, operands *o, const char *line)
{
    const char *rule = strchr(line, ';');

    o->in_count = o->out_count = 0;
    for (size_t i = 0; i < SIZES; i++) {
        o->sizes[i] = UNKNOWN;
    }
    const char *const inputs_end = for_arguments(q, o, line, take_input);
    while (rule != NULL && *rule != '\0') {
        rule = read_rule(q, o, rule + strlen("; "));
    }
    for_arguments(q, o, inputs_end + strlen(" -> "), make_output);
    return q->code == CODE_NONE;
}

void eec_give_results(question *q, const operands *o)
{
    for (size_t i = 0; i < o->out_count; i++) {
        if (q->outputs[i].dtype == 'b') {
            give_rows(q, o->out[i], &q->outputs[i]);
        }
    }
}
