// What every scenario program shares: the entry point that the driver calls and the usual headers.
#ifndef SCENARIO_H
#define SCENARIO_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __cplusplus
extern "C"
#endif
void command(const char *line);
#define NOINLINE __attribute__((noinline))
// Keeps the optimiser from knowing a value.
#define OPAQUE(x) __asm__ volatile("" : "+r"(x))
#endif
