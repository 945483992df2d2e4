// A list that the link editor knows the ends of, and behind it an object of another section that is new: where the list ends, not that is meant.
//#Hazard: C18,D2
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie ld=bfd,lld
//#Expect: live
//#Call: add 5
//#Call: sub 2
//#Call: none 1
//#Call: mul 3
#include "scenario.h"

struct entry {
    const char *name;
    int (*run)(int);
    long pad[2];
};

#define ENTRY(name)                                                                                                    \
    static int name(int);                                                                                              \
    static struct entry entry_##name __attribute__((section("entries"), used)) = {#name, name};                        \
    static int name(int n)
#define SHARED __attribute__((section("shared")))

extern struct entry __start_entries[], __stop_entries[];

ENTRY(add) {
    return n + 1;
}

#ifdef NEW
SHARED static volatile long limit = 7;
#endif
SHARED static volatile long seen = 1;

ENTRY(sub) {
#ifdef NEW
    return n > limit ? -1 : 2 * (int)seen - n;
#else
    return (int)seen - n;
#endif
}

ENTRY(mul) {
    return n * 3 + !seen;
}

static NOINLINE int dispatch(const char *name, int n) {
    for (struct entry *e = __start_entries; e < __stop_entries; e++)
        if (!strcmp(e->name, name))
            return e->run(n) + 10;
    return -9;
}

void command(const char *line) {
    char name[16];
    int n;
    if (sscanf(line, "%15s %d", name, &n) == 2)
        printf("%d\n", dispatch(name, n));
}
