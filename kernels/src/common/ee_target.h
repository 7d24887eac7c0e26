/* ee_target.h: EE_TARGET_BEGIN(features) ... EE_TARGET_END around the functions of an ISA file let
 * the compiler use those instructions there, with no flag on the command line. Headers of
 * intrinsics are included before it.
 * EE_UNROLL before a loop whose bounds are constants and whose arrays are to be registers unrolls it
 * completely, which GCC does by itself at -O3 only; EE_UNROLL_BY(n) before another one, n times. */
#ifndef EE_TARGET_H
#define EE_TARGET_H

#define EE_PRAGMA(text) _Pragma(#text)

#if defined(__clang__)
#define EE_TARGET_BEGIN(features) \
    EE_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define EE_TARGET_END EE_PRAGMA(clang attribute pop)
#define EE_UNROLL EE_PRAGMA(unroll)
#define EE_UNROLL_BY(n) EE_PRAGMA(unroll n)
#elif defined(__GNUC__)
#define EE_TARGET_BEGIN(features) EE_PRAGMA(GCC push_options) EE_PRAGMA(GCC target(features))
#define EE_TARGET_END EE_PRAGMA(GCC pop_options)
#define EE_UNROLL EE_PRAGMA(GCC unroll 16)
#define EE_UNROLL_BY(n) EE_PRAGMA(GCC unroll n)
#endif

#endif
