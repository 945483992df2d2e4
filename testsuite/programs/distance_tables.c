// Clang's tables of distances (`reltable.mostly`), whatever these lead to: texts of which most are empty, an empty one among others, and
// constants with names. A text changes while all distances stay, another one behind the empty text, and which constant it is.
//#Hazard: C17
//#Matrix: cc=clang opt=-O2,-O3,-Os kind=pie,shared ld=bfd,lld,mold
//#Expect: live
//#Call: mostly 0
//#Call: mostly 3
//#Call: mostly 4
//#Call: unit 4
//#Call: unit 5
//#Call: unit 6
//#Call: numbers 0
//#Call: numbers 3
#include "scenario.h"

#ifdef NEW
#define LETTER "a"
#define FIVE "peta"
#define THIRD tens
#else
#define LETTER "b"
#define FIVE "tera"
#define THIRD ones
#endif

NOINLINE const char *mostly(int k) {
    switch (k) {
    case 0: return "";
    case 1: return "";
    case 2: return "";
    case 3: return LETTER;
    case 4: return "c";
    default: return "d";
    }
}

NOINLINE const char *unit(int k) {
    switch (k) {
    case 0: return "bytes";
    case 1: return "kilo";
    case 2: return "mega";
    case 3: return "giga";
    case 4: return "";
    case 5: return FIVE;
    case 6: return "exa";
    default: return "?";
    }
}

static const int ones[] = {1, 2}, tens[] = {30, 40}, hundreds[] = {500, 600};

NOINLINE const int *numbers(int k) {
    switch (k) {
    case 0: return ones;
    case 1: return tens;
    case 2: return hundreds;
    case 3: return THIRD;
    default: return 0;
    }
}

void command(const char *line) {
    int k;
    if (sscanf(line, "mostly %d", &k) == 1)
        printf("<%s>\n", mostly(k));
    if (sscanf(line, "unit %d", &k) == 1)
        printf("<%s>\n", unit(k));
    if (sscanf(line, "numbers %d", &k) == 1)
        printf("%d %d\n", numbers(k)[1], ones[k & 1] + tens[k & 1] + hundreds[k & 1]);
}
