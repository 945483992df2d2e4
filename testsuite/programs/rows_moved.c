// The rows of a table of constants change places, and a session has the address of one. Beside it one whose row has another value, and one of
// which nobody keeps the address; and one where a caller has it until it returns (`RETURNED`).
//#Hazard: D4
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,shared cflags=-DKEPT,-DNAMED,-DVALUE,-DINDEXED,-DRETURNED
//#Expect: live
//#Expect[cflags=-DKEPT]: start
//#Expect[cflags=-DNAMED]: start
//#Expect[cflags=-DRETURNED]: start
//#Warm: open put
//#Call: open get
//#Call: run
//#Call: open put
//#Call: run
#include "scenario.h"

static NOINLINE int get(void) {
    return 1;
}

static NOINLINE int put(void) {
    return 2;
}

struct row {
#ifdef NAMED
    const char *name;
#else
    char name[8];
#endif
    int (*run)(void);
    int cost;
};

#ifdef VALUE
#ifdef NEW
static const struct row rows[] = {{"get", get, 10}, {"put", put, 30}};
#else
static const struct row rows[] = {{"get", get, 10}, {"put", put, 20}};
#endif
#elif defined NEW
static const struct row rows[] = {{"put", put, 20}, {"get", get, 10}};
#else
static const struct row rows[] = {{"get", get, 10}, {"put", put, 20}};
#endif

#ifdef INDEXED
static NOINLINE int find(const char *name) {
    return strcmp(rows[0].name, name) ? 1 : 0;
}

void command(const char *line) {
    static int cost;
    if (!strncmp(line, "open ", 5))
        cost = rows[find(line + 5)].cost;
    printf("%d, first %s\n", cost, rows[0].name);
}
#else
static NOINLINE const struct row *find(const char *name) {
    for (int i = 0; i < 2; i++)
        if (!strcmp(rows[i].name, name))
            return &rows[i];
    return NULL;
}

#ifdef RETURNED
void command(const char *line) {
    const struct row *found = find(strncmp(line, "open ", 5) ? "get" : line + 5);
    fflush(stdout);
    printf("%s %d %d, first %s\n", found->name, found->run(), found->cost, rows[0].name);
}
#else
static const struct row **session;

void command(const char *line) {
    if (!session)
        session = calloc(1, sizeof *session);
    if (!strncmp(line, "open ", 5))
        *session = find(line + 5);
    printf("%s %d %d, row %d\n", (*session)->name, (*session)->run(), (*session)->cost, (int)(*session - rows));
}
#endif
#endif
