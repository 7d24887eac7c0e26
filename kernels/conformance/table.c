/* The ops that this port answers. */
#include <string.h>

#include "frames.h"

static const conformance_op *const TABLES[] = {
    eec_ops,
    eec_ops_model,
    eec_ops_phrase,
    eec_ops_status,
};

enum { TABLE_COUNT = sizeof TABLES / sizeof TABLES[0] };

size_t eec_put_ops(sender *s)
{
    size_t bytes = 0;

    for (size_t i = 0; i < TABLE_COUNT; i++) {
        for (const conformance_op *op = TABLES[i]; op->name != NULL; op++) {
            if (s != NULL) {
                eec_put(s, op->name, strlen(op->name));
                eec_put(s, " ", 1);
            }
            bytes += strlen(op->name) + 1;
        }
    }
    return bytes;
}

void eec_run_case(question *q)
{
    for (size_t i = 0; i < TABLE_COUNT && q->code == CODE_NONE; i++) {
        for (const conformance_op *op = TABLES[i]; op->name != NULL; op++) {
            if (strcmp(op->name, q->name) == 0) {
                op->run(q);
                if (q->code == CODE_NONE && !eec_guards_hold(q)) {
                    eec_fail(q, CODE_OVERRUN, "memory behind a result or scratch was written", "");
                }
                return;
            }
        }
    }
    eec_fail(q, CODE_UNSUPPORTED, "no such op", q->name);
}
