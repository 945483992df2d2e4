// The address of a text that is another text's tail is kept over branches, jump tables, calls that don't return, and chosen among others: code
// that only passes it on can't mean an array somewhere else.
//#Hazard: C1,C6,C17
//#Matrix: cc=gcc,clang,gcc,clang opt=-O2,-O2,-O3,-O1 kind=pie,shared,shared,pie ld=bfd,lld,gold,bfd
//#Expect: live
//#Call: chosen 1 0
//#Call: chosen 3 1
//#Call: switched 0
//#Call: switched 4
//#Call: switched 9
//#Call: looped 3
//#Call: looped 0
//#Call: checked 5
//#Call: varied 1
//#Call: varied 2
//#Call: rested 1
#include "scenario.h"
#include <stdlib.h>

#ifdef NEW
#define MORE "!"
#define TAIL "tail"
#define TEXT "text"
#define END "end"
int added[6] = {70, 80, 90};
static const char moving[] = "a text that moves all that lies behind it, by no round number of bytes at all";
static const int added_constants[11] = {1, 2, 3, 4};
#else
#define MORE ""
#define TAIL "begin"
#define TEXT "begin"
#define END "one"
#endif

int numbers[1200] = {1, 2, 3};
static const int constants[9] = {3, 1, 4, 1, 5, 9, 2, 6, 5};

// Whose tail the short ones are.
static const char *const longer[] = {"a long and tail", "some other text", "a line with end"};

NOINLINE void note(const char *what, int n) { printf("%s%d%s ", what, n + constants[n & 7], MORE); }

NOINLINE void chosen(int n, int other) {
    const char *text = other ? TEXT : TAIL;
    if (n & 1)
        note(text, n);
    if (n & 2)
        note(text, numbers[n]);
    note(n > 2 ? text : END, 1);
    puts(MORE);
}

// The result's register, which held the text until it was chosen, is cleared for the call.
NOINLINE void varied(int n) { printf("%d %s" MORE "\n", n, n > 1 ? "many of them" : END); }

// It waits in the frame while others are called.
NOINLINE void rested(int n) {
    const char *volatile text = END;
    note("begin", n);
    note(text, numbers[n]);
    puts(MORE);
}

NOINLINE void switched(int n) {
    const char *text = TAIL;
    note("begin", n);
    switch (n) {
    case 0:
        note(text, 2);
        break;
    case 1:
        note("one", 3);
        break;
    case 2:
        note(text, numbers[1]);
        note(text, 8);
        break;
    case 3:
        note("three", numbers[2]);
        break;
    case 4:
        note("four", 5);
        note(text, 6);
        break;
    case 5:
        note(text, 7);
        break;
    case 6:
        note("six", 9);
        break;
    default:
        puts(text);
        return;
    }
    puts("switched" MORE);
}

NOINLINE void looped(int n) {
    const char *text = END;
    while (n-- > 0) {
        note(text, n);
        if (numbers[n] == 2)
            note(TEXT, numbers[n]);
    }
    puts(MORE);
}

NOINLINE void checked(int n) {
    const char *text = TEXT;
    note(text, n);
    if (n > 1000) {
        note(text, 1);
        exit(n);
    }
    numbers[n] = numbers[n] * 3 + 1;
    note(END, numbers[n]);
    puts(MORE);
    numbers[n] = 0;
}

void command(const char *line) {
    int n, m;
#ifdef NEW
    OPAQUE(added[0]);
    if (added[1] + added_constants[added[2] & 7] == 0)
        puts(moving);
#endif
    if (sscanf(line, "chosen %d %d", &n, &m) == 2)
        chosen(n, m);
    if (sscanf(line, "varied %d", &n) == 1)
        varied(n);
    if (sscanf(line, "rested %d", &n) == 1)
        rested(n);
    if (sscanf(line, "switched %d", &n) == 1)
        switched(n);
    if (sscanf(line, "looped %d", &n) == 1)
        looped(n);
    if (sscanf(line, "checked %d", &n) == 1)
        checked(n);
    if (sscanf(line, "longer %d", &n) == 1)
        puts(longer[n]);
}
