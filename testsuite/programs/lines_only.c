// A structure grows while instances may be alive, and the debug information of its unit has only lines, or there is none: a person must look.
//#Hazard: D6,C21
//#Matrix: cc=gcc,clang cflags=-g1,-g0 opt=-O0,-O2
//#Sample: 2
//#Expect: refuse HP0219
//#Call: list
#include "scenario.h"

struct node {
    struct node *next;
    int value;
#ifdef NEW
    int weight;
#endif
    int serial;
};

static struct node *head;
static int serial;

NOINLINE void push(int value) {
    struct node *node = malloc(sizeof *node);
    node->next = head;
    node->value = value;
    node->serial = serial++;
#ifdef NEW
    node->weight = value * 10;
#endif
    head = node;
}

NOINLINE void list(void) {
    for (struct node *node = head; node; node = node->next)
#ifdef NEW
        printf("%d %d %d\n", node->serial, node->value, node->weight);
#else
        printf("%d %d\n", node->serial, node->value);
#endif
}

void command(const char *line) {
    if (!strcmp(line, "list")) {
        push(4);
        push(5);
        list();
    }
}
