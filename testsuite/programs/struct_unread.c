// A structure gains a member that no code uses yet, in a unit without changed functions; a function of another unit changes. The instances that
// live go on as they are.
//#Hazard: D6
//#Units: 2
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,shared
//#Expect: live
//#Warm: push 3
//#Warm: push 4
//#After: show => total 7 (new)
//#After: push 5 => ok
//#Reverted: show => total 12
#include "scenario.h"

#ifndef UNIT
#define UNIT 1
#endif

long total(void);
void push(int value);

#if UNIT == 1
struct node {
    struct node *next;
    int value;
#ifdef NEW
    unsigned marked : 1;
#endif
};

static struct node *head;

NOINLINE void push(int value) {
    struct node *node = malloc(sizeof *node);
    node->next = head;
    node->value = value;
    head = node;
}

NOINLINE long total(void) {
    long sum = 0;
    for (struct node *node = head; node; node = node->next)
        sum += node->value;
    return sum;
}
#else
NOINLINE void show(long sum) {
#ifdef NEW
    printf("total %ld (new)\n", sum);
#else
    printf("total %ld\n", sum);
#endif
}

void command(const char *line) {
    if (!strcmp(line, "show"))
        show(total());
    if (!strncmp(line, "push ", 5)) {
        push(atoi(line + 5));
        puts("ok");
    }
}
#endif
