/* Memory between two pages that nobody may touch: a byte too many ends the program, on either side.
 * It must not know what is tried there. */
#ifndef GUARDED_AREA_H
#define GUARDED_AREA_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Ends at its last page's border; begins there as well where `nbytes` is a multiple of a page. */
static uint8_t *guarded_area(size_t nbytes) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (nbytes + page - 1) / page * page;
    uint8_t *area = mmap(NULL, size + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED || mprotect(area, page, PROT_NONE) || mprotect(area + page + size, page, PROT_NONE)) {
        perror("guarded area");
        exit(2);
    }
    return area + page + size - nbytes;
}

#endif
