// Another type that both builds have in the place of one that only untyped pointers, or pointers to a part of it, lead to.
//#Hazard: D6
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie cflags=-DMERGED,-DAROUND,-DUNTYPED
//#Expect: start
//#Call: all
#include "scenario.h"
#include <stddef.h>

struct list {
    struct list *next;
};
static struct list head;
static void *kept;

struct item {
    int value;
    struct list node;
};
struct entry {
    int hits;
    struct list node;
    char name[24];
    int value;
};
#ifdef NEW
#ifdef AROUND
struct counted {
    int value;
    struct list node;
    long hits;
};
#define ITEM struct counted
#else
#define ITEM struct entry
#endif
#else
#define ITEM struct item
#endif

NOINLINE void add(int value) {
    ITEM *item = calloc(1, sizeof *item);
    item->value = value;
#ifdef UNTYPED
    kept = item;
#else
    item->node.next = head.next;
    head.next = &item->node;
#endif
}

NOINLINE int all(void) {
    int sum = 0;
#ifdef UNTYPED
    ITEM *item = kept;
    sum = item->value;
#else
    for (struct list *at = head.next; at; at = at->next) {
        ITEM *item = (ITEM *)((char *)at - offsetof(ITEM, node));
        sum = sum * 10 + item->value;
#if defined NEW && defined AROUND
        sum += 100 * ++item->hits;
#endif
    }
#endif
#ifdef NEW
    sum += 7000;
#endif
    return sum;
}

// Both builds have both types.
NOINLINE int of_entry(const struct entry *entry) { return entry->value + entry->name[0]; }
NOINLINE int of_item(const struct item *item) { return item->value; }

void command(const char *line) {
    struct entry entry = {.name = "a", .value = 1};
    struct item item = {.value = 2};
    if (!head.next && !kept) {
        add(3);
        add(4);
    }
    if (!strcmp(line, "all"))
        printf("%d\n", all() * 1000 + of_entry(&entry) + of_item(&item));
}
