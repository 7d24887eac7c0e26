/* ee_exit_row.h: what the scores of an exit take from one frame, in variants that give the same
 * bytes. */
#ifndef EE_EXIT_ROW_H
#define EE_EXIT_ROW_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define EE_HAVE_EXIT_ROW_AVX2 1
#define EE_HAVE_EXIT_ROW_AVX512 1
#endif

/* *sum = SUM over v of exp(row[v]) row[v] where row[v] > -87; returns the lowest label of the
 * largest row[v]. row (vocab), no NaN, vocab at least 1. */
typedef uint32_t (*ee_exit_row)(float *sum, const float *row, size_t vocab);

uint32_t ee_exit_row_c(float *sum, const float *row, size_t vocab);
#ifdef EE_HAVE_EXIT_ROW_AVX2
uint32_t ee_exit_row_avx2(float *sum, const float *row, size_t vocab);
#endif
#ifdef EE_HAVE_EXIT_ROW_AVX512
uint32_t ee_exit_row_avx512(float *sum, const float *row, size_t vocab);
#endif

#endif
