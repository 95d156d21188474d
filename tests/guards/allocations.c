/* Counts what CPython's object and memory allocators are asked for, between two calls.
 * It must not know what the interpreter runs meanwhile. Load it with ctypes.PyDLL: the lock is held in every call. */
#include <Python.h>

static const PyMemAllocatorDomain DOMAINS[] = {PYMEM_DOMAIN_OBJ, PYMEM_DOMAIN_MEM};
static PyMemAllocatorEx real[2];
static long count;

static void *count_malloc(void *context, size_t size) {
    PyMemAllocatorEx *to = context;
    count++;
    return to->malloc(to->ctx, size);
}

static void *count_calloc(void *context, size_t items, size_t size) {
    PyMemAllocatorEx *to = context;
    count++;
    return to->calloc(to->ctx, items, size);
}

static void *count_realloc(void *context, void *memory, size_t size) {
    PyMemAllocatorEx *to = context;
    count++;
    return to->realloc(to->ctx, memory, size);
}

static void pass_free(void *context, void *memory) {
    PyMemAllocatorEx *to = context;
    to->free(to->ctx, memory);
}

void counting_begin(void) {
    for (int i = 0; i < 2; i++) {
        PyMem_GetAllocator(DOMAINS[i], &real[i]);
        PyMemAllocatorEx counting = {&real[i], count_malloc, count_calloc, count_realloc, pass_free};
        PyMem_SetAllocator(DOMAINS[i], &counting);
    }
    count = 0;
}

long counting_end(void) {
    long counted = count;
    for (int i = 0; i < 2; i++) PyMem_SetAllocator(DOMAINS[i], &real[i]);
    return counted;
}
