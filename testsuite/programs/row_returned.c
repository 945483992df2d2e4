// A table of commands gains a row while a function gives its rows to a caller that uses them at once and forgets them.
//#Hazard: D2,D4
//#Matrix: cc=gcc,clang opt=-O2,-O1 kind=pie,nopie,shared
//#Expect: live
//#Expect[kind=nopie]: safe
//#Warm: push 2
//#Warm: push 3
//#After: add => 5 of 1
//#After: dup => 5 of 2
//#Reverted: add => 10 of 1
//#Reverted: dup => unknown
#include "scenario.h"
#include <stdlib.h>

static int stack[32], depth;

struct command {
    const char *name;
    void (*run)(int argument);
};

static NOINLINE void push(int n) {
    stack[depth++] = n;
    printf("%d of %d\n", stack[depth - 1], depth);
}

static NOINLINE void add(int unused) {
    depth--;
    stack[depth - 1] += stack[depth] + unused;
    printf("%d of %d\n", stack[depth - 1], depth);
}

#ifdef NEW
static NOINLINE void dup(int unused) {
    stack[depth] = stack[depth - 1] + unused;
    depth++;
    printf("%d of %d\n", stack[depth - 1], depth);
}
#endif

static const struct command commands[] = {
    {"push", push},
    {"add", add},
#ifdef NEW
    {"dup", dup},
#endif
};

static NOINLINE const struct command *find(const char *name, size_t length) {
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strlen(commands[i].name) == length && !strncmp(commands[i].name, name, length))
            return &commands[i];
    return NULL;
}

void command(const char *line) {
    size_t length = strcspn(line, " \n");
    const struct command *found = find(line, length);
    if (!found)
        puts("unknown");
    else
        found->run(atoi(line + length));
}
