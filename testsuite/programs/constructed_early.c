// A structure grows of which a constructor makes an instance before `main`, in a library before any other constructor of the process
// that the loader's could be.
//#Hazard: D6,D10
//#Matrix: cc=gcc,clang kind=pie,shared
//#Expect: start
//#Call: list
#include "scenario.h"

struct node {
    struct node *next;
    int value;
#ifdef NEW
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
    snprintf(node->label, sizeof node->label, "node %d", node->serial);
#endif
    head = node;
}

static __attribute__((constructor)) void first(void) { push(3); }

NOINLINE void list(void) {
    for (struct node *node = head; node; node = node->next)
#ifdef NEW
        printf("%d %d %s\n", node->serial, node->value, node->label);
#else
        printf("%d %d\n", node->serial, node->value);
#endif
}

void command(const char *line) {
    if (!strcmp(line, "list")) {
        push(4);
        list();
    }
}
