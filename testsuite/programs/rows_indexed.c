// A row comes into a table of constants, and a variable, or a structure on the heap, has the index of one behind it. Beside that a row at the end,
// and a table that is only searched.
//#Hazard: D4
//#Matrix: cc=gcc,clang opt=-O1,-O2 kind=pie,shared cflags=-DFRONT,-DHEAP,-DGIVEN,-DLAST,-DSEARCHED
//#Expect: start
//#Expect[cflags=-DLAST]: live
//#Expect[cflags=-DSEARCHED]: live
//#Warm: use zip
//#Call: use tar
//#Call: run
#include "scenario.h"

struct codec {
    const char *name;
    int cost;
};

static const struct codec codecs[] = {
#if defined NEW && !defined LAST
    {"none", 0},
#endif
    {"tar", 10},
    {"zip", 20},
    {"xz", 30},
#if defined NEW && defined LAST
    {"none", 0},
#endif
};
#define COUNT (int)(sizeof codecs / sizeof *codecs)

static NOINLINE int find(const char *name) {
    for (int i = 0; i < COUNT; i++)
        if (!strcmp(codecs[i].name, name))
            return i;
    return 0;
}

struct session {
    long opened;
    int codec, cost;
};
static struct session *session;
static int current, cost;

static NOINLINE void use(const char *name) {
#ifdef SEARCHED
    cost = codecs[find(name)].cost;
#else
    if (!session)
        session = calloc(1, sizeof *session);
    current = session->codec = find(name);
#endif
}

#ifdef GIVEN
static NOINLINE int cost_of(int codec) { return codecs[codec].cost; }
#endif

NOINLINE void run(void) {
#if defined SEARCHED
    printf("%d of %d\n", cost, COUNT);
#elif defined GIVEN
    printf("%d of %d\n", cost_of(current), COUNT);
#elif defined HEAP
    printf("%d of %d\n", codecs[session->codec].cost, COUNT);
#else
    printf("%d of %d\n", codecs[current].cost, COUNT);
#endif
}

void command(const char *line) {
    if (!strncmp(line, "use ", 4))
        use(line + 4);
    else if (!strcmp(line, "run"))
        run();
}
