// A structure without a name gets another layout; only untyped pointers lead to its instances from outside. One that is new, beside others, is nothing.
//#Hazard: D6
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie,shared cflags=-DHANDLE,-DWRITTEN_OUT,-DCAST,-DADDED
//#Expect: start
//#Expect[cflags=-DADDED]: live
//#Call: one 3
//#Call: one 4
#include "scenario.h"

#if defined NEW && !defined ADDED
#define LAYOUT { long serial; int value; }
#else
#define LAYOUT { int value; long serial; }
#endif

#if defined HANDLE || defined CAST
typedef struct LAYOUT *handle;
#else
#define handle struct LAYOUT *
#endif

static void *kept[4];
static unsigned count;

#ifdef CAST
NOINLINE void put(int x) {
    void *made = malloc(sizeof *(handle)NULL);
    ((handle)made)->value = x;
    ((handle)made)->serial = x * 10;
    kept[count++ % 4] = made;
}

NOINLINE long sum(void) {
    const void *o = kept[(count + 3) % 4];
#ifdef NEW
    return ((handle)o)->value * 1000 + ((handle)o)->serial;
#else
    return ((handle)o)->value + ((handle)o)->serial;
#endif
}
#else
NOINLINE void put(int x) {
    handle made = malloc(sizeof *made);
    made->value = x;
    made->serial = x * 10;
    kept[count++ % 4] = made;
}

NOINLINE long sum(void) {
    handle o = kept[(count + 3) % 4];
#if defined NEW && defined ADDED
    struct { long first, second; } *both = calloc(1, sizeof *both);
    both->second = 100;
    long more = both->first + both->second;
    free(both);
    return o->value + o->serial + more;
#elif defined NEW
    return o->value * 1000 + o->serial;
#else
    return o->value + o->serial;
#endif
}

#endif

void command(const char *line) {
    int x;
    if (sscanf(line, "one %d", &x) == 1) {
        put(x);
        printf("%ld\n", sum());
    }
}
