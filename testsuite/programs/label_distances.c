// A table of distances between labels of a function that says the same, while a jump out of it takes more bytes: old code must not go by the new distances.
//#Hazard: C7
//#Matrix: cc=gcc opt=-Os kind=pie,nopie,shared
//#Expect: live
//#Expect[kind=nopie]: safe
//#Call: run abcd
//#Call: run bbd
//#Call: run aac
//#Call: before 4
#include "scenario.h"

static NOINLINE int last(int v) { return v ^ 0x55; }

#ifdef NEW
NOINLINE int before(int x) {
    if (x == 3)
        return 17;
    x = x * 77 + 9;
    x ^= x >> 3;
    x *= 5;
    x ^= x << 7;
    x += x * x;
    if (x > 5000)
        x -= 77;
    if (x < -5000)
        x += 33;
    return (x * 3) / 7 + 1;
}
#else
NOINLINE int before(int x) { return x * 3 + 100000; }
#endif

NOINLINE int run(const char *p) {
    static const int distances[] = {&&stop - &&more, &&more - &&more, &&twice - &&more, &&out - &&more};
    int v = 1;
#define NEXT goto *(&&more + distances[*p++ & 3])
    NEXT;
more:
    v += 1;
    NEXT;
out:
    return last(v);
twice:
    v *= 2;
    v ^= 5;
    NEXT;
stop:
    return v;
}

void command(const char *line) {
    int x;
    if (!strncmp(line, "run ", 4))
        printf("%d\n", run(line + 4));
    if (sscanf(line, "before %d", &x) == 1)
        printf("%d\n", before(x));
}
