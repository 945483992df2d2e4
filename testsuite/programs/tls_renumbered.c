// Thread-local static variables of one name: the compiler numbers them, and a new one in front of them takes another's number. Each keeps its value,
// in every thread.
//#Hazard: C4,D9
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Unwritten: HP0614
//#Warm: first 10
//#Warm: second 300
//#After: zeroth 4 => 4
//#After: first 1 => 12
//#After: second 1 => 302
//#After: zeroth 1 => 5
//#Reverted: first 1 => 12
//#Reverted: second 1 => 302
#include "scenario.h"

#ifdef NEW
NOINLINE long zeroth(long x) {
    static __thread long count;
    return count += x;
}
#endif

NOINLINE long first(long x) {
    static __thread long count;
    count += x;
#ifdef NEW
    return count + 1;
#else
    return count;
#endif
}

NOINLINE long second(long x) {
    static __thread long count;
    count += x;
#ifdef NEW
    return count + 1;
#else
    return count;
#endif
}

void command(const char *line) {
    long x;
#ifdef NEW
    if (sscanf(line, "zeroth %ld", &x) == 1)
        printf("%ld\n", zeroth(x));
#else
    if (sscanf(line, "zeroth %ld", &x) == 1)
        printf("none\n");
#endif
    if (sscanf(line, "first %ld", &x) == 1)
        printf("%ld\n", first(x));
    if (sscanf(line, "second %ld", &x) == 1)
        printf("%ld\n", second(x));
}
