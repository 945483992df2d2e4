// Instances of a structure are in frames only, but their bytes go through a queue, or a pipe: what is in there when the patch comes has the old form.
//#Hazard: D6
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie,shared cflags=-DQUEUE,-DPIPE,-DLENT
//#Expect: start
//#Call: one 3
//#Call: one 4
#include "scenario.h"
#include <unistd.h>

struct message {
#ifdef NEW
    int serial, value;
#else
    int value, serial;
#endif
};

static char queue[4096];
static unsigned in, out;

NOINLINE void push(const void *bytes, unsigned size) {
    for (unsigned i = 0; i < size; i++)
        queue[(in + i) % sizeof queue] = ((const char *)bytes)[i];
    in += size;
}

NOINLINE void pull(void *bytes, unsigned size) {
    for (unsigned i = 0; i < size; i++)
        ((char *)bytes)[i] = queue[(out + i) % sizeof queue];
    out += size;
}

static int ends[2];

#ifdef LENT
static NOINLINE void hand_over(const struct message *m) { push(m, sizeof *m); }
#endif

NOINLINE void put(int x) {
    struct message m = {.value = x, .serial = 1000};
#ifdef LENT
    hand_over(&m);
#elif defined PIPE
    if (write(ends[1], &m, sizeof m) != sizeof m)
        abort();
#else
    push(&m, sizeof m);
#endif
}

NOINLINE int get(void) {
    struct message m;
#ifdef PIPE
    if (read(ends[0], &m, sizeof m) != sizeof m)
        abort();
#else
    pull(&m, sizeof m);
#endif
#ifdef NEW
    return m.value + m.serial;
#else
    return m.value;
#endif
}

void command(const char *line) {
    int x;
    if (!ends[1] && pipe(ends))
        abort();
    if (sscanf(line, "one %d", &x) == 1) {
        put(x);
        printf("%d\n", get());
    }
}
