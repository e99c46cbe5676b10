// A snapshot as lines of text: a pure function, so that it can be tested without a terminal.
#ifndef VJ_JOBS_WATCH_PAGE_H
#define VJ_JOBS_WATCH_PAGE_H

#include "jobs/watch/snapshot.h"

typedef struct vj_page_style {
    int width, height;   // columns (at least 20 are used); lines, 0: as many as needed
    bool unicode;        // block characters, else ASCII
    bool colour;         // escape sequences for bold and red
} vj_page_style;

// Lines end with a newline and are at most `width` columns wide. With too few lines for all, figures give way to warnings.
// Texts of files cannot steer a terminal: control characters are shown as '?'.
void vj_page(vj_str *out, const vj_watch *w, const vj_page_style *style);
// One line for people who follow without a terminal: "step 640 of 1300, loss 0.62, ...". With a newline.
void vj_page_line(vj_str *out, const vj_watch *w);
// `n` values as `columns` bars between their least and greatest (fewer columns when there are fewer values).
void vj_sparkline(vj_str *out, const double *values, int64_t n, int columns, bool unicode);

#endif
