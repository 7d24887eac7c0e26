#include "ee_decode.h"

typedef struct {
    char *text;
    size_t capacity;
    size_t length; /* of all bytes, whether they fit or not */
} writer;

static void put(writer *w, char byte)
{
    if (w->length + 1 < w->capacity) {
        w->text[w->length] = byte;
    }
    w->length++;
}

ee_status ee_text(char *text, size_t capacity, size_t *length, const ee_labels *labels,
                  const ee_token *tokens, size_t count)
{
    writer w = {text, capacity, 0};
    int boundary = 0; /* a space is due before the next byte */

    if (length == NULL || labels == NULL || (text == NULL && capacity > 0)
        || (tokens == NULL && count > 0)) {
        return EE_ERR_ARGUMENT;
    }
    *length = 0;
    for (size_t i = 0; i < count; i++) {
        if (tokens[i].token >= labels->vocab) {
            return EE_ERR_CONFIG;
        }
    }
    for (size_t i = 0; i < count; i++) {
        const uint32_t token = tokens[i].token;

        for (uint32_t j = token > 0 ? labels->ends[token - 1] : 0; j < labels->ends[token]; j++) {
            const char byte = labels->text[j];

            if (byte == ' ') {
                boundary = w.length > 0;
                continue;
            }
            if (boundary) {
                put(&w, ' ');
                boundary = 0;
            }
            put(&w, byte);
        }
    }
    if (capacity > 0) {
        text[w.length < capacity ? w.length : capacity - 1] = '\0';
    }
    *length = w.length;
    return w.length < capacity ? EE_OK : EE_ERR_BUFFER_TOO_SMALL;
}
