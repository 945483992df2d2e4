// A class with static members, an inline variable, a lambda and an anonymous namespace; state stays, code changes.
//#Hazard: C4,D1
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Flags: -std=c++17
//#Warm: add 3
//#Warm: add 4
//#After: add 5 => 12 3 (new) 120
//#Reverted: add 1 => 13 4 13
#include "scenario.h"
#include <algorithm>
#include <vector>

namespace {
struct Totals {
    static inline int calls = 0;
    static int sum;
};
int Totals::sum = 0;
std::vector<int> history;

NOINLINE int largest_scaled() {
    int best = 0;
#ifdef NEW
    auto scale = [](int x) { return x * 10; };
#else
    auto scale = [](int x) { return x; };
#endif
    std::for_each(history.begin(), history.end(), [&](int x) { best = std::max(best, scale(x)); });
    return best;
}
} // namespace

NOINLINE void add(int x) {
    Totals::calls++;
    Totals::sum += x;
    history.push_back(Totals::sum);
#ifdef NEW
    printf("%d %d (new) %d\n", Totals::sum, Totals::calls, largest_scaled());
#else
    printf("%d %d %d\n", Totals::sum, Totals::calls, largest_scaled());
#endif
}

extern "C" void command(const char *line) {
    int x;
    if (sscanf(line, "add %d", &x) == 1)
        add(x);
}
