// A new thread-local variable, reached by a TLS descriptor of its own.
//#Hazard: D9
//#Matrix: cc=gcc opt=-O0,-O2 kind=pie,shared cflags=-mtls-dialect=gnu2
//#Expect: live
//#Unwritten: HP0614
//#Warm: add 3
//#After: add 4 => 4 7 11
//#After: add 1 => 5 8 12
//#Reverted: add 1 => 9
#include "scenario.h"

static __thread long old_count;

NOINLINE long old_add(long x) {
    return old_count += x;
}

#ifdef NEW
static __attribute__((tls_model("global-dynamic"))) __thread long more[40] = {[33] = 7};

NOINLINE long *spare(void) {
    return more;
}

NOINLINE void add(long x) {
    long *all = spare();
    all[2] += x;
    long sum = all[33] + all[2] - 4;
    printf("%ld %ld %ld\n", all[2], sum, sum + 4);
    old_add(x);
}
#else
NOINLINE void add(long x) {
    printf("%ld\n", old_add(x));
}
#endif

void command(const char *line) {
    long x;
    if (sscanf(line, "add %ld", &x) == 1)
        add(x);
}
