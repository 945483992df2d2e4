// A library with the functions that fix.cc replaces.
extern "C" {
volatile int counter = 40;
int depth;
__attribute__((noinline)) int helper(int x) { return x + 1; }
__attribute__((noinline)) int answer(int x) {
    asm volatile("" ::: "memory");
    return helper(x) + counter;
}
__attribute__((noinline)) const char *hello(int x) {
    asm volatile("" ::: "memory");
    return counter ? "old" : "none";
}
__attribute__((noinline)) int relied(int x) { return x * 3 + counter; }
extern const int limit;
const int limit = 7;
}
