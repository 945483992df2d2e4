// The new build calls functions of the C library that the old one did not import, with and without a PLT.
//#Hazard: C10,D11
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared cflags=,-fno-plt
//#Expect: live
//#Call: parse 0x1f
//#Call: parse 19
//#Call: parse abc
#include "scenario.h"
#include <ctype.h>
#include <errno.h>

NOINLINE long parse(const char *text) {
#ifdef NEW
    char *end;
    errno = 0;
    long value = strtol(text, &end, 0);
    return end == text || errno ? -(long)strnlen(text, 100) : value;
#else
    return text[0] - '0';
#endif
}

void command(const char *line) {
    if (!strncmp(line, "parse ", 6))
        printf("%ld\n", parse(line + 6));
}
