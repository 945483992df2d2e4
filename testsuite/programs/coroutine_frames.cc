// C++20: a coroutine changes while one of its kind is suspended, whose frame and number of the place are the old code's.
//#Hazard: S2,D6
//#Matrix: cc=gcc,clang-16 opt=-O0,-O2 kind=pie
//#Flags: -std=c++20
//#Expect: start
//#Call: first
#include "scenario.h"
#include <coroutine>

struct Numbers {
    struct promise_type {
        int value = 0;
        Numbers get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
        std::suspend_always initial_suspend() noexcept { return {}; }
        std::suspend_always final_suspend() noexcept { return {}; }
        std::suspend_always yield_value(int v) {
            value = v;
            return {};
        }
        void return_void() {}
        void unhandled_exception() {}
    };
    std::coroutine_handle<promise_type> handle;
};

Numbers count(int from) {
#ifdef NEW
    co_yield from - 1;
#endif
    co_yield from;
    co_yield from * 2;
}

static std::coroutine_handle<Numbers::promise_type> kept;

void command(const char *line) {
    if (!strcmp(line, "first")) {
        kept = count(10).handle;
        kept.resume();
        printf("%d\n", kept.promise().value);
    }
}
