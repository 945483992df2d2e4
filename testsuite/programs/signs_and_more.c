// A member keeps its place, and its type isn't an integer of the same size any more: an object that is alive may hold what the new one doesn't mean.
//#Hazard: D6,D12
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=shared cflags=-DTRUTH,-DNAMED,-DADDRESS,-DREAL,-DWIDER,-DADDRESSED,-DSHORT
//#Sample: 2
//#Expect: start
//#Expect[cflags=-DSHORT]: refuse HP0503
//#Call: add 3
//#Call: add 4
#include "scenario.h"

#ifdef NEW
#define PICK(was, is) is
#else
#define PICK(was, is) was
#endif

#if defined TRUTH
typedef PICK(char, _Bool) kind;
#elif defined NAMED
enum state { NONE, SOME };
typedef PICK(int, enum state) kind;
#elif defined ADDRESS
typedef PICK(unsigned long, char *) kind;
#elif defined REAL
typedef PICK(int, float) kind;
#elif defined WIDER
typedef PICK(int, long) kind;
#elif defined ADDRESSED
typedef PICK(int *, char *) kind;
#else
typedef int kind;
#endif
// A caller who knows the old one widens it in its way.
typedef PICK(short, unsigned short) number;

struct object {
    struct object *next;
    kind member;
    long serial __attribute__((aligned(16)));
};

static struct object *head;

#ifdef SHORT
NOINLINE int widened(number x) {
    return x + PICK(0, 1);
}
#else
NOINLINE int widened(int x) {
    return x + PICK(0, 1);
}
#endif

NOINLINE int add(int x) {
    struct object *o = malloc(sizeof *o);
    o->next = head;
    o->member = (kind)(long)x;
    o->serial = x;
    head = o;
    int sum = widened(x);
    for (o = head; o; o = o->next)
        sum += (int)(long)o->member;
    return sum;
}

void command(const char *line) {
    int x;
    if (sscanf(line, "add %d", &x) == 1)
        printf("%d\n", add(x));
}
