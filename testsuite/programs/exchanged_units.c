// One unit gets another declaration of a name, and other units have had each of them all along: which names there are, and how they are declared, is the
// same in both builds.
//#Hazard: C5,D6,D7
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie cflags=-DTYPE,-DENUM,-DSAME
//#Units: 3
//#Expect: start
//#Expect[cflags=-DENUM]: refuse HP0502
//#Expect[cflags=-DSAME]: live
//#Call: one 3
//#Call: two 4
//#Call: three 5
#include "scenario.h"

#ifndef UNIT
#define UNIT 1
#endif
#if defined NEW && UNIT == 1
#define CHANGED 1
#else
#define CHANGED 0
#endif

#if UNIT == 3 || (CHANGED && defined TYPE)
struct node {
    int length, value;
    struct node *next;
};
#else
struct node {
    int value, length;
    struct node *next;
};
#endif

#if UNIT == 3 || (CHANGED && defined ENUM)
enum mode { OFF, FAST, SLOW };
#else
enum mode { OFF, SLOW, FAST };
#endif

#define JOINED(a, b) a##b
#define NAMED(name, unit) JOINED(name, unit)
#define walk NAMED(walk, UNIT)
#define head NAMED(head, UNIT)
#define mode_now NAMED(mode, UNIT)

static struct node *head;
static enum mode mode_now;

NOINLINE int walk(int x) {
    struct node *made = calloc(1, sizeof *made);
    made->value = x;
    made->length = 100;
#ifndef SAME
    made->next = head;
#endif
    head = made;
    mode_now = x > 3 ? FAST : SLOW;
    int sum = (mode_now == FAST) * 7;
    for (const struct node *each = head; each; each = each->next)
        sum += each->value * 2 + each->length;
    return sum + UNIT + CHANGED * 10000;
}

#if UNIT == 1
int walk2(int x), walk3(int x);

void command(const char *line) {
    int x;
    if (sscanf(line, "one %d", &x) == 1)
        printf("%d\n", walk(x));
    else if (sscanf(line, "two %d", &x) == 1)
        printf("%d\n", walk2(x));
    else if (sscanf(line, "three %d", &x) == 1)
        printf("%d\n", walk3(x));
}
#endif
