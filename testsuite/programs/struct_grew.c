// A structure grows while instances may be alive: not for a running process, but right before `main`.
//#Hazard: D6
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: start
//#Call: list
#include "scenario.h"

struct node {
    struct node *next;
    int value;
#ifdef NEW
    int weight;
    char label[24];
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
    snprintf(node->label, sizeof node->label, "node %d", node->serial);
#endif
    head = node;
}

NOINLINE void list(void) {
    for (struct node *node = head; node; node = node->next)
#ifdef NEW
        printf("%d %d %d %s\n", node->serial, node->value, node->weight, node->label);
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
