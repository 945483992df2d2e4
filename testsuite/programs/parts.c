// Code that only the new build has computes with arrays inside of a large variable. Other arrays move against it, but none lies near: where an
// array begins in the variable, that array is meant, and so is a place in it that is used beside its start. At fixed addresses a number that
// equals such a place is its address.
//#Hazard: C1,C16,D1
//#Matrix: cc=gcc,clang,gcc opt=-O2,-O1,-Os kind=pie,shared,nopie
//#Expect: live
//#Warm: put 7
//#Call: sum 7
//#Call: text 7
//#After: taken 7 => 714
#include "scenario.h"

int early[64] = {1, 2, 3};
#ifdef NEW
struct {
    long a, b, c, d, e;
} between = {5, 4, 3, 2, 1}, behind = {70, 80, 90, 100, 110};
#endif
struct state {
    int count;
    char filler[8188];
    int table[500];
    union {
        struct {
            short keys[1000];
            short values[1000];
        } pairs;
        char bytes[9000];
    } work;
    char end[8000];
} state = {.table = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3}, .work.bytes = "0123456789abcdef"};
int last[64] = {100, 200, 300};

NOINLINE void put(long n) { state.table[n] = 700 + (int)n + state.count++ * 0; }

#ifdef NEW
NOINLINE long walk(long n) {
    long sum = 0;
    for (long i = 0; i < n; i++)
        sum = sum * 31 + state.table[i] + state.work.pairs.values[i + n];
    return sum;
}
NOINLINE void show(const char *from) { puts(from + 1); }
NOINLINE long others(void) { return between.b + behind.c; }
NOINLINE const char *text(long n) {
    state.work.bytes[5] = 'x';
    const char *from = &state.work.bytes[n];
    OPAQUE(from);
    return from;
}
#endif

void command(const char *line) {
    long n;
    if (sscanf(line, "put %ld", &n) == 1)
        put(n), puts("put");
#ifdef NEW
    if (sscanf(line, "sum %ld", &n) == 1)
        printf("%ld\n", walk(n) + others());
    if (sscanf(line, "text %ld", &n) == 1)
        puts(text(n)), show(state.work.bytes);
    if (sscanf(line, "taken %ld", &n) == 1)
        printf("%d\n", state.table[n] + state.count + 6);
#else
    if (sscanf(line, "sum %ld", &n) == 1)
        printf("%d\n", early[n & 1] + last[n & 1]);
    if (sscanf(line, "text %ld", &n) == 1)
        puts("none");
#endif
}
