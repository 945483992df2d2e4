// An interpreter whose programs hold the addresses of its labels (direct threading): a live program leads into the old code.
//#Hazard: C7
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,shared cflags=-DTABLE,-DRETURNED,-DSPILLED,-DINSIDE
//#Expect: start
// What it keeps for itself, in its frame, is gone with a call.
//#Expect[cflags=-DINSIDE]: live
//#Call: run 3
//#Call: run 4
#include "scenario.h"

typedef const void *Label;
static Label code[8];

NOINLINE Label *interpret(Label *pc, int *value, int build) {
    static const Label labels[] = {&&increment, &&dbl, &&stop};
#ifdef INSIDE
    Label program[4];
    (void)build;
    pc = program;
    for (int i = 0; i < 4; i++)
        program[i] = labels[i < *value % 3 ? 0 : i < 3 ? 1 : 2];
#elif defined(RETURNED)
    if (build)
        return (Label *)labels;
#else
    if (build) {
        for (int i = 0; i < 4; i++) {
#ifdef SPILLED
            volatile Label each = labels[i == 3 ? 2 : i & 1];
            code[i] = each;
#else
            code[i] = labels[i == 3 ? 2 : i & 1];
#endif
        }
        return 0;
    }
#endif
    goto **pc++;
increment:
    *value += 1;
    goto **pc++;
dbl:
#ifdef NEW
    *value *= 20;
    printf("dbl\n");
#else
    *value *= 2;
#endif
    goto **pc++;
stop:
    return 0;
}

void command(const char *line) {
    int value;
    if (sscanf(line, "run %d", &value) != 1)
        return;
    if (!code[0]) {
#ifdef RETURNED
        Label *labels = interpret(0, &value, 1);
        for (int i = 0; labels && i < 4; i++)
            code[i] = labels[i == 3 ? 2 : i & 1];
#elif !defined(INSIDE)
        interpret(0, &value, 1);
#endif
    }
    interpret(code, &value, 0);
    printf("%d\n", value);
}
