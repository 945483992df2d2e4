// A string is made of a text by the text's end, from which GCC computes the start; the end of a text with its zero is where another one
// starts, in one of the builds.
//#Hazard: C1,C17
//#Matrix: cc=gcc,gcc,gcc-11,clang,gcc opt=-O2,-O3,-O2,-O2,-O2 kind=pie,shared,pie,pie,nopie
//#Flags: -std=c++17
//#Expect: live
//#Call: label 3
//#Call: tail 3
//#Call: kept 0
//#Call: whole 2
//#Call: walked 5
#include "scenario.h"
#include <string>

#ifdef NEW
#define MORE + 1
// Moves all texts behind it, by no round number of bytes.
#define LINE "one that comes first, longer than it was"
// As long as the one before.
#define VERSION "the number of this version: two"
#define NEXT "what follows now, of another length"
#define SUMMED "letters that are now summed up one by one"
#else
#define MORE
#define LINE "one that comes first"
#define VERSION "the number of this version: one"
#define NEXT "what followed"
#define SUMMED "letters that are summed up one by one"
#endif

NOINLINE void show(const std::string &text, int n) { printf("%s %d\n", text.c_str(), n); }

// Changed, with a text that only it uses.
NOINLINE void label(int n) {
    std::string text("a text that is much longer than what fits into an object");
    show(text, n * (2 MORE));
}

// Of which the text is the tail of another one.
NOINLINE void tail(int n) {
    puts("with another text in front of the tail of some length");
    std::string text("the tail of some length");
    show(text, n * (3 MORE));
}

// Changed in nothing but the text.
NOINLINE void kept(int n) {
    std::string text(VERSION);
    show(text, n);
}

NOINLINE void all(int n, const char *from, const char *to) { printf("%d %s %d\n", n, from, int(to - from)); }

// The end is behind the zero, where the next text starts: another one in each build.
NOINLINE void whole(int n) {
#define LETTERS "letters with a zero behind them"
    all(n * (4 MORE), LETTERS, LETTERS + sizeof LETTERS);
    puts(n > 1 ? NEXT : LINE);
}

NOINLINE void walked(int n) {
    unsigned hash = unsigned(n);
    for (char c : std::string_view(SUMMED))
        hash = hash * 31 + (unsigned char)c;
    printf("%u\n", hash MORE);
}

extern "C" void command(const char *line) {
    int n;
    if (sscanf(line, "label %d", &n) == 1)
        label(n);
    if (sscanf(line, "tail %d", &n) == 1)
        tail(n);
    if (sscanf(line, "kept %d", &n) == 1)
        kept(n);
    if (sscanf(line, "whole %d", &n) == 1)
        whole(n);
    if (sscanf(line, "walked %d", &n) == 1)
        walked(n);
}
