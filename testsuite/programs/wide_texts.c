// Texts of wide characters: an empty one is the tail of each, merged into it by the linker, and the terminator belongs to both.
//#Hazard: C17
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,shared
//#Expect: live
//#Call: wide
//#Call: narrower
//#Call: nothing
#include "scenario.h"
#include <uchar.h>
#include <wchar.h>

static void print_wide(const wchar_t *text) {
    for (int i = 0; text[i] && i < 40; i++)
        printf("%x ", (unsigned)text[i]);
    puts("");
}

static void print_narrower(const char16_t *text) {
    for (int i = 0; text[i] && i < 40; i++)
        printf("%x ", (unsigned)text[i]);
    puts("");
}

NOINLINE const wchar_t *wide(int n) {
#ifdef NEW
    return n ? L"good morning" : L"good evening";
#else
    return n ? L"hello" : L"bye";
#endif
}

NOINLINE const char16_t *narrower(int n) {
#ifdef NEW
    return n ? u"good morning" : u"good evening";
#else
    return n ? u"hello" : u"bye";
#endif
}

// The tails.
NOINLINE const wchar_t *no_wide(void) {
    return L"";
}

NOINLINE const char16_t *no_narrower(void) {
    return u"";
}

void command(const char *line) {
    if (!strcmp(line, "wide"))
        for (int n = 0; n < 2; n++)
            print_wide(wide(n));
    if (!strcmp(line, "narrower"))
        for (int n = 0; n < 2; n++)
            print_narrower(narrower(n));
    if (!strcmp(line, "nothing")) {
        print_wide(no_wide());
        print_narrower(no_narrower());
    }
}
