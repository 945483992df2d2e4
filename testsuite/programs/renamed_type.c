// A structure gets another name and another layout; only untyped pointers know its instances. Another unit may have, and keep, a structure that is
// called as this one was.
//#Hazard: D6
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie,nopie,shared cflags=,-DBESIDE
//#Units: 2
//#Expect: start
//#Call: list
#include "scenario.h"

#if defined UNIT && UNIT == 2
#ifdef BESIDE
struct conn {
    long other;
};
struct conn beside;
#endif
#else
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
#endif
