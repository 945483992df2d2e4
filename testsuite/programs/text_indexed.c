// Among texts that a linker merged, one is used by an address in front of it (a compiler may take the constant part of an index
// into it): what lies there, up to a zero, says nothing of it.
//#Hazard: C1,C17
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie,nopie,shared ld=mold
//#Expect: safe
//#Call: digit 7
#include "scenario.h"

#ifdef NEW
#define DIGITS "0123456789abcdeF"
#else
#define DIGITS "0123456789abcdef"
#endif
#define BIAS 4

NOINLINE int digit(long n) { return DIGITS[n - BIAS]; }

void command(const char *line) {
    const char *rest = strchr(line, ' ');
    if (rest)
        printf("%s %c%c\n", "these", digit(atoi(rest + 1)), digit(15 + BIAS));
}
