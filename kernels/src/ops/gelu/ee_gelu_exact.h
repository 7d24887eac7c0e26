/* ee_gelu_exact.h: the quotient of polynomials that the variants of ee_gelu_exact share. */
#ifndef EE_GELU_EXACT_H
#define EE_GELU_EXACT_H

/* From here on the quotient is 1/2. */
#define EE_GELU_LIMIT 0x1.571aap+2f

/* Of x * x, the highest power first. */
enum { EE_GELU_POWERS = 6 };
static const float EE_GELU_ABOVE[EE_GELU_POWERS] = {
    0x1.8751bap-26f, 0x1.b38c92p-18f, 0x1.719e6ap-13f,
    0x1.357ae2p-8f, 0x1.1a8b8ep-5f, 0x1.988446p-2f,
};
static const float EE_GELU_BELOW[EE_GELU_POWERS] = {
    0x1.44734ap-20f, 0x1.40e18ap-14f, 0x1.f8bab4p-10f,
    0x1.db93aep-6f, 0x1.033194p-2f, 0x1p+0f,
};

#endif
