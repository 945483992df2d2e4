// A structure gets another name and another layout; only untyped pointers know its instances.
//#Hazard: D6
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie,nopie,shared
//#Expect: start
//#Call: list
#include "scenario.h"

#ifdef NEW
struct connection {
    void *next;
    char peer[24];
    int number;
};
typedef struct connection node;
#else
struct conn {
    void *next;
    int number;
};
typedef struct conn node;
#endif

static void *head;

NOINLINE void open_one(int number) {
    node *made = calloc(1, sizeof *made);
    made->next = head;
    made->number = number;
#ifdef NEW
    snprintf(made->peer, sizeof made->peer, "peer %d", number);
#endif
    head = made;
}

NOINLINE void list(void) {
    for (node *each = head; each; each = each->next)
#ifdef NEW
        printf("%d %s\n", each->number, each->peer);
#else
        printf("%d\n", each->number);
#endif
}

void command(const char *line) {
    if (!strcmp(line, "list")) {
        open_one(1);
        open_one(2);
        list();
    }
}
