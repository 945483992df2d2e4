// Numbers of a table that lead into a text, if they are read as distances from the table, are numbers, and go over where they change; distances to
// texts beside it aren't.
//#Hazard: C17
//#Units: 2
//#Matrix: cc=gcc,clang opt=-O2,-O1,-O3 kind=pie,shared ld=bfd,lld
//#Expect: live
//#Call: code 1
//#Call: code 4
//#Call: word 0
//#Call: word 2
//#Call: letter 3
#include "scenario.h"

#ifndef UNIT
#define UNIT 1
#endif

// The linker puts the two the one way or the other round.
extern const int ahead[6], behind[6];
char letter(unsigned k);

#ifdef NEW
#define FIRST "a text that stands in front of others"
#define MORE + 1
#else
#define FIRST "in front of others"
#define MORE
#endif

#if UNIT == 1
const int ahead[6] = {900, 901, 902, 903, 904, 905};
const int behind[6] = {-900, -899, -898 MORE, -897, -896, -895};

NOINLINE int code(unsigned k) { return ahead[k % 6] + behind[(k + 1) % 6]; }

NOINLINE const char *word(unsigned k) {
    // Clang makes distances of it (`reltable.word`).
    static const char *const words[] = {"the first", "the second", "the third of them"};
    return words[k % 3];
}

NOINLINE void show(unsigned k) { printf("%d %s" FIRST "\n", code(k) MORE, word(k)); }

void command(const char *line) {
    unsigned k;
    if (sscanf(line, "code %u", &k) == 1)
        printf("%d\n", ahead[k % 6] - behind[k % 6] MORE);
    if (sscanf(line, "word %u", &k) == 1)
        show(k);
    if (sscanf(line, "letter %u", &k) == 1)
        printf("%c\n", letter(k));
}
#else
#define TEN "abcdefghij"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define THOUSAND HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED

NOINLINE char letter(unsigned k) {
    const char *text = THOUSAND THOUSAND;
    OPAQUE(text);
    return text[k];
}
#endif
