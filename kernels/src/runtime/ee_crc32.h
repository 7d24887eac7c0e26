/* ee_crc32.h: the variants of one step of CRC-32, from register to register: the register begins
 * as all ones, and its complement after the last byte is the checksum. */
#ifndef EE_CRC32_H
#define EE_CRC32_H

#include "ee.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define EE_HAVE_PCLMUL 1
#endif

uint32_t ee_crc32_update_c(uint32_t crc, const unsigned char *data, size_t bytes);
#ifdef EE_HAVE_PCLMUL
uint32_t ee_crc32_update_pclmul(uint32_t crc, const unsigned char *data, size_t bytes);
#endif

#endif
