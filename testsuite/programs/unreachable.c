// A path that ends in a write to an address where nothing can be: the compiler puts no instruction behind it, and the next function follows.
//#Hazard: C13,C3
//#Matrix: cc=gcc,clang opt=-O1,-O2 kind=pie,nopie,shared
//#Expect: live
//#Call: checked 3
//#Call: checked 40
//#Call: twice 5
#include "scenario.h"

static __attribute__((noinline, cold)) void complain(long x) {
    fprintf(stderr, "wrong: %ld\n", x);
}

#define REQUIRE(condition, x) \
    do { \
        if (__builtin_expect(!(condition), 0)) { \
            complain(x); \
            *(volatile char *)1 = 0; \
            __builtin_unreachable(); \
        } \
    } while (0)

NOINLINE long checked(long x) {
    REQUIRE(x < 1000, x);
#ifdef NEW
    REQUIRE(x >= 0, x);
    return x > 30 ? x * 5 + 1 : x * 4;
#else
    return x * 3;
#endif
}

NOINLINE long twice(long x) {
    REQUIRE(x != 77, x);
    return checked(x) * 2;
}

void command(const char *line) {
    long x;
    if (sscanf(line, "checked %ld", &x) == 1)
        printf("%ld\n", checked(x));
    if (sscanf(line, "twice %ld", &x) == 1)
        printf("%ld\n", twice(x));
}
