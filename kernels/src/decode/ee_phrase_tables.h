/* ee_phrase_tables.h: elements of the tables of phrases. */
#ifndef EE_PHRASE_TABLES_H
#define EE_PHRASE_TABLES_H

#include "ee_phrases.h"

static inline uint32_t ee_number(ee_numbers numbers, size_t i)
{
    return numbers.narrow != NULL ? numbers.narrow[i] : numbers.wide[i];
}

static inline int ee_bit(const uint8_t *bits, size_t i)
{
    return bits[i / 8] >> i % 8 & 1;
}

#endif
