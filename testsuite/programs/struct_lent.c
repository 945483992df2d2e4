// Structures that grow: one is handed out as an untyped pointer and comes back through a callback, one is passed on from the heap without a
// variable of its own. Declarations don't show where such instances are, so none of it is for a running process.
//#Hazard: D6
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie cflags=-DLENT,-DPASSED
//#Expect: start
//#Call: run 3
#include "scenario.h"

struct job {
#ifdef NEW
    long weight;
#endif
    int done;
};

static NOINLINE int step(struct job *job, int by) {
#ifdef NEW
    job->weight += by;
    return job->done += by + (int)job->weight;
#else
    return job->done += by;
#endif
}

#ifdef LENT
static int work(void *data, int by) {
    struct job *job = data;
    return step(job, by);
}

static int (*volatile worker)(void *, int) = work;

NOINLINE int run(int by) {
    struct job job = {0};
    worker(&job, by);
    return worker(&job, by);
}
#else
static void *kept;

NOINLINE int run(int by) {
    free(kept);
    kept = calloc(1, 64);
    step(kept, by);
    return step(kept, by);
}
#endif

void command(const char *line) {
    if (!strncmp(line, "run ", 4))
        printf("%d\n", run(atoi(line + 4)));
}
