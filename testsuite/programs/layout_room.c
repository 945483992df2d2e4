// A member becomes a union of itself and a row of bytes: the declaration differs, and what instances that are alive hold means the same.
//#Hazard: D6
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie dwarf=4,5
//#Expect: live
//#Warm: put 5
//#Call: scale 3
//#After: get => 5
//#Reverted: get => 5
#include "scenario.h"

struct area {
    unsigned start, end;
    unsigned long where;
    unsigned flags;
} __attribute__((aligned(32)));

struct thread {
    long number;
#ifdef NEW
    union {
        struct {
            unsigned start, end;
            unsigned long where;
            unsigned flags;
        };
        char room[32];
    } area __attribute__((aligned(32)));
#else
    struct area area;
#endif
};

static struct thread alive;
struct area unused;

NOINLINE unsigned scale(struct thread *t, unsigned by) {
#ifdef NEW
    return t->area.end - t->area.start + by * 100;
#else
    return t->area.end - t->area.start + by;
#endif
}

void command(const char *line) {
    unsigned x;
    if (sscanf(line, "put %u", &x) == 1) {
        alive.area.flags = x;
        printf("stored\n");
    }
    if (!strcmp(line, "get"))
        printf("%u\n", alive.area.flags);
    if (sscanf(line, "scale %u", &x) == 1)
        printf("%u\n", scale(&alive, x));
}
