#include "ee_crc32.h"
#include "ee_crc32_table.h"

/* The CRC register is the remainder, least significant bit first, of all bytes so far. Four bytes a
 * step: each of them is looked up as if the bytes after it in the step were zero. */
uint32_t ee_crc32_update_c(uint32_t crc, const unsigned char *data, size_t bytes)
{
    for (; bytes >= 4; bytes -= 4, data += 4) {
        crc ^= (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16
               | (uint32_t)data[3] << 24;
        crc = CRC32_TABLE[3][crc & 0xFF] ^ CRC32_TABLE[2][crc >> 8 & 0xFF]
              ^ CRC32_TABLE[1][crc >> 16 & 0xFF] ^ CRC32_TABLE[0][crc >> 24];
    }
    for (; bytes > 0; bytes--, data++) {
        crc = crc >> 8 ^ CRC32_TABLE[0][(crc ^ *data) & 0xFF];
    }
    return crc;
}

uint32_t ee_crc32_c(const void *data, size_t bytes)
{
    return ~ee_crc32_update_c(~(uint32_t)0, data, bytes);
}

uint32_t ee_crc32(const void *data, size_t bytes)
{
#ifdef EE_HAVE_PCLMUL
    __builtin_cpu_init();
    if (__builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1")) {
        return ~ee_crc32_update_pclmul(~(uint32_t)0, data, bytes);
    }
#endif
    return ee_crc32_c(data, bytes);
}
