// A program that calls two functions of a library only in its new build (NEW), and that library (LIBRARY).
#ifdef LIBRARY
int side_value(int x) {
    return x + 41;
}
int side_other(int x) {
    return x + 100;
}
#else
#include <stdio.h>
int side_value(int x), side_other(int x);

__attribute__((noinline)) int value(int x) {
#ifdef NEW
    return side_value(x) + side_other(0);
#else
    return x * 40 + 1 + (x >> 3);
#endif
}

int main(void) {
    printf("%d\n", value(1));
    return 0;
}
#endif
