// The compiler moves the unlikely half of a function elsewhere (`.cold`); both halves change.
//#Hazard: C3
//#Matrix: cc=gcc,clang opt=-O2,-O3 kind=pie,nopie,shared
//#Expect: live
//#Call: check 5
//#Call: check -5
//#Call: check 500
//#Call: other -1
#include "scenario.h"

__attribute__((cold, noinline)) void complain(const char *what, int value) {
    printf("complaint: %s %d\n", what, value);
}

NOINLINE int check(int value) {
    if (__builtin_expect(value < 0, 0)) {
        complain("negative", value);
#ifdef NEW
        complain("really", value - 1);
        return -2;
#else
        return -1;
#endif
    }
#ifdef NEW
    if (__builtin_expect(value > 100, 0)) {
        complain("too large", value);
        return 100;
    }
#endif
    return value * 2;
}

NOINLINE int other(int value) {
    if (__builtin_expect(value < 0, 0)) {
        complain("other", value);
        return 0;
    }
    return value;
}

void command(const char *line) {
    int value = 0;
    if (sscanf(line, "check %d", &value) == 1)
        printf("%d\n", check(value));
    if (sscanf(line, "other %d", &value) == 1)
        printf("%d\n", other(value));
}
