// A second queue beside the first one: each is set up with a pointer into itself, and which of the two is meant is chosen at run time, so that the
// address of one is as well the end of the other, or a little behind it.
//#Hazard: C1,C16
//#Matrix: cc=gcc,clang opt=-O0,-O1,-O2,-O3,-Os kind=pie,nopie,shared ld=bfd,lld cflags=-DFRONT,-DBEHIND
//#Sample: 2
//#Expect: live
// Unoptimised, clang adds where the member lies.
//#Expect[cc=clang,opt=-O0]: safe
//#Call: reset
//#Call: put 1
//#Call: put 2
//#Call: put 3
//#Call: show
#include "scenario.h"

struct node {
    struct node *next;
    int value;
};
struct queue {
    long count;
    struct node *head;
    struct node **tail;
};

#if defined NEW && defined FRONT
static struct queue odd;
#endif
static struct queue even;
#if defined NEW && defined BEHIND
static struct queue odd;
#endif
static struct node pool[8];
static int used;

NOINLINE void reset(void) {
#ifdef NEW
    odd.count = 0;
    odd.head = 0;
    odd.tail = &odd.head;
    __asm__ volatile("" ::: "memory");
#endif
    even.count = 0;
    even.head = 0;
    even.tail = &even.head;
    __asm__ volatile("" ::: "memory");
    used = 0;
}

NOINLINE void put(int value) {
    struct node *n = &pool[used++ & 7];
    n->value = value;
    n->next = 0;
#ifdef NEW
    struct queue *to = value & 1 ? &odd : &even;
#else
    struct queue *to = &even;
#endif
    *to->tail = n;
    to->tail = &n->next;
    to->count++;
}

static NOINLINE int sum(const struct node *n) {
    int sum = 0;
    for (; n; n = n->next)
        sum = sum * 10 + n->value;
    return sum;
}

NOINLINE int show(void) {
#ifdef NEW
    return sum(even.head) * 1000 + sum(odd.head);
#else
    return sum(even.head);
#endif
}

void command(const char *line) {
    int value;
    if (!strcmp(line, "reset"))
        reset(), puts("ok");
    else if (sscanf(line, "put %d", &value) == 1)
        put(value), puts("ok");
    else if (!strcmp(line, "show"))
        printf("%d\n", show());
}
