// Code has the address of a member of a variable, and goes back from there to the start.
//#Hazard: C21
//#Expect: live
//#Call: counted 3
#include "scenario.h"

struct row {
    long first, second[7];
};

static struct row zeroed, filled = {1, {2}};

#ifdef NEW
enum { EACH = 3 };
#else
enum { EACH = 2 };
#endif

// A compiler's way to have both.
#define START(of, member, start)                                                                                       \
    __asm__("lea 8+%2, %0\n\tlea -8(%0), %1" : "=&r"(member), "=r"(start) : "m"(of))

NOINLINE static long counted(long n) {
    struct row *a, *b;
    long *first, *second;
    START(zeroed, first, a);
    START(filled, second, b);
    *first += n;
    *second += n;
    return a->second[0] * b->second[0] + b->first;
}

void command(const char *line) {
    long n = 0;
    if (sscanf(line, "counted %ld", &n) == 1)
        printf("%ld\n", counted(n) * EACH);
}
