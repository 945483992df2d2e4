// The replacements: old functions and data, new data, an import, an exception with a cleanup.
#include <cstdio>
extern "C" {
extern volatile int counter;
extern int depth;
int helper(int x);
struct Guard {
    Guard() { depth++; }
    ~Guard() { depth += 10; }
};
static int calls;
int (*table[])(int) = {helper};
int answer(int x) {
    Guard g;
    calls++;
    return table[0](x) + counter + 1000 * calls;
}
const char *hello(int x) {
    static char text[32] = "preset";
    snprintf(text, sizeof text, "new %d", calls);
    return text;
}
extern const int limit_bytes;
const int limit_bytes = 99;
}
